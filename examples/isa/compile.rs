//! Kernels through the driver, in a process of its own: the driver reads the chip from its environment when it is loaded, and
//! ends the process where it meets what it cannot compile.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use wgrad::gpu::{FinalKernel, reflect};

use super::adapters::Abilities;
use super::radv::Radv;
use super::translate::Translation;

/// The script that has the driver.
const RADV: &str = ".ci/radv";

/// The device of a chip, as the driver shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) abilities: Abilities,
}

/// What the driver made of a kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Made {
    /// Its numbers, by its own names.
    pub(crate) statistics: BTreeMap<String, u64>,
    /// The machine code.
    pub(crate) code: String,
}

/// The process: reads kernels as JSON, and writes the device and what was made of each, a line each.
pub(crate) fn serve() -> Result<(), Box<dyn Error>> {
    let mut kernels = String::new();
    std::io::stdin().read_to_string(&mut kernels)?;
    let kernels: Vec<FinalKernel> = serde_json::from_str(&kernels)?;
    let radv = Radv::open()?;
    let device =
        Device { name: radv.name.clone(), driver: radv.driver.clone(), abilities: radv.abilities()? };
    println!("{}", serde_json::to_string(&device)?);
    for kernel in &kernels {
        let constants: Vec<_> =
            kernel.constants.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let facts = reflect(&kernel.name, &kernel.text, &kernel.entry, &constants)?;
        let spirv = Translation::of(kernel)?.spirv()?;
        let (uniform, storage) = (facts.uniforms_bytes > 0, facts.writable.len() as u32);
        let (statistics, code) = radv
            .compile(&spirv, &kernel.entry, uniform, storage)
            .map_err(|e| format!("{}: {e}", kernel.name))?;
        let code = code.ok_or("the driver writes no machine code as text")?;
        let made = Made { statistics: statistics.into_iter().collect(), code };
        println!("{}", serde_json::to_string(&made)?);
    }
    Ok(())
}

/// The device of a chip, and what its driver makes of kernels.
pub(crate) fn compile(chip: &str, kernels: &[&FinalKernel]) -> Result<(Device, Vec<Made>), Box<dyn Error>> {
    let mut child = Command::new(RADV)
        .arg(std::env::current_exe()?)
        .arg("--serve")
        .env("RADV_FORCE_FAMILY", chip)
        .env("MESA_SHADER_CACHE_DISABLE", "true") // a cached kernel has no machine code to show
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{RADV}, in the root of the repository: {e}"))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut stdin, stdout, mut stderr) =
        (stdin.ok_or("no stdin")?, stdout.ok_or("no stdout")?, stderr.ok_or("no stderr")?);
    // What the driver warns of is shown where it fails alone.
    let said = std::thread::spawn(move || {
        let mut said = String::new();
        let _ = stderr.read_to_string(&mut said);
        said
    });
    // A process that ended early is told of by its status, below.
    let _ = stdin.write_all(serde_json::to_string(kernels)?.as_bytes());
    drop(stdin);
    let lines = BufReader::new(stdout).lines().collect::<Result<Vec<_>, _>>()?;
    let status = child.wait()?;
    let said = said.join().unwrap_or_default();
    if !status.success() {
        // The first line is the device.
        let at = lines.len().checked_sub(1).and_then(|i| kernels.get(i));
        let at = at.map_or(String::new(), |kernel| format!(" at {}", kernel.name));
        return Err(format!("the compiler of {chip} ended{at}: {status}\n{}", said.trim_end()).into());
    }
    let (device, made) = lines.split_first().ok_or("the compiler said nothing")?;
    let made = made.iter().map(|line| serde_json::from_str(line)).collect::<Result<Vec<Made>, _>>()?;
    if made.len() != kernels.len() {
        return Err(format!("{chip}: {} kernels of {} came back", made.len(), kernels.len()).into());
    }
    Ok((serde_json::from_str(device)?, made))
}
