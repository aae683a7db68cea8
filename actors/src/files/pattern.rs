//! Which paths a pattern means. Pure.
//!
//! `*` is any number of characters of one name, `?` one of them, `**` as a whole name any number of directories, none
//! included. A pattern without any of these is a path: that very file, or all that is in that directory.
//!
//! Invariant: whatever a pattern matches lies below its own beginning; no pattern has `..` in it.

/// A pattern over paths with `/` between their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    absolute: bool,
    names: Vec<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Plain(String),
    Wild(Vec<char>),
    Deep,
}

/// Why a text is no path or pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// There is nothing in it.
    #[error("is empty; name a file, a directory or a pattern")]
    Empty,
    /// It has names that lead elsewhere.
    #[error("must not contain `.`, `..` or nothing between two `/`; write the path that is meant")]
    Elsewhere,
    /// It begins with a wildcard at the root of everything.
    #[error("would look through everything; begin with a directory, like `/out/**`")]
    Everything,
}

/// The names of a path, when each leads into the one before it.
pub fn names(path: &str) -> Result<Vec<&str>, Invalid> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Err(Invalid::Empty);
    }
    let names: Vec<&str> = inner.split('/').collect();
    let leads_on = |name: &&str| !name.is_empty() && **name != *"." && **name != *"..";
    if names.iter().all(leads_on) { Ok(names) } else { Err(Invalid::Elsewhere) }
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let absolute = text.starts_with('/');
        let name = |name: &str| match name {
            "**" => Name::Deep,
            name if name.contains(['*', '?']) => Name::Wild(name.chars().collect()),
            name => Name::Plain(name.to_owned()),
        };
        let names: Vec<Name> = names(text)?.into_iter().map(name).collect();
        if absolute && !matches!(names.first(), Some(Name::Plain(_))) {
            return Err(Invalid::Everything);
        }
        Ok(Self { text: text.to_owned(), absolute, names })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it begins at the root.
    pub const fn is_absolute(&self) -> bool {
        self.absolute
    }

    /// Whether it has no wildcard.
    pub fn is_plain(&self) -> bool {
        self.names.iter().all(|name| matches!(name, Name::Plain(_)))
    }

    /// The names in front of the first wildcard: all that it matches is there or below.
    pub fn base(&self) -> Vec<&str> {
        fn plain(name: &Name) -> Option<&str> {
            match name {
                Name::Plain(name) => Some(name.as_str()),
                Name::Wild(_) | Name::Deep => None,
            }
        }
        self.names.iter().map_while(plain).collect()
    }

    /// Whether it means the file of these names.
    pub fn matches(&self, path: &[&str]) -> bool {
        if self.is_plain() {
            let base = self.base();
            return path.len() >= base.len() && path[..base.len()] == base[..];
        }
        matches(&self.names, path)
    }
}

fn matches(names: &[Name], path: &[&str]) -> bool {
    match (names, path) {
        ([], []) => true,
        ([Name::Deep], _) => !path.is_empty(),
        ([Name::Deep, rest @ ..], _) => (0..=path.len()).any(|skipped| matches(rest, &path[skipped..])),
        ([Name::Plain(name), rest @ ..], [first, below @ ..]) => name == first && matches(rest, below),
        ([Name::Wild(wild), rest @ ..], [first, below @ ..]) => is_like(wild, first) && matches(rest, below),
        _ => false,
    }
}

/// Whether a name is like one with `*` and `?`. Goes back to the last star only, so that no name takes long.
fn is_like(wild: &[char], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut from, mut star) = (0, 0, None);
    while at < name.len() {
        match wild.get(from) {
            Some('*') => {
                star = Some((from, at));
                from += 1;
            }
            Some(c) if *c == '?' || *c == name[at] => {
                from += 1;
                at += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    (from, at) = (place + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    wild[from..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(&names(path).unwrap())
    }

    #[test]
    fn a_pattern_means_what_is_documented() {
        let table = [
            ("out/a.txt", "out/a.txt", true),
            ("out", "out/a/b.txt", true),
            ("out/", "out/a", true),
            ("out", "outer/a", false),
            ("out/*", "out/a", true),
            ("out/*", "out/a/b", false),
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.gz", false),
            ("?.csv", "ab.csv", false),
            ("?.csv", "ü.csv", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("/out/**", "/out/a/b/c", true),
            ("/out/**", "/out", false),
            ("/out/**/*.csv", "/out/a.csv", true),
            ("/out/**/*.csv", "/out/x/y/a.csv", true),
            ("/out/**/*.csv", "/out/x/y/a.txt", false),
            ("**/last", "last", true),
            ("a/**/b/**/c", "a/b/x/b/c", true),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(means(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_no_pattern() {
        for bad in ["", "/", "a//b", "./a", "a/../b", "..", "/a/..", "/**", "/*", "/*/a", "//a"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        let pattern = Pattern::parse("/out/run-?/x").unwrap();
        assert_eq!((pattern.base(), pattern.is_absolute(), pattern.is_plain()), (vec!["out"], true, false));
    }

    #[test]
    fn a_name_of_many_stars_takes_no_time() {
        let wild = "*a".repeat(40);
        assert!(!means(&format!("x/{wild}b"), &format!("x/{}", "a".repeat(2_000))));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".{0,40}", path in "[a-c/*?]{1,20}") {
            if let (Ok(pattern), Ok(path)) = (Pattern::parse(&text), names(&path)) {
                pattern.matches(&path);
                assert!(pattern.base().len() <= text.len());
            }
        }
    }
}
