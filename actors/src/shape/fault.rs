//! Why a value does not have the shape of a type, kept as data so that the message can be ours.
//!
//! Not responsible for where: the pointer is found by `serde_path_to_error`.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::suggest;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The object has no such field.
    #[error("unknown field `{field}`")]
    Unknown {
        /// The field.
        field: String,
        /// Those it has.
        expected: &'static [&'static str],
    },
    /// A required field is not there.
    #[error("`{field}` is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// The value is of another kind.
    #[error("expected {expected}, found {found}")]
    Kind {
        /// What was expected.
        expected: String,
        /// The kind that was found, never the value.
        found: &'static str,
    },
    /// The text is none of the words that may stand there.
    #[error("{0}")]
    Variant(String),
    /// A type's own complaint.
    #[error("{0}")]
    Other(String),
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Kind { expected: in_json_words(&expected.to_string()), found: kind(&found) }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Signed(_) | Unexpected::Unsigned(_) | Unexpected::Float(_) => {
                "a number out of its range"
            }
            other => kind(&other),
        };
        Self::Kind { expected: in_json_words(&expected.to_string()), found }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::Variant(suggest::unknown_word(variant, expected))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown { field: field.to_owned(), expected }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing { field }
    }
}

const fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
        Unexpected::Float(_) => "a number with a fraction",
        Unexpected::Str(_) | Unexpected::Char(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "an object",
        _ => "something else",
    }
}

/// What a type says it expects, in the words of JSON instead of those of Rust.
fn in_json_words(expected: &str) -> String {
    match expected {
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "option" => "a value or null".to_owned(),
        other if other.starts_with("struct ") => "a JSON object".to_owned(),
        other if other.starts_with("enum ") => "a string".to_owned(),
        other => other.to_owned(),
    }
}
