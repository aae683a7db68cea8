//! A problem document (RFC 9457) as the server sends it.

use std::fmt;

use serde::Deserialize;

/// Why a request was refused.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What kind of problem it is.
    pub title: String,
    /// What happened here, and what to do.
    pub detail: String,
    /// What is wrong with which field.
    pub errors: Vec<ProblemField>,
}

/// One field that cannot be accepted.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ProblemField {
    /// Where: a JSON pointer.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = if self.detail.is_empty() { &self.title } else { &self.detail };
        f.write_str(sentence)?;
        for field in &self.errors {
            let place = if field.pointer.is_empty() { "/" } else { &field.pointer };
            write!(f, "\n  {place}: {}", field.message)?;
        }
        Ok(())
    }
}
