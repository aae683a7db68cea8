//! The names that events may have, raised or called back.

use dogwatch_actors::limits::CLIENT_KEY_CHARS_MAX;

/// The text is no name of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event's name is 1 to 255 of letters, digits and `_.:-`; choose such a name")]
pub struct BadEventName;

/// Whether events may be called `name`: what can stand in a path, a label and a line of a log.
pub fn check(name: &str) -> Result<(), BadEventName> {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    let good = (1..=CLIENT_KEY_CHARS_MAX).contains(&name.len()) && name.chars().all(inside);
    if good { Ok(()) } else { Err(BadEventName) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_accepted() {
        for good in ["completed", "order.paid:v2", "a-b_c", &"x".repeat(255)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a/b", "é", "a\n", &"x".repeat(256)] {
            assert_eq!(check(bad), Err(BadEventName), "{bad}");
        }
    }
}
