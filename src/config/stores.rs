//! The buckets of the configuration: `[stores.<name>]` of the file, each a place for objects.
//!
//! They have no place in the list of keys: the environment and flags set none of them. A secret stands in a file of its
//! own, which is named here.

use std::collections::BTreeMap;

use dogwatch_actors::{bucket, shape};
use toml::{Table, Value};

use super::{Error, Origin};
use crate::document::to_json;

/// The section.
const SECTION: &str = "stores";

/// The longest name of a store, in characters: it stands in specs and messages.
const NAME_CHARS_MAX: usize = 63;

/// The buckets of a configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct Stores {
    /// By their names.
    pub(super) configs: BTreeMap<String, bucket::Config>,
    /// As they are written.
    written: Table,
    /// Where.
    origin: Option<Origin>,
}

/// Takes the buckets out of the file; what is left has keys.
pub(super) fn take(table: &mut Table, origin: &Origin) -> Result<Stores, Error> {
    let Some(section) = table.remove(SECTION) else { return Ok(Stores::default()) };
    let bad = |key: String, message: String| Error::BadValue { key, origin: origin.clone(), message };
    let Value::Table(written) = section else {
        return Err(bad(SECTION.to_owned(), "write each store as [stores.<name>]".to_owned()));
    };
    let mut configs = BTreeMap::new();
    for (name, value) in &written {
        let key = format!("{SECTION}.{name}");
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(inside) {
            let message = "a store's name has 1 to 63 lower-case letters, digits and `-`";
            return Err(bad(key, message.to_owned()));
        }
        let config: bucket::Config = serde_path_to_error::deserialize(value.clone()).map_err(|error| {
            let place = error.path().to_string();
            let key = if place == "." { key.clone() } else { format!("{key}.{place}") };
            bad(key, error.inner().message().trim().to_owned())
        })?;
        if config.url.is_empty() {
            let message = "is missing; write it like s3://bucket/prefix, az://container or file:///directory";
            return Err(bad(format!("{key}.url"), message.to_owned()));
        }
        configs.insert(name.clone(), config);
    }
    Ok(Stores { configs, written, origin: Some(origin.clone()) })
}

impl Stores {
    /// Refuses a setting that names a store that is not declared.
    pub(super) fn check_name(
        &self,
        key: &str,
        name: Option<&str>,
        origins: &BTreeMap<String, Origin>,
    ) -> Result<(), Error> {
        let Some(name) = name.filter(|name| !self.configs.contains_key(*name)) else { return Ok(()) };
        let message = match shape::nearest(name, self.configs.keys().map(String::as_str)) {
            Some(near) => format!("there is no [stores.{name}]; did you mean `{near}`?"),
            None => format!("there is no [stores.{name}]; declare it in the file"),
        };
        let origin = origins.get(key).cloned().unwrap_or(Origin::Default);
        Err(Error::BadValue { key: key.to_owned(), origin, message })
    }
}

/// As a part of a file of `--config`.
pub(super) fn toml(stores: &Stores) -> String {
    let Some(origin) = stores.origin.as_ref().filter(|_| !stores.written.is_empty()) else {
        return String::new();
    };
    let mut section = Table::new();
    section.insert(SECTION.to_owned(), Value::Table(stores.written.clone()));
    let text = toml::to_string(&section).expect("what was read as TOML is written as TOML");
    format!("\n# {origin}\n{text}")
}

/// As JSON: each with where it came from.
pub(super) fn json(stores: &Stores) -> serde_json::Value {
    let from = stores.origin.as_ref().map(Origin::to_string);
    let each = stores.written.iter().map(|(name, value)| {
        let value = to_json(value.clone());
        (name.clone(), serde_json::json!({ "value": value, "from": from }))
    });
    serde_json::Value::Object(each.collect())
}
