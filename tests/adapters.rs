//! Which adapter is taken: by number, ids, bus and name, by builder and by variable; and the errors where there is none.
//!
//! What a driver sees of the environment it reads once, so these tests run themselves again in processes of their own. Mesa's AMD
//! driver shows a card that is not there under `RADV_FORCE_FAMILY`: one more to list, not to open.

use std::process::Command;

use wgrad::{Gpu, GpuBuilder};

/// Set in the processes that the tests start.
const INSIDE: &str = "ADAPTERS_TEST_INSIDE";

fn builder() -> GpuBuilder {
    Gpu::builder().quiet()
}

/// What `report` gives in a process of its own, in which test `name` calls this again, with `variables`; and what it printed to stderr.
fn in_a_process(name: &str, variables: &[(&str, &str)], report: impl FnOnce() -> String) -> (String, String) {
    if std::env::var_os(INSIDE).is_some() {
        println!("\nreport: {}", report());
        std::process::exit(0);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env_remove("WGPU_ADAPTER_NAME")
        .env(INSIDE, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    let report = out.split_once("\nreport: ").unwrap_or_else(|| panic!("{name}: {out}{err}")).1;
    (report.trim_end().to_owned(), err)
}

/// The name of the adapter in use, or the error.
fn opened(gpu: wgrad::Result<Gpu>) -> String {
    gpu.map_or_else(|error| error.to_string(), |gpu| format!("{} {}", gpu.info().index, gpu.info().name))
}

#[test]
fn every_adapter_that_opens_can_be_named_in_each_way() {
    let adapters = Gpu::adapters();
    for (i, adapter) in adapters.iter().enumerate() {
        assert_eq!(adapter.index, i);
        let Ok(gpu) = builder().adapter(i.to_string()).build() else { continue };
        assert_eq!((gpu.info().index, &gpu.info().name), (i, &adapter.name));
        for text in [adapter.pci_ids(), adapter.pci_bus.clone(), adapter.name.to_uppercase()] {
            // Another of the same kind may come first.
            let first = builder().adapter(&text).build().unwrap();
            assert!(
                text.is_empty() || (first.info().index <= i && first.info().pci_ids() == adapter.pci_ids())
            );
        }
    }
    assert!(!adapters.is_empty());
    assert_eq!(opened(builder().adapter("").build()), opened(builder().build()));
}

#[test]
fn a_number_beyond_the_list_is_an_error_with_the_list() {
    let adapters = Gpu::adapters();
    let wrong = adapters.len().to_string();
    let text = opened(builder().adapter(&wrong).build());
    assert!(
        text.starts_with(&format!("no adapter found: none with the index {wrong}; this machine has: 0 ")),
        "{text}"
    );
    for adapter in &adapters {
        assert!(text.contains(&format!("{} {} (", adapter.index, adapter.name)), "{text}");
        assert!(text.contains(&adapter.pci_ids()) && text.contains(&adapter.pci_bus), "{text}");
    }
    // lavapipe's name has numbers in it; none of them is a part of it.
    let (text, _) = in_a_process(
        "a_number_beyond_the_list_is_an_error_with_the_list",
        &[("WGPU_ADAPTER_NAME", "256")],
        || opened(builder().build()),
    );
    assert!(text.contains("none with the index 256"), "{text}");
}

#[test]
fn the_variable_names_an_adapter_as_the_builder_does() {
    let name = "the_variable_names_an_adapter_as_the_builder_does";
    let report = || opened(builder().build());
    let best = opened(builder().adapter("0").build());
    let ids = Gpu::adapters()[0].pci_ids();
    for (value, starts) in
        [("0", best.as_str()), (&ids, &best), ("", &best), ("no such", "no adapter found: none named")]
    {
        let (text, _) = in_a_process(name, &[("WGPU_ADAPTER_NAME", value)], report);
        assert!(text.starts_with(starts), "{value}: {text}");
    }
}

#[test]
fn a_wrong_backend_is_named() {
    let here = if cfg!(target_os = "macos") { "metal" } else { "vulkan" };
    for (value, reason) in [
        ("vulcan", "no backend is named `vulcan`"),
        ("gl", "there is no gl to run on"),
        ("noop", "there is no noop to run on"),
        ("", "it is set and names no backend"),
    ] {
        let report = || format!("{} adapters; {}", Gpu::adapters().len(), opened(Gpu::new()));
        let (text, _) = in_a_process("a_wrong_backend_is_named", &[("WGPU_BACKEND", value)], report);
        assert!(
            text.starts_with(&format!("0 adapters; WGPU_BACKEND={value}: {reason}; wgrad runs on ")),
            "{text}"
        );
        assert!(text.contains(here) && text.lines().count() == 1, "{text}");
    }
}

/// The Vulkan drivers of Mesa, of AMD cards and of the CPU, where both are installed.
#[cfg(target_os = "linux")]
fn mesa() -> Option<String> {
    let folder = std::path::Path::new("/usr/share/vulkan/icd.d");
    let files = ["radeon", "lvp"].map(|driver| {
        ["", &format!(".{}", std::env::consts::ARCH)]
            .map(|arch| folder.join(format!("{driver}_icd{arch}.json")))
            .into_iter()
            .find(|file| file.exists())
    });
    let [Some(amd), Some(cpu)] = files else { return None };
    Some(format!("{}:{}", cpu.display(), amd.display()))
}

/// A card of 2012, for whose family Mesa up to 22 states no conformance, so that wgpu hides it, as it does with Mesa's Dozen on WSL.
/// Newer Mesa has none such to show, and the test ends there.
#[test]
#[cfg(target_os = "linux")]
fn a_gpu_that_wgpu_hides_is_named() {
    let name = "a_gpu_that_wgpu_hides_is_named";
    let Some(drivers) = mesa() else { return };
    let tahiti =
        [("VK_DRIVER_FILES", &*drivers), ("VK_ICD_FILENAMES", &drivers), ("RADV_FORCE_FAMILY", "tahiti")];
    let report = || {
        let gpu_only = Gpu::builder().gpu_only().build();
        format!("{} adapters; {}; {}", Gpu::adapters().len(), opened(Gpu::new()), opened(gpu_only))
    };
    let (text, err) = in_a_process(name, &tahiti, report);
    if text.starts_with("2 adapters; ") {
        return;
    }
    let allow = "WGPU_ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER";
    assert!(text.starts_with("1 adapters; 0 llvmpipe"), "{text}");
    assert!(text.contains("none that is not a CPU"), "{text}");
    let notice = err.lines().find(|line| line.starts_with("wgrad: no GPU in use")).unwrap();
    for said in [&text, notice] {
        assert!(
            said.contains("TAHITI") && said.contains("radv") && said.contains(&format!("{allow}=1")),
            "{said}"
        );
    }
}

/// wgpu's variable shows it, before the CPU.
#[test]
#[cfg(target_os = "linux")]
fn a_gpu_that_wgpu_hides_can_be_shown() {
    let Some(drivers) = mesa() else { return };
    let variables = [
        ("VK_DRIVER_FILES", &*drivers),
        ("VK_ICD_FILENAMES", &drivers),
        ("RADV_FORCE_FAMILY", "tahiti"),
        ("WGPU_ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER", "1"),
    ];
    let (text, _) = in_a_process("a_gpu_that_wgpu_hides_can_be_shown", &variables, || {
        let names: Vec<_> = Gpu::adapters().iter().map(|a| format!("{} {}", a.index, a.name)).collect();
        names.join("; ")
    });
    assert!(text.starts_with("0 ") && text.contains("TAHITI") && text.contains("; 1 llvmpipe"), "{text}");
}

/// A discrete card goes before the CPU, whose driver is asked first here, and each can be named.
#[test]
#[cfg(target_os = "linux")]
fn a_discrete_card_is_the_first() {
    let name = "a_discrete_card_is_the_first";
    let Some(drivers) = mesa() else { return };
    let navi = |choice| {
        [
            ("VK_DRIVER_FILES", drivers.clone()),
            ("VK_ICD_FILENAMES", drivers.clone()),
            ("RADV_FORCE_FAMILY", "navi21".to_owned()),
            ("WGPU_ADAPTER_NAME", choice),
        ]
    };
    let report = || {
        let adapters = Gpu::adapters();
        let list: Vec<_> =
            adapters.iter().map(|a| format!("{} {} {}", a.index, a.class, a.pci_ids())).collect();
        format!("{}; {}", list.join(", "), opened(builder().build()))
    };
    for choice in ["1", "10005:", "llvm"] {
        let variables = navi(choice.to_owned());
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (text, _) = in_a_process(name, &variables, report);
        assert!(text.starts_with("0 DiscreteGpu 1002:") && text.contains(", 1 Cpu 10005:"), "{text}");
        assert!(text.contains("; 1 llvmpipe"), "{choice}: {text}");
    }
}
