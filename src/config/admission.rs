//! Who is next: `[tenants.<name>]` and `[concurrency.<key>]` of the file, and the section `[admission]`.
//!
//! The tables that have names have no place in the list of keys: the environment and flags set none of them.

use std::collections::BTreeMap;

use dogwatch_actors::admission::{KeyRule, Rate, Rules, TenantRule};
use dogwatch_actors::job::validate::{is_tenant, rate_faults};
use dogwatch_actors::limits::{CONCURRENCY_KEY_CHARS_MAX, CONCURRENCY_LIMIT_MAX, TENANT_WEIGHT_MAX};
use dogwatch_actors::shape;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::{Admission, Error, Origin};
use crate::document::to_json;

const TENANTS: &str = "tenants";
const KEYS: &str = "concurrency";

/// The tenants and keys of a configuration.
#[derive(Debug, Clone, Default)]
pub(super) struct Declared {
    tenants: BTreeMap<String, TenantRule>,
    keys: BTreeMap<String, KeyRule>,
    /// As they are written, by section.
    written: Table,
    /// Where.
    origin: Option<Origin>,
}

/// Takes the tenants and keys out of the file; what is left has keys of the configuration.
pub(super) fn take(table: &mut Table, origin: &Origin) -> Result<Declared, Error> {
    let mut declared = Declared { origin: Some(origin.clone()), ..Declared::default() };
    for section in [TENANTS, KEYS] {
        if let Some(value) = table.remove(section) {
            declared.written.insert(section.to_owned(), value);
        }
    }
    let bad = |key: String, message: String| Error::BadValue { key, origin: origin.clone(), message };
    declared.tenants = read(&declared.written, TENANTS, &bad)?;
    declared.keys = read(&declared.written, KEYS, &bad)?;
    for (name, rule) in &declared.tenants {
        let fault = tenant_fault(name, rule);
        fault.map_or(Ok(()), |(field, message)| Err(bad(format!("{TENANTS}.{name}{field}"), message)))?;
    }
    for (key, rule) in &declared.keys {
        let fault = key_fault(key, rule);
        fault.map_or(Ok(()), |(field, message)| Err(bad(format!("{KEYS}.{key}{field}"), message)))?;
    }
    Ok(declared)
}

fn read<T: DeserializeOwned>(
    written: &Table,
    section: &str,
    bad: &impl Fn(String, String) -> Error,
) -> Result<BTreeMap<String, T>, Error> {
    let Some(value) = written.get(section) else { return Ok(BTreeMap::new()) };
    let Value::Table(named) = value else {
        return Err(bad(section.to_owned(), format!("write each as [{section}.<name>]")));
    };
    let one = |(name, value): (&String, &Value)| {
        let rule = shape::read(&to_json(value.clone()), |_, _| None).map_err(|faults| {
            let (place, message) = match faults.first() {
                Some(fault) => (fault.pointer.replace('/', "."), fault.message.clone()),
                None => (String::new(), "it is no table of settings".to_owned()),
            };
            bad(format!("{section}.{name}{place}"), message)
        })?;
        Ok((name.clone(), rule))
    };
    named.iter().map(one).collect()
}

type Fault = Option<(String, String)>;

fn rate_fault(rate: Option<&Rate>) -> Fault {
    let (field, message) = rate_faults(rate?).into_iter().next()?;
    Some((format!(".rate.{field}"), message))
}

fn tenant_fault(name: &str, rule: &TenantRule) -> Fault {
    if !is_tenant(name) {
        return Some((String::new(), "is not the name of a tenant".to_owned()));
    }
    if rule.weight == 0 || rule.weight > TENANT_WEIGHT_MAX {
        return Some((".weight".to_owned(), format!("must be between 1 and {TENANT_WEIGHT_MAX}")));
    }
    if rule.max_running == Some(0) {
        return Some((".max_running".to_owned(), "must be at least 1; leave it out for no limit".to_owned()));
    }
    rate_fault(rule.rate.as_ref())
}

fn key_fault(key: &str, rule: &KeyRule) -> Fault {
    if key.is_empty() || key.chars().count() > CONCURRENCY_KEY_CHARS_MAX {
        return Some((String::new(), format!("a key has 1 to {CONCURRENCY_KEY_CHARS_MAX} characters")));
    }
    if rule.limit.is_none() && rule.rate.is_none() {
        return Some((String::new(), "give it a `limit`, a `rate` or both".to_owned()));
    }
    if rule.limit.is_some_and(|limit| limit == 0 || limit > CONCURRENCY_LIMIT_MAX) {
        return Some((".limit".to_owned(), format!("must be between 1 and {CONCURRENCY_LIMIT_MAX}")));
    }
    rate_fault(rule.rate.as_ref())
}

/// The section and the tables together.
pub(super) fn rules(section: &Admission, declared: &Declared, origin: &Origin) -> Result<Rules, Error> {
    let bad = |name: &str, message: String| Error::BadValue {
        key: format!("admission.{name}"),
        origin: origin.clone(),
        message,
    };
    let rate = match (section.rate_limit, section.rate_per) {
        (None, None) => None,
        (Some(limit), Some(per)) => Some(Rate { limit, per, burst: None }),
        (Some(_), None) => return Err(bad("rate_per", "is missing beside `rate_limit`".to_owned())),
        (None, Some(_)) => return Err(bad("rate_limit", "is missing beside `rate_per`".to_owned())),
    };
    if let Some((field, message)) = rate.iter().flat_map(rate_faults).next() {
        return Err(bad(&format!("rate_{field}"), message));
    }
    Ok(Rules {
        tenants: declared.tenants.clone(),
        keys: declared.keys.clone(),
        tenant_label: section.tenant_label.clone(),
        rate,
        recovering: false,
    })
}

/// As a part of a file of `--config`.
pub(super) fn toml(declared: &Declared) -> String {
    let Some(origin) = declared.origin.as_ref().filter(|_| !declared.written.is_empty()) else {
        return String::new();
    };
    let text = toml::to_string(&declared.written).expect("what was read as TOML is written as TOML");
    format!("\n# {origin}\n{text}")
}

/// As JSON: each with where it came from, by section.
pub(super) fn json(declared: &Declared, into: &mut serde_json::Value) {
    let from = declared.origin.as_ref().map(Origin::to_string);
    for section in [TENANTS, KEYS] {
        let named = declared.written.get(section).and_then(Value::as_table).cloned().unwrap_or_default();
        let each = named
            .into_iter()
            .map(|(name, value)| (name, serde_json::json!({ "value": to_json(value), "from": from })));
        into[section] = serde_json::Value::Object(each.collect());
    }
}
