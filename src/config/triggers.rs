//! The triggers of the configuration: `[triggers.<name>]` of the file, each a trigger as the API takes it.
//!
//! They have no place in the list of keys: the environment and flags set none of them. A secret is refused, because no
//! value of the configuration is one.

use std::collections::BTreeMap;

use dogwatch_actors::job::parse::parse_around;
use dogwatch_actors::trigger::{Spec, TriggerId};
use toml::{Table, Value};

use super::{Error, Origin};
use crate::api::triggers::hint;
use crate::document::to_json;

/// The section.
const SECTION: &str = "triggers";

/// The triggers of a configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct Triggers {
    /// As they are declared.
    pub(super) specs: BTreeMap<TriggerId, Spec>,
    /// As they are written.
    pub(super) written: Table,
    /// Where.
    pub(super) origin: Option<Origin>,
}

/// Takes the triggers out of the file; what is left has keys.
pub(super) fn take(table: &mut Table, origin: &Origin) -> Result<Triggers, Error> {
    let Some(section) = table.remove(SECTION) else { return Ok(Triggers::default()) };
    let bad = |key: String, message: String| Error::BadValue { key, origin: origin.clone(), message };
    let Value::Table(written) = section else {
        return Err(bad(SECTION.to_owned(), "write each trigger as [triggers.<name>]".to_owned()));
    };
    let mut specs = BTreeMap::new();
    for (name, value) in &written {
        let key = format!("{SECTION}.{name}");
        let id: TriggerId = name.parse().map_err(|error| bad(key.clone(), format!("{error}")))?;
        let mut spec: Spec = parse_around(&to_json(value.clone()), hint).map_err(|faults| {
            let (place, message) = match faults.first() {
                Some(fault) => (fault.pointer.replace('/', "."), fault.message.clone()),
                None => (String::new(), "it is no trigger".to_owned()),
            };
            bad(format!("{key}{place}"), message)
        })?;
        let secrets = spec.job.as_mut().map(|job| job.take_secrets()).unwrap_or_default();
        if let Some(place) = secrets.keys().next() {
            let message =
                format!("a secret ({place}) does not belong into a file; declare this trigger over the API");
            return Err(bad(format!("{key}.job"), message));
        }
        specs.insert(id, spec);
    }
    Ok(Triggers { specs, written, origin: Some(origin.clone()) })
}

/// As a part of a file of `--config`.
pub(super) fn toml(triggers: &Triggers) -> String {
    let Some(origin) = triggers.origin.as_ref().filter(|_| !triggers.written.is_empty()) else {
        return String::new();
    };
    let mut section = Table::new();
    section.insert(SECTION.to_owned(), Value::Table(triggers.written.clone()));
    let text = toml::to_string(&section).expect("what was read as TOML is written as TOML");
    format!("\n# {origin}\n{text}")
}

/// As JSON: each with where it came from.
pub(super) fn json(triggers: &Triggers) -> serde_json::Value {
    let from = triggers.origin.as_ref().map(Origin::to_string);
    let each = triggers.written.iter().map(|(name, value)| {
        let value = to_json(value.clone());
        (name.clone(), serde_json::json!({ "value": value, "from": from }))
    });
    serde_json::Value::Object(each.collect())
}
