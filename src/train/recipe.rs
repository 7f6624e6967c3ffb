//! Recipes: TOML tables that a run starts from, and the flags that are laid over them.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::flags::Flags;
use crate::error::{Error, Result};

/// `include_str!` of `recipes/NAME.toml` by name.
macro_rules! recipes {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("recipes/", $name, ".toml")))),+]
    };
}

/// The recipes in this crate by name: one a method and data set. `METHOD-embedded` is a method's default.
pub const RECIPES: &[(&str, &str)] = recipes![
    "barlow_twins-cifar10",
    "barlow_twins-embedded",
    "byol-cifar10",
    "byol-embedded",
    "dino-cifar10",
    "dino-embedded",
    "instance_discrimination-cifar10",
    "instance_discrimination-embedded",
    "moco-cifar10",
    "moco-embedded",
    "nnclr-cifar10",
    "nnclr-embedded",
    "simclr-cifar10",
    "simclr-embedded",
    "simsiam-cifar10",
    "simsiam-embedded",
    "supcon-cifar10",
    "supcon-embedded",
    "swav-cifar10",
    "swav-embedded",
    "vicreg-cifar10",
    "vicreg-embedded",
];

/// A value that a flag lays over a recipe.
pub(super) struct Override {
    /// Name of the flag, or with `--set` its `set KEY`.
    pub(super) flag: String,
    /// Where it goes: keys joined by dots.
    pub(super) path: String,
    pub(super) value: Value,
}

/// What the command line says of the run, in its order of precedence.
pub(super) fn overrides(flags: &Flags) -> Result<Vec<Override>> {
    let text = |text: &Option<String>| text.clone().map(Value::String);
    let whole = |number: Option<u64>| number.map(|n| Value::Integer(n as i64));
    let float = |number: Option<f64>| number.map(Value::Float);
    let named = [
        ("data", "data", text(&flags.data)),
        ("train-limit", "train_images", whole(flags.train_limit.map(|n| n as u64))),
        ("encoder", "encoder", text(&flags.encoder)),
        ("epochs", "epochs", whole(flags.epochs)),
        ("steps", "steps", whole(flags.steps)),
        ("batch", "batch", whole(flags.batch.map(|n| n as u64))),
        ("lr", "lr", float(flags.lr)),
        ("tau", "tau", float(flags.tau)),
        ("seed", "seed", whole(flags.seed.map(u64::from))),
        ("precision", "precision", text(&flags.precision)),
        ("tune", "tune", flags.tune.then_some(Value::Boolean(true))),
        ("eval-every", "eval_every", whole(flags.eval_every)),
        ("save-every", "save_every", whole(flags.save_every)),
    ];
    let named = named.into_iter().filter_map(|(flag, path, value)| {
        Some(Override { flag: flag.to_owned(), path: path.to_owned(), value: value? })
    });
    let set = flags.set.iter().map(|pair| {
        let (path, value) = pair.split_once('=').ok_or_else(|| {
            Error::Argument(format!("--set {pair}: must be KEY=VALUE, as --set options.queue=4096"))
        })?;
        // What is no TOML value is a string without its quotes.
        let parsed = format!("v = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
        let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
        Ok(Override { flag: format!("set {path}"), path: path.to_owned(), value })
    });
    named.map(Ok).chain(set).collect()
}

/// The recipe that a run starts from: `wanted`, a name of [`RECIPES`] or a file, else `default`.
pub(super) fn load(method: &str, wanted: Option<&str>, default: Option<&str>) -> Result<Table> {
    let embedded = |name: &str| RECIPES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    let standard = format!("{method}-embedded");
    let name = wanted.unwrap_or(&standard);
    let refuse = |why: String| Error::Argument(format!("--recipe {name}: {why}"));
    let text = match (wanted, default) {
        (None, Some(text)) => text.to_owned(),
        _ => match embedded(name) {
            Some(text) => text.to_owned(),
            None => {
                let path = Path::new(name);
                let file = if path.is_dir() { path.join("config.toml") } else { path.to_owned() };
                std::fs::read_to_string(&file).map_err(|error| {
                    let own = RECIPES.iter().map(|(known, _)| *known);
                    let own: Vec<_> = own.filter(|known| known.starts_with(&format!("{method}-"))).collect();
                    refuse(format!("no file ({error}) and none of {}", own.join(", ")))
                })?
            }
        },
    };
    let table: Table = text.parse().map_err(|error: toml::de::Error| refuse(one_line(&error)))?;
    match table.get("method").and_then(Value::as_str) {
        Some(found) if found == method => Ok(table),
        Some(found) => Err(refuse(format!("is of {found}, not {method}"))),
        None => Err(refuse("names no method".to_owned())),
    }
}

/// Lays what the recipe says of this class of adapter, then the flags, over its table.
pub(super) fn lay(mut table: Table, is_cpu: bool, overrides: Vec<Override>) -> Result<Table> {
    let gpu = table.remove("gpu");
    let gpu = gpu.filter(|_| !is_cpu).map(|gpu| typed::<Table>("recipe", gpu)).transpose()?;
    let gpu = gpu.into_iter().flatten();
    let gpu = gpu.map(|(path, value)| Override { flag: String::new(), path, value });
    for Override { flag, path, value } in gpu.chain(overrides) {
        match path.as_str() {
            "tau" if !table.contains_key("tau") => {
                let method = table.get("method").map(plain).unwrap_or_default();
                return Err(Error::Argument(format!("--{flag}: {method} has no temperature")));
            }
            "steps" => drop(table.remove("epochs")),
            "epochs" => drop(table.remove("steps")),
            _ => {}
        }
        put(&mut table, &path, value)?;
    }
    Ok(table)
}

/// The value at a path.
pub(super) fn get<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((first, rest)) => get(table.get(first)?.as_table()?, rest),
    }
}

fn put(table: &mut Table, path: &str, value: Value) -> Result<()> {
    let Some((first, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), value);
        return Ok(());
    };
    let inner = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
    match inner.as_table_mut() {
        Some(inner) => put(inner, rest, value),
        None => Err(Error::Argument(format!("--set {path}: {first} is no table"))),
    }
}

/// A value as a person types it.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A table as a type; what does not fit is one line.
pub(super) fn typed<T: DeserializeOwned>(what: &str, table: impl Into<Value>) -> Result<T> {
    table
        .into()
        .try_into()
        .map_err(|error: toml::de::Error| Error::Argument(format!("{what}: {}", one_line(&error))))
}

fn one_line(error: &toml::de::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
