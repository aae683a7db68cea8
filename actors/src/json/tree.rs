//! A JSON document as it stands in its text: what has no escapes in it is not copied.
//!
//! For who takes from a document what is wanted of it and lets go of the rest. Not responsible for what it means.
//!
//! Invariant: of a document that was read, no object has a key twice.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// Members of an object among which a key is looked for one by one. Nearly all objects have fewer, and for those it is the
/// cheapest; with more, somebody could make it cost the square of their number.
const MEMBERS_FEW: usize = 32;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree<'t> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A whole number that is.
    Signed(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(Cow<'t, str>),
    /// An array.
    List(Vec<Tree<'t>>),
    /// An object, its members as they follow each other.
    Object(Vec<(Cow<'t, str>, Tree<'t>)>),
}

impl<'t> Tree<'t> {
    /// The same as `value`, of which the texts are borrowed.
    pub fn of(value: &'t Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => Self::Unsigned(value),
                (_, Some(value)) => Self::Signed(value),
                _ => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Object(members) => {
                let members = members.iter();
                Self::Object(members.map(|(key, value)| (Cow::Borrowed(&**key), Self::of(value))).collect())
            }
        }
    }

    /// The same on its own.
    pub fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Unsigned(value) => Value::Number(value.into()),
            Self::Signed(value) => Value::Number(value.into()),
            Self::Float(value) => Number::from_f64(value).map_or(Value::Null, Value::Number),
            Self::Text(text) => Value::String(text.into_owned()),
            Self::List(items) => Value::Array(items.into_iter().map(Self::into_value).collect()),
            Self::Object(members) => {
                let members = members.into_iter();
                Value::Object(members.map(|(key, value)| (key.into_owned(), value.into_value())).collect())
            }
        }
    }

    /// The member `key`, of an object that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl<'de> Deserialize<'de> for Tree<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(value).map_or(Tree::Signed(value), Tree::Unsigned))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Tree::Unsigned(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Tree::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Tree::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Tree::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(key) = access.next_key()? {
            let Tree::Text(key) = key else { return Err(A::Error::custom("a key that is no text")) };
            if members.have(&key) {
                let shown: String = key.chars().take(64).collect();
                return Err(A::Error::custom(format_args!("the key {shown:?} appears twice; keep one")));
            }
            members.add(key, access.next_value()?);
        }
        Ok(Tree::Object(members.list))
    }
}

/// The members of an object so far.
#[derive(Default)]
struct Members<'t> {
    list: Vec<(Cow<'t, str>, Tree<'t>)>,
    /// Their keys, once they are not few.
    keys: HashSet<Cow<'t, str>>,
}

impl<'t> Members<'t> {
    fn have(&self, key: &str) -> bool {
        if self.list.len() <= MEMBERS_FEW {
            self.list.iter().any(|(name, _)| name == key)
        } else {
            self.keys.contains(key)
        }
    }

    fn add(&mut self, key: Cow<'t, str>, value: Tree<'t>) {
        self.list.push((key, value));
        if self.list.len() > MEMBERS_FEW {
            let new = &self.list[self.keys.len()..];
            self.keys.extend(new.iter().map(|(key, _)| key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json::{read, read_tree};

    #[test]
    fn it_is_what_serde_json_reads_and_what_it_was_made_of() {
        for text in [
            r#"{"a": [1, -2, 2.5, "x", null, true], "b": {"a": {}}, "\u0063\n": "\u00e9"}"#,
            "18446744073709551615",
            "-9223372036854775808",
            "1e300",
            "-0",
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            let tree = read_tree(text.as_bytes()).unwrap();
            assert_eq!(tree.clone().into_value(), value, "{text}");
            assert_eq!(Tree::of(&value).into_value(), value, "{text}");
        }
    }

    #[test]
    fn texts_are_copied_only_where_they_have_escapes() {
        let tree = read_tree(br#"{"plain": "text", "esc\u0061ped": "te\u0078t"}"#).unwrap();
        let Tree::Object(members) = &tree else { panic!("{tree:?}") };
        let borrowed = |text: &Cow<'_, str>| matches!(text, Cow::Borrowed(_));
        let found: Vec<_> = members.iter().map(|(key, value)| (borrowed(key), value.clone())).collect();
        assert_eq!(found[0], (true, Tree::Text("text".into())));
        assert_eq!(found[1], (false, Tree::Text("text".into())));
        assert_eq!(tree.get("escaped"), Some(&Tree::Text("text".into())));
        assert_eq!((tree.get("text"), Tree::Null.get("plain")), (None, None));
    }

    #[test]
    fn a_repeated_key_is_found_among_few_and_many() {
        for count in [1, 2, MEMBERS_FEW, MEMBERS_FEW + 1, MEMBERS_FEW + 2, 5 * MEMBERS_FEW] {
            let members: Vec<String> = (0..count).map(|index| format!("\"k{index}\": {index}")).collect();
            let expected: serde_json::Map<_, _> =
                (0..count).map(|index| (format!("k{index}"), json!(index))).collect();
            let whole = read(format!("{{{}}}", members.join(",")).as_bytes()).unwrap();
            assert_eq!(whole, Value::Object(expected));
            for again in [0, count / 2, count - 1] {
                let text = format!("{{{}, \"\\u006b{again}\": 0}}", members.join(","));
                let error = read(text.as_bytes()).unwrap_err();
                assert_eq!(error.message, format!("the key \"k{again}\" appears twice; keep one"), "{count}");
            }
        }
    }
}
