//! Patterns of names: `*`, `?`, `[a-z]`, and over directories `**`. Pure.
//!
//! A pattern without `/` is one of the file's own name; one with it is of its path below the directory. Nothing here
//! takes more steps than the length of the pattern times that of the name, whatever they are.

use crate::limits::TRIGGER_PATTERN_BYTES_MAX;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PatternError {
    /// It is nothing, or too long.
    #[error("has 1 to {TRIGGER_PATTERN_BYTES_MAX} bytes")]
    Length,
    /// A set of characters has no end.
    #[error("has a `[` without its `]`; write `[[]` for the character itself")]
    Open,
    /// It can fit nothing.
    #[error(
        "begins or ends with `/`, or has an empty part, `.` or `..`; write it as a path below the directory"
    )]
    Path,
}

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    /// It is one of whole paths.
    has_directories: bool,
}

/// What a part of a path has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Any number of directories.
    Any,
    Name(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Many,
    /// Characters from one to another; whether these or all others.
    Set(Vec<(char, char)>, bool),
}

impl Pattern {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.len() > TRIGGER_PATTERN_BYTES_MAX {
            return Err(PatternError::Length);
        }
        let mut parts = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." | ".." => return Err(PatternError::Path),
                "**" => parts.push(Part::Any),
                name => parts.push(Part::Name(tokens(name)?)),
            }
        }
        Ok(Self { parts, has_directories: text.contains('/') })
    }

    /// Whether a path below the directory fits.
    pub(super) fn fits(&self, path: &str) -> bool {
        let names: Vec<&str> = match self.has_directories {
            true => path.split('/').collect(),
            false => path.rsplit('/').take(1).collect(),
        };
        walk(
            &self.parts,
            &names,
            |part| matches!(part, Part::Any),
            |part, name| match part {
                Part::Any => true,
                Part::Name(tokens) => {
                    let chars: Vec<char> = name.chars().collect();
                    walk(tokens, &chars, |token| matches!(token, Token::Many), Token::fits)
                }
            },
        )
    }
}

impl Token {
    fn fits(&self, found: &char) -> bool {
        match self {
            Self::Char(char) => char == found,
            Self::One | Self::Many => true,
            Self::Set(ranges, is_these) => {
                ranges.iter().any(|(first, last)| (first..=last).contains(&found)) == *is_these
            }
        }
    }
}

/// Whether things fit a pattern, in which some parts stand for any number of things. Only the last of those is gone back
/// to: what an earlier one could take, it could take as well.
fn walk<P, T>(
    pattern: &[P],
    things: &[T],
    is_many: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut thing) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while thing < things.len() {
        if at < pattern.len() && is_many(&pattern[at]) {
            back = Some((at + 1, thing));
            at += 1;
        } else if at < pattern.len() && fits(&pattern[at], &things[thing]) {
            at += 1;
            thing += 1;
        } else if let Some((behind, from)) = back {
            back = Some((behind, from + 1));
            at = behind;
            thing = from + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(is_many)
}

fn tokens(name: &str) -> Result<Vec<Token>, PatternError> {
    let (mut tokens, mut chars) = (Vec::new(), name.chars().peekable());
    while let Some(char) = chars.next() {
        tokens.push(match char {
            '*' => Token::Many,
            '?' => Token::One,
            '[' => {
                let is_these = chars.next_if(|next| matches!(next, '!' | '^')).is_none();
                let mut ranges = Vec::new();
                loop {
                    let first = chars.next().ok_or(PatternError::Open)?;
                    if first == ']' && !ranges.is_empty() {
                        break;
                    }
                    let mut ahead = chars.clone();
                    let last = match (ahead.next(), ahead.next()) {
                        (Some('-'), Some(last)) if last != ']' => {
                            chars = ahead;
                            last
                        }
                        _ => first,
                    };
                    ranges.push((first, last));
                }
                Token::Set(ranges, is_these)
            }
            char => Token::Char(char),
        });
    }
    Ok(tokens)
}

/// Whether a name is one that programs give to what is hidden or not finished.
pub(super) fn is_unfinished(name: &str) -> bool {
    let endings = ["~", ".tmp", ".temp", ".part", ".partial", ".crdownload", ".swp", ".filepart"];
    name.starts_with('.') || endings.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_as_a_shell_has_it() {
        for (pattern, fits, others) in [
            ("*", &["a", "a/b.csv", "ä"][..], &[][..]),
            ("*.csv", &["a.csv", ".csv", "x/y.csv", "a.csv.csv"], &["a.csv.tmp", "csv", "a.CSV"]),
            ("a?c", &["abc", "aäc"], &["ac", "abbc"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x"]),
            ("[!a-c]x", &["dx"], &["ax"]),
            ("[]]x", &["]x"], &["x"]),
            ("[[]x", &["[x"], &["x"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("in/*.csv", &["in/a.csv"], &["a.csv", "in/x/a.csv", "out/a.csv"]),
            ("**/a.csv", &["a.csv", "x/a.csv", "x/y/a.csv"], &["x/b.csv", "a.csv/x"]),
            ("in/**", &["in/a", "in/x/a"], &["out/a"]),
            ("in/**/*.csv", &["in/a.csv", "in/x/y/a.csv"], &["a.csv"]),
            ("a*a*a*a*a*b", &["aaaaab"], &["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            for name in fits {
                assert!(parsed.fits(name), "{pattern} {name}");
            }
            for name in others {
                assert!(!parsed.fits(name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        let long = "x".repeat(TRIGGER_PATTERN_BYTES_MAX + 1);
        for bad in ["", "[", "[a", "[]", "a[!", "/a", "a/", "a//b", "../a", "./a", &long] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        for name in [".x", "a~", "a.tmp", "a.part"] {
            assert!(is_unfinished(name), "{name}");
        }
        assert!(!is_unfinished("part.csv"));
    }
}
