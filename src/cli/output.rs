//! Standard output and standard error: who reads them, and what may reach a terminal.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};

use super::Error;

/// Prints data and a line end.
pub(super) fn data(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush().map_err(Error::from)
}

/// Prints bytes as they are.
pub(super) fn raw(bytes: &[u8]) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush().map_err(Error::from)
}

/// Prints bytes as they are on standard error.
pub(super) fn raw_error(bytes: &[u8]) -> Result<(), Error> {
    std::io::stderr().lock().write_all(bytes).map_err(Error::from)
}

/// Tells people something. That nobody listens is no error.
pub(super) fn note(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{}", escape_lines(text)));
}

/// How to paint what goes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    /// With colours.
    Colours,
    /// Without.
    Plain,
}

/// The colours in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Red,
    Green,
    Yellow,
    Dim,
    Bold,
}

impl Paint {
    /// Colours for a terminal whose user did not say no (<https://no-color.org>).
    pub(super) fn detect() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if std::io::stdout().is_terminal() && !refused { Self::Colours } else { Self::Plain }
    }

    /// `text`, painted.
    pub(super) fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Red => "31",
            Colour::Green => "32",
            Colour::Yellow => "33",
            Colour::Dim => "2",
            Colour::Bold => "1",
        };
        match self {
            Self::Colours => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// `text` on one line and without anything that a terminal would obey.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().fold(String::new(), |mut out, c| {
        if is_dangerous(c) {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    }))
}

fn escape_lines(text: &str) -> String {
    text.split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

/// Control characters, and those that turn the direction of writing so that a line reads as another.
fn is_dangerous(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_obey() {
        for (text, shown) in [
            ("plain ünïcode ✓", "plain ünïcode ✓"),
            ("\x1b[2Jgone", "\\u{1b}[2Jgone"),
            ("two\nlines", "two\\nlines"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("\u{9b}31m", "\\u{9b}31m"),
        ] {
            assert_eq!(escape(text), shown);
        }
        assert_eq!(escape_lines("a\nb\x07"), "a\nb\\u{7}");
        assert_eq!(Paint::Plain.paint(Colour::Red, "x"), "x");
        assert_eq!(Paint::Colours.paint(Colour::Red, "x"), "\x1b[31mx\x1b[0m");
    }
}
