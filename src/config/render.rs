//! The configuration as people and programs read it back.

use std::fmt::Write as _;

use serde_json::json;
use toml::Table;

use super::keys::KEYS;
use super::{Loaded, Origin, admission, schedules, stores, triggers};

/// TOML; each value with a comment that tells where it came from. Can be used as a file of `--config`.
pub(super) fn toml(loaded: &Loaded) -> String {
    let mut out = String::new();
    let mut current = "";
    for (section, name, value, origin) in rows(loaded) {
        if section != current {
            let gap = if current.is_empty() { "" } else { "\n" };
            writeln!(out, "{gap}[{section}]").expect("a string takes every write");
            current = section;
        }
        match (value, origin) {
            (Some(value), Some(origin)) => writeln!(out, "{name} = {value}  # {origin}"),
            _ => writeln!(out, "# {name} is not set"),
        }
        .expect("a string takes every write");
    }
    out.push_str(&admission::toml(&loaded.admitted));
    out.push_str(&schedules::toml(&loaded.schedules));
    out.push_str(&stores::toml(&loaded.stores));
    out.push_str(&triggers::toml(&loaded.triggers));
    out
}

/// JSON: `{"section": {"key": {"value": …, "from": …}}}`; a key that is not set has the value `null`.
pub(super) fn json(loaded: &Loaded) -> serde_json::Value {
    let mut out = json!({});
    for (section, name, value, origin) in rows(loaded) {
        let value = serde_json::to_value(value).expect("a TOML value is JSON");
        out[section][name] = json!({ "value": value, "from": origin.map(Origin::to_string) });
    }
    admission::json(&loaded.admitted, &mut out);
    out["schedules"] = schedules::json(&loaded.schedules);
    out["stores"] = stores::json(&loaded.stores);
    out["triggers"] = triggers::json(&loaded.triggers);
    out
}

type Row<'a> = (&'static str, &'static str, Option<toml::Value>, Option<&'a Origin>);

fn rows(loaded: &Loaded) -> impl Iterator<Item = Row<'_>> {
    let mut config = loaded.config.clone();
    config.server.data_dir = Some(loaded.data_dir().to_owned());
    let table = Table::try_from(config).expect("a configuration is TOML");
    KEYS.iter().map(move |key| {
        let (section, name) = key.path.split_once('.').expect("every key has a section");
        let value = table.get(section).and_then(|section| section.get(name)).cloned();
        (section, name, value, loaded.origins.get(key.path))
    })
}
