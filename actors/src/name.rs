//! The names of what is declared: pools, queues, schedules, triggers. Each has a type of its own, and all are made by one
//! rule: a DNS-1123 label, so that it may stand in a path, a label, a metric and a token. Jobs and containers are named by
//! it too.
//!
//! Not responsible for: how a text stands in keys and in JSON (`hub.rs`).

/// What the labels and tags begin with that dogwatch writes: users' must not.
pub(crate) const OWN_LABELS: &str = "dogwatch.";

/// Whether a text is a DNS-1123 label of at most so many characters.
pub(crate) fn is_label(text: &str, most: usize) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=most).contains(&text.len())
        && text.bytes().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The type of the names of `$what`, and the error of a text that is none. A name that is a route is no name.
macro_rules! name {
    ($(#[$doc:meta])* $id:ident, $error:ident, $what:literal $(, not $reserved:literal)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $id($crate::hub::Text<{ $crate::limits::NAME_CHARS_MAX }>);

        #[doc = concat!("The text is no name of a ", $what, ".")]
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $error(String);

        impl std::fmt::Display for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(
                    f,
                    concat!(
                        "`{}` is not the name of a ", $what, "; use 1 to {} lower-case letters, digits and `-`, \
                         beginning and ending with a letter or digit" $(, ", and not the word `", $reserved, "`")?
                    ),
                    self.0,
                    $crate::limits::NAME_CHARS_MAX
                )
            }
        }

        impl std::error::Error for $error {}

        impl std::str::FromStr for $id {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if $crate::name::is_label(text, $crate::limits::NAME_CHARS_MAX) $(&& text != $reserved)? {
                    Ok(Self($crate::hub::Text::of(text)))
                } else {
                    // No more of it than shows that it is too long.
                    Err($error(text.chars().take($crate::limits::NAME_CHARS_MAX + 1).collect()))
                }
            }
        }

        $crate::hub::text_id!($id, $crate::limits::NAME_CHARS_MAX);
    };
}
pub(crate) use name;
