//! The schedules of the configuration: `[schedules.<name>]` of the file, each a schedule as the API takes it.
//!
//! They have no place in the list of keys: the environment and flags set none of them. A secret is refused, because no
//! value of the configuration is one.

use std::collections::BTreeMap;

use dogwatch_actors::job::parse::parse_around;
use dogwatch_actors::schedule::{ScheduleId, Spec};
use toml::{Table, Value};

use super::{Error, Origin};
use crate::api::schedules::hint;
use crate::document::to_json;

/// The section.
const SECTION: &str = "schedules";

/// The schedules of a configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct Schedules {
    /// As they are declared.
    pub(super) specs: BTreeMap<ScheduleId, Spec>,
    /// As they are written.
    pub(super) written: Table,
    /// Where.
    pub(super) origin: Option<Origin>,
}

/// Takes the schedules out of the file; what is left has keys.
pub(super) fn take(table: &mut Table, origin: &Origin) -> Result<Schedules, Error> {
    let Some(section) = table.remove(SECTION) else { return Ok(Schedules::default()) };
    let bad = |key: String, message: String| Error::BadValue { key, origin: origin.clone(), message };
    let Value::Table(written) = section else {
        return Err(bad(SECTION.to_owned(), "write each schedule as [schedules.<name>]".to_owned()));
    };
    let mut specs = BTreeMap::new();
    for (name, value) in &written {
        let key = format!("{SECTION}.{name}");
        let id: ScheduleId = name.parse().map_err(|error| bad(key.clone(), format!("{error}")))?;
        let mut spec: Spec = parse_around(&to_json(value.clone()), hint).map_err(|faults| {
            let (place, message) = match faults.first() {
                Some(fault) => (fault.pointer.replace('/', "."), fault.message.clone()),
                None => (String::new(), "it is no schedule".to_owned()),
            };
            bad(format!("{key}{place}"), message)
        })?;
        let secrets = spec.job.as_mut().map(|job| job.take_secrets()).unwrap_or_default();
        if let Some(place) = secrets.keys().next() {
            let message =
                format!("a secret ({place}) does not belong into a file; declare this schedule over the API");
            return Err(bad(format!("{key}.job"), message));
        }
        specs.insert(id, spec);
    }
    Ok(Schedules { specs, written, origin: Some(origin.clone()) })
}

/// As a part of a file of `--config`.
pub(super) fn toml(schedules: &Schedules) -> String {
    let Some(origin) = schedules.origin.as_ref().filter(|_| !schedules.written.is_empty()) else {
        return String::new();
    };
    let mut section = Table::new();
    section.insert(SECTION.to_owned(), Value::Table(schedules.written.clone()));
    let text = toml::to_string(&section).expect("what was read as TOML is written as TOML");
    format!("\n# {origin}\n{text}")
}

/// As JSON: each with where it came from.
pub(super) fn json(schedules: &Schedules) -> serde_json::Value {
    let from = schedules.origin.as_ref().map(Origin::to_string);
    let each = schedules.written.iter().map(|(name, value)| {
        let value = to_json(value.clone());
        (name.clone(), serde_json::json!({ "value": value, "from": from }))
    });
    serde_json::Value::Object(each.collect())
}
