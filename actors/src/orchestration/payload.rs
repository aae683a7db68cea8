//! What code is given and what it returns: a JSON value, or the very text that somebody wrote.
//!
//! Rust code and the REST API give and take JSON values. Workers elsewhere serialise for themselves: what they wrote
//! comes back to them character for character, for a number of forty digits is one to them, and not every text is
//! JSON. Nothing here looks into such a text unless somebody wants to see it as a value.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;

/// The name under which a text is stored, as the only one of an object.
const TEXT: &str = "$text";

/// An input, an output, the data of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// A value; `null` is none.
    Json(Value),
    /// What somebody wrote, which most often is JSON.
    Text(String),
}

impl Payload {
    /// None at all.
    pub const NONE: Self = Self::Json(Value::Null);

    /// What somebody wrote, or none.
    pub fn of_text(text: Option<String>) -> Self {
        text.map_or(Self::NONE, Self::Text)
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// The text, or none.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Json(Value::Null) => None,
            Self::Json(value) => Some(Cow::Owned(value.to_string())),
            Self::Text(text) => Some(Cow::Borrowed(text)),
        }
    }

    /// The value: of a text that is no JSON the text itself.
    pub fn value(&self) -> Value {
        match self {
            Self::Json(value) => value.clone(),
            Self::Text(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
        }
    }

    /// The value, without a copy where it is one.
    pub fn into_value(self) -> Value {
        match self {
            Self::Json(value) => value,
            text @ Self::Text(_) => text.value(),
        }
    }

    /// Its length in bytes as text.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            json @ Self::Json(_) => json.text().map_or(0, |text| text.len()),
        }
    }

    /// Whether its text is empty, or there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::NONE
    }
}

impl<T: Into<Value>> From<T> for Payload {
    fn from(value: T) -> Self {
        Self::Json(value.into())
    }
}

impl PartialEq<Value> for Payload {
    fn eq(&self, other: &Value) -> bool {
        self.value() == *other
    }
}

/// Whether a value would be read as a text.
fn looks_like_text(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.len() == 1 && object.contains_key(TEXT))
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = match self {
            // The same value, written as a text that is this value.
            Self::Json(value) if looks_like_text(value) => Cow::Owned(value.to_string()),
            Self::Json(value) => return value.serialize(serializer),
            Self::Text(text) => Cow::Borrowed(text),
        };
        let mut object = serializer.serialize_map(Some(1))?;
        object.serialize_entry(TEXT, text.as_ref())?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        if looks_like_text(&value)
            && let Some(Value::String(text)) = value.get_mut(TEXT).map(Value::take)
        {
            return Ok(Self::Text(text));
        }
        Ok(Self::Json(value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn stored(payload: &Payload) -> Payload {
        serde_json::from_value(serde_json::to_value(payload).unwrap()).unwrap()
    }

    #[test]
    fn a_text_comes_back_as_it_was_written() {
        for text in
            ["", "null", "{\"a\": 1}", "123456789012345678901234567890", "blob:v1:x", "1e400", "\"ä\""]
        {
            let payload = Payload::of_text(Some(text.to_owned()));
            assert_eq!(stored(&payload).text().as_deref(), Some(text));
        }
        assert_eq!(stored(&Payload::NONE).text(), None);
    }

    #[test]
    fn a_text_is_seen_as_the_value_that_it_is() {
        assert_eq!(Payload::Text("{\"a\": [1]}".to_owned()).value(), json!({ "a": [1] }));
        assert_eq!(Payload::Text("no json".to_owned()).value(), json!("no json"));
    }

    #[test]
    fn a_value_that_looks_like_a_text_stays_the_value() {
        for value in [json!({ "$text": "x" }), json!({ "$text": 1 }), json!({ "$text": { "$text": "y" } })] {
            assert_eq!(stored(&Payload::Json(value.clone())).value(), value);
        }
    }

    proptest! {
        #[test]
        fn every_text_is_kept(text in ".*") {
            let payload = Payload::Text(text);
            prop_assert_eq!(stored(&payload), payload);
        }
    }
}
