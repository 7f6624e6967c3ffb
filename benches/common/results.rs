//! A file of measurements: read, merged part by part and case by case, and whole on disk at any moment.
//!
//! `adapter` and `backend` at the top; an array of rows by the name of each part; and under `measured`, by part again, when and
//! with which driver and version that was. A row that an interrupted run left of an earlier one keeps that one's `measured`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use wgrad::gpu::AdapterInfo;
use wgrad::train::write_atomic;

use super::measure::Part;
use super::{show, stamp};

/// What tells one row of a part from another.
const IDENTITY: [&str; 7] = ["family", "rung", "name", "size", "network", "precision", "images"];
/// What tells one measurement of a row from another.
const STAMP: [&str; 3] = ["date", "driver", "wgrad"];

/// Measurements of an adapter, and where they are written.
#[derive(Debug, Clone)]
pub(crate) struct Results {
    pub(crate) value: Value,
    paths: Vec<PathBuf>,
}

/// The date, driver and version of now, and more of the device.
pub(crate) fn now(info: &AdapterInfo, device: &Value, roofline: &Value) -> Value {
    json!({
        "device": device,
        "date": stamp::today(),
        "driver": info.driver,
        "wgrad": env!("CARGO_PKG_VERSION"),
        "roofline": roofline,
        "wrong": [],
    })
}

impl Results {
    /// Nothing yet, to be written to these.
    pub(crate) fn new(adapter: &str, backend: &str, paths: Vec<PathBuf>) -> Self {
        Self { value: json!({"adapter": adapter, "backend": backend, "measured": {}}), paths }
    }

    /// What the file holds, of which a run replaces what it measures; nothing if there is no file.
    pub(crate) fn open(file: &Path, adapter: &str, backend: &str) -> Result<Self, Box<dyn Error>> {
        let mut results = Self::new(adapter, backend, vec![file.to_owned()]);
        if file.exists() {
            results.value = read(file)?;
            let there = show::text(&results.value["adapter"]);
            if there != adapter {
                return Err(format!("{}: is of {there}, not of {adapter}", file.display()).into());
            }
            results.value["backend"] = backend.into();
        }
        Ok(results)
    }

    /// Writes to this file as well.
    pub(crate) fn also(mut self, file: Option<&Path>) -> Self {
        self.paths.extend(file.map(Path::to_owned));
        self
    }

    /// Begins to measure a part: its rows are of an earlier time from here on, until they are measured again.
    pub(crate) fn begin(&mut self, part: Part, stamp: Value) {
        let (old, name) = (measured(&self.value, part).clone(), part.name());
        if let Some(rows) = self.value[name].as_array_mut() {
            for row in rows.iter_mut().filter(|row| row["measured"].is_null()) {
                let fields = STAMP.map(|key| (key.to_owned(), old[key].clone()));
                row["measured"] = fields.into_iter().collect::<Map<_, _>>().into();
            }
        } else {
            self.value[name] = json!([]);
        }
        self.value["measured"][name] = stamp;
    }

    /// A row of a part, in the place of the one it replaces.
    pub(crate) fn add(&mut self, part: Part, row: Value) {
        let rows = self.rows(part);
        match rows.iter().position(|old| same(old, &row)) {
            Some(at) => rows[at] = row,
            None => rows.push(row),
        }
    }

    /// A case that is wrong: what was measured of it before counts no more. In the part that is about this it has a row.
    pub(crate) fn wrong(&mut self, part: Part, identity: &Map<String, Value>, why: &str) {
        let mut identity = Value::Object(identity.clone());
        self.rows(part).retain(|old| !same(old, &identity));
        if part == Part::Correctness {
            identity["passes"] = false.into();
            identity["wrong"] = why.into();
            self.rows(part).push(identity);
        }
        if let Some(list) = self.value["measured"][part.name()]["wrong"].as_array_mut() {
            list.push(why.into());
        }
    }

    /// Ends a part that was measured in whole: what is left of an earlier time has no case any more.
    pub(crate) fn end(&mut self, part: Part, seconds: u64) {
        self.rows(part).retain(|row| row["measured"].is_null());
        self.value["measured"][part.name()]["seconds"] = seconds.into();
    }

    /// Lines that say which parts stay as they were, and how old they are.
    pub(crate) fn kept(&self, replaced: &[Part], stamp: &Value) -> Vec<String> {
        let kept = Part::ALL.into_iter().filter(|part| !replaced.contains(part));
        let there = kept.filter(|part| !show::rows(&self.value, part.name()).is_empty());
        there
            .map(|part| {
                let old = measured(&self.value, part);
                let differs = |key: &str| old[key] != stamp[key];
                let note = match (differs("driver"), differs("wgrad")) {
                    (false, false) => "",
                    (true, false) => ": another driver than now",
                    (false, true) => ": another version than now",
                    (true, true) => ": another driver and version than now",
                };
                let [date, driver, wgrad] = STAMP.map(|key| show::text(&old[key]));
                format!("kept: {} of {date}, driver {driver}, wgrad {wgrad}{note}", part.name())
            })
            .collect()
    }

    /// Writes the files: JSON, or CSV by its ending. A kill leaves the file of before or this one.
    pub(crate) fn save(&self) -> Result<(), Box<dyn Error>> {
        for path in &self.paths {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            }
            let csv = path.extension().is_some_and(|end| end == "csv");
            let text = if csv { show::csv(&self.value) } else { format!("{:#}\n", self.value) };
            write_atomic(path, text.as_bytes())?;
        }
        Ok(())
    }

    fn rows(&mut self, part: Part) -> &mut Vec<Value> {
        let rows = &mut self.value[part.name()];
        if !rows.is_array() {
            *rows = json!([]);
        }
        rows.as_array_mut().expect("made one")
    }
}

/// Reads a file of measurements. Files of before 2026-11-27 state one date and driver for all parts.
pub(crate) fn read(file: &Path) -> Result<Value, Box<dyn Error>> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let text = fs::read_to_string(file).map_err(|e| wrong(&e))?;
    let mut value: Value = serde_json::from_str(&text).map_err(|e| wrong(&e))?;
    let parts: Vec<_> = Part::ALL.into_iter().filter(|part| value[part.name()].is_array()).collect();
    let Some(object) = value.as_object_mut().filter(|o| o.contains_key("adapter") && !parts.is_empty())
    else {
        return Err(wrong(&"is no report of `--example report`").into());
    };
    if !object.contains_key("measured") {
        let keys = ["date", "driver", "wgrad", "roofline", "wrong"];
        let stamp: Map<_, _> = keys.iter().filter_map(|key| object.remove_entry(*key)).collect();
        object.remove("seconds");
        let stamps = parts.iter().map(|part| (part.name().to_owned(), Value::Object(stamp.clone())));
        let stamps: Map<_, _> = stamps.collect();
        object.insert("measured".to_owned(), stamps.into());
    }
    Ok(value)
}

/// When, with which driver and roofline, a part was measured.
pub(crate) fn measured(value: &Value, part: Part) -> &Value {
    &value["measured"][part.name()]
}

/// Whether two rows are of one case.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    IDENTITY.iter().all(|key| a[*key] == b[*key])
}
