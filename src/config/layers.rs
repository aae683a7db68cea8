//! One layer per source, and how they are laid over one another. Pure but for reading the file.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::admission::{self, Declared};
use super::keys::{self, KEYS, Key, Kind};
use super::schedules::{self, Schedules};
use super::stores::{self, Stores};
use super::triggers::{self, Triggers};
use super::{Config, Environment, Error, Flag, Origin};

/// The values of one source, by key.
pub(super) type Layer = BTreeMap<String, (Value, Origin)>;

/// What is built in.
pub(super) fn defaults() -> Layer {
    let table = Table::try_from(Config::default()).expect("the default configuration is TOML");
    flatten(&table, &Origin::Default).expect("the defaults have known keys only")
}

/// What the file says besides the values of keys: what it declares.
#[derive(Debug, Default)]
pub(super) struct Declarations {
    /// Times.
    pub(super) schedules: Schedules,
    /// Buckets.
    pub(super) stores: Stores,
    /// Triggers.
    pub(super) triggers: Triggers,
    /// Tenants and concurrency keys.
    pub(super) admitted: Declared,
}

/// What the file says.
pub(super) fn file(path: &Path) -> Result<(Layer, Declarations), Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    let mut table: Table =
        text.parse().map_err(|source| Error::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    let origin = Origin::File(path.to_owned());
    let declarations = Declarations {
        schedules: schedules::take(&mut table, &origin)?,
        stores: stores::take(&mut table, &origin)?,
        triggers: triggers::take(&mut table, &origin)?,
        admitted: admission::take(&mut table, &origin)?,
    };
    Ok((flatten(&table, &origin)?, declarations))
}

/// What the environment says. Variables of the form `DOGWATCH_A__B` are ours and must be known; of the
/// others only those that are nearly one of ours are refused, since attempts and clients have their own.
pub(super) fn environment(environment: &Environment) -> Result<Layer, Error> {
    let mut layer = Layer::new();
    // The long form comes last in this order of names only by chance, so it is given its turn explicitly:
    // it is the more exact one and wins over the alias.
    for pass in [false, true] {
        for (name, text) in environment.iter().filter(|(name, _)| name.starts_with("DOGWATCH_")) {
            let origin = Origin::Environment(name.clone());
            let (is_long, key) = match KEYS.iter().find(|key| key.alias == Some(name)) {
                Some(key) => (false, key),
                None => match KEYS.iter().find(|key| key.variable() == *name) {
                    Some(key) => (true, key),
                    None => {
                        refuse_variable(name, &origin)?;
                        continue;
                    }
                },
            };
            if is_long == pass {
                layer.insert(key.path.to_owned(), (read(key, text, &origin)?, origin));
            }
        }
    }
    Ok(layer)
}

/// What the flags say.
pub(super) fn flags(flags: &[Flag]) -> Result<Layer, Error> {
    let mut layer = Layer::new();
    for flag in flags {
        let origin = Origin::Flag(flag.name);
        let key = keys::find(flag.key).ok_or_else(|| unknown(flag.key, &origin))?;
        layer.insert(key.path.to_owned(), (read(key, &flag.value, &origin)?, origin));
    }
    Ok(layer)
}

/// Lays later layers over earlier ones and reads the result.
pub(super) fn merge(layers: Vec<Layer>) -> Result<(Config, BTreeMap<String, Origin>), Error> {
    let merged: Layer = layers.into_iter().flatten().collect();
    let mut table = Table::new();
    for (path, (value, _)) in &merged {
        let (section, name) = path.split_once('.').expect("every key has a section");
        let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(section) = section {
            section.insert(name.to_owned(), value.clone());
        }
    }
    let config = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let key = error.path().to_string();
        let origin = merged.get(&key).map_or(Origin::Default, |(_, origin)| origin.clone());
        Error::BadValue { message: error.inner().message().trim().to_owned(), key, origin }
    })?;
    Ok((config, merged.into_iter().map(|(path, (_, origin))| (path, origin)).collect()))
}

fn flatten(table: &Table, origin: &Origin) -> Result<Layer, Error> {
    let mut layer = Layer::new();
    for (section, value) in table {
        let Value::Table(values) = value else { return Err(unknown(section, origin)) };
        if !KEYS.iter().any(|key| key.path.split('.').next() == Some(section)) {
            return Err(unknown(section, origin));
        }
        for (name, value) in values {
            let path = format!("{section}.{name}");
            let key = keys::find(&path).ok_or_else(|| unknown(&path, origin))?;
            layer.insert(key.path.to_owned(), (value.clone(), origin.clone()));
        }
    }
    Ok(layer)
}

fn read(key: &Key, text: &str, origin: &Origin) -> Result<Value, Error> {
    let value = match key.kind {
        Kind::Text => Some(Value::String(text.to_owned())),
        Kind::Bool => match text {
            "true" | "1" | "yes" => Some(Value::Boolean(true)),
            "false" | "0" | "no" => Some(Value::Boolean(false)),
            _ => None,
        },
        Kind::Whole => text.parse().ok().map(Value::Integer),
        Kind::Number => text.parse().ok().map(Value::Float),
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
    };
    let expected = match key.kind {
        Kind::Text => "a text",
        Kind::Bool => "true or false",
        Kind::Whole => "a whole number",
        Kind::Number => "a number",
        Kind::List => "texts, separated by commas",
    };
    value.ok_or_else(|| Error::BadValue {
        key: key.path.to_owned(),
        origin: origin.clone(),
        message: format!("expected {expected}, found `{text}`"),
    })
}

fn unknown(path: &str, origin: &Origin) -> Error {
    let sections = KEYS.iter().filter_map(|key| key.path.split('.').next());
    let near = match path.split_once('.') {
        Some(_) => keys::suggest(path, KEYS.iter().map(|key| key.path)),
        // A key without its section is as likely as a section with a typing error.
        None => KEYS
            .iter()
            .find(|key| key.path.rsplit('.').next() == Some(path))
            .map(|key| key.path)
            .or_else(|| keys::suggest(path, sections)),
    };
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`dogwatch config` lists all of them".to_owned(),
    };
    Error::UnknownKey { key: path.to_owned(), origin: origin.clone(), hint }
}

fn refuse_variable(name: &str, origin: &Origin) -> Result<(), Error> {
    let key = name.trim_start_matches("DOGWATCH_").to_ascii_lowercase();
    if let Some((section, rest)) = key.split_once("__") {
        return Err(unknown(&format!("{section}.{rest}"), origin));
    }
    let near = KEYS.iter().filter_map(|key| key.alias).find(|alias| strsim::levenshtein(alias, name) == 1);
    near.map_or(Ok(()), |near| {
        let hint = format!("did you mean {near}?");
        Err(Error::UnknownKey { key: name.to_owned(), origin: origin.clone(), hint })
    })
}
