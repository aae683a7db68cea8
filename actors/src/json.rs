//! Strict reading of JSON text.
//!
//! Turns bytes into a [`Value`] and says line and column when they are none. It knows nothing of what the
//! document means: shapes are the business of [`crate::shape`].
//!
//! Invariants: an object with the same key twice is refused (which of the two a reader takes is anybody's
//! guess, and a guess is how checks are passed by); nesting is bounded by the parser; no text of the document
//! but a repeated key appears in an error.

mod tree;

use serde_json::Value;

pub use self::tree::Tree;

/// The text is no JSON that we accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Error {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// Reads one JSON document.
pub fn read(text: &[u8]) -> Result<Value, Error> {
    read_tree(text).map(Tree::into_value)
}

/// The same, and copies nothing of it that need not be.
pub fn read_tree(text: &[u8]) -> Result<Tree<'_>, Error> {
    serde_json::from_slice(text).map_err(|error| {
        let text = error.to_string();
        // The parser appends the place, which this error carries beside the message.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = text.strip_suffix(&place).unwrap_or(&text).to_owned();
        Error { line: error.line(), column: error.column(), message }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_serde_json_reads() {
        for text in [r#"{"a": [1, -2, 2.5, "x", null, true], "b": {"a": {}}}"#, "null", "\"\\u00e9\"", " 1 "]
        {
            assert_eq!(
                read(text.as_bytes()).unwrap(),
                serde_json::from_str::<Value>(text).unwrap(),
                "{text}"
            );
        }
    }

    #[test]
    fn says_where_it_is_broken() {
        let error = read(b"{\n  \"a\": 1,\n  oops\n}").unwrap_err();
        assert_eq!((error.line, error.column), (3, 3), "{error}");
        assert!(!error.message.contains("line"), "{error}");
        for broken in ["", "{", "[1,]", "1 2", "{\"a\":1e999}", "\"\\ud800\"", "nul", "\u{feff}{}"] {
            assert!(read(broken.as_bytes()).is_err(), "{broken}");
        }
        assert!(read(b"\"\xff\"").is_err());
    }

    #[test]
    fn refuses_a_key_that_appears_twice_at_any_depth() {
        for text in [r#"{"a": 1, "a": 2}"#, r#"[{"b": {"a": 1, "a": 1}}]"#, r#"{"a": 1, "\u0061": 2}"#] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.message.contains("\"a\" appears twice"), "{text}: {error}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(read(deep.as_bytes()).unwrap_err().message.contains("recursion"));
    }
}
