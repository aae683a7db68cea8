//! What it means that a request brought no answer.
//!
//! Responsible for: sorting the client's errors into the few kinds that callers act on. Not responsible for
//! answers, not even bad ones. Invariant: nothing of the URL but its host gets into a message.

use std::error::Error;

use super::guard::Refusal;
use crate::limits::QUOTE_CHARS_MAX;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The host's addresses may not be reached; nothing was connected.
    Refused(Refusal),
    /// A time limit passed.
    Timeout,
    /// No connection could be made; the request was not sent.
    Connect(String),
    /// The connection broke; the request may have been received.
    Broken(String),
}

impl From<reqwest::Error> for Fault {
    fn from(error: reqwest::Error) -> Self {
        // The outermost text repeats the URL; the causes do not.
        let error = error.without_url();
        if let Some(refusal) = causes(&error).find_map(|cause| cause.downcast_ref::<Refusal>()) {
            return Self::Refused(refusal.clone());
        }
        if error.is_timeout() {
            return Self::Timeout;
        }
        let text = causes(&error).last().map_or_else(|| error.to_string(), ToString::to_string);
        if error.is_connect() { Self::Connect(quote(&text)) } else { Self::Broken(quote(&text)) }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// `text` on one line and not too long.
pub(super) fn quote(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(QUOTE_CHARS_MAX).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_one_short_line() {
        assert_eq!(quote("  a\r\nb\u{1b}[31m "), "a  b [31m");
        assert_eq!(quote(&"ü".repeat(QUOTE_CHARS_MAX + 1)).chars().count(), QUOTE_CHARS_MAX);
    }
}
