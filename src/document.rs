//! What people write by hand, as a JSON object: JSON, TOML or YAML.
//!
//! Not responsible for: what is in it. Nothing is taken for another type because of how it looks: of YAML the core
//! schema of version 1.2 holds, so that `no` and `on` are texts.

use std::path::Path;

use serde_json::{Map, Value, json};

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
}

impl Format {
    /// The one that the name of a file says.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

/// Reads an object. Without a format it is JSON if it begins like an object of it, else TOML, else YAML.
///
/// # Errors
///
/// What is wrong, in the words of the format.
pub fn parse(text: &str, format: Option<Format>) -> Result<Map<String, Value>, String> {
    match format {
        Some(Format::Json) => from_json(text),
        Some(Format::Toml) => from_toml(text).map_err(|error| format!("it is not TOML: {error}")),
        Some(Format::Yaml) => from_yaml(text).map_err(|error| format!("it is not a YAML mapping: {error}")),
        None if text.trim_start().starts_with('{') => from_json(text),
        None => from_toml(text).or_else(|error| {
            from_yaml(text).map_err(|_| {
                format!("it is neither a JSON object nor TOML nor a YAML mapping: as TOML, {error}")
            })
        }),
    }
}

fn from_json(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("it is not a JSON object: {error}"))
}

fn from_toml(text: &str) -> Result<Map<String, Value>, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    Ok(table.into_iter().map(|(key, value)| (key, to_json(value))).collect())
}

fn from_yaml(text: &str) -> Result<Map<String, Value>, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

/// A TOML value as JSON; a time becomes a text.
pub fn to_json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(flag) => Value::Bool(flag),
        // The API takes times as texts, and TOML writes them as RFC 3339 does.
        toml::Value::Datetime(at) => Value::String(at.to_string()),
        toml::Value::Array(items) => items.into_iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            table.into_iter().map(|(key, value)| (key, to_json(value))).collect::<Map<_, _>>().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        parse(text, None).map(Value::Object)
    }

    #[test]
    fn the_same_document_in_each_format() {
        let json = r#" {"start_at": "2026-11-21T08:00:00Z", "env": {"DEBUG": "no", "PORT": "8080"},
            "retry_rules": [{"exit_codes": [2, "64-78"], "action": "fail"}], "max_attempts": null}"#;
        let toml = "start_at = 2026-11-21T08:00:00Z\nenv = {DEBUG = \"no\", PORT = \"8080\"}\n\
            [[retry_rules]]\nexit_codes = [2, \"64-78\"]\naction = \"fail\"\n";
        let yaml = "# a job\nstart_at: 2026-11-21T08:00:00Z\nenv:\n  DEBUG: no\n  PORT: \"8080\"\n\
            retry_rules:\n  - exit_codes: [2, 64-78]\n    action: fail\nmax_attempts: null\n";
        let expected: Value = serde_json::from_str(json).unwrap();
        assert_eq!(read(json).unwrap(), expected);
        assert_eq!(read(yaml).unwrap(), expected);
        // TOML has no null.
        let mut without_null = expected;
        without_null.as_object_mut().unwrap().remove("max_attempts");
        assert_eq!(read(toml).unwrap(), without_null);
    }

    #[test]
    fn the_name_of_a_file_says_its_format() {
        let cases = [
            ("job.json", Some(Format::Json)),
            ("job.toml", Some(Format::Toml)),
            ("jobs/a.YAML", Some(Format::Yaml)),
            ("job.yml", Some(Format::Yaml)),
            ("job", None),
            ("-", None),
        ];
        for (name, format) in cases {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_the_format() {
        let cases = [
            ("{\"a\": ", None, "not a JSON object"),
            ("a: 1", Some(Format::Json), "not a JSON object"),
            ("a: 1", Some(Format::Toml), "not TOML"),
            ("- a", Some(Format::Yaml), "not a YAML mapping"),
            ("- a", None, "neither"),
            ("a: [1", None, "neither"),
            ("a: 1\na: 2", Some(Format::Yaml), "uplicate"),
        ];
        for (text, format, expected) in cases {
            let error = parse(text, format).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_yaml_document_that_unfolds_without_end_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let parts = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{parts}]\n"));
        }
        assert!(parse(&text, Some(Format::Yaml)).is_err());
    }
}
