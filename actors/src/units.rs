//! Durations and sizes as people write them: `"1m30s"` or seconds, `"256Mi"` or bytes.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema, schema};

/// A length of time, in whole milliseconds. Reads `"1h30m"`, `"250ms"`, `"7d"` or a number of seconds;
/// writes the shortest such text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// The text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write it like \"1m30s\" (units ms, s, m, h, d) or as a number of seconds")]
pub struct ParseSpanError(String);

const SPAN_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Span {
    /// `millis` milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// `secs` seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000))
    }

    /// The length in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The same as a standard duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseSpanError(text.chars().take(64).collect());
        let mut rest = text.trim();
        if let Ok(seconds) = rest.parse::<u64>() {
            return seconds.checked_mul(1_000).map(Self).ok_or_else(error);
        }
        let (mut total, mut previous) = (0u64, u64::MAX);
        if rest.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let (number, tail) = rest.split_at(digits);
            let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let scale = SPAN_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?.1;
            // Units go from large to small, each once: "1m1h" is a typing error.
            if scale >= previous {
                return Err(error());
            }
            previous = scale;
            let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(scale)).ok_or_else(error)?;
            total = total.checked_add(part).ok_or_else(error)?;
            rest = tail;
        }
        Ok(Self(total))
    }
}

impl Span {
    /// The shortest text. Without the machinery for formats, which was a fortieth of a submission: a spec has several.
    fn text(self) -> String {
        if self.0 == 0 {
            return "0s".to_owned();
        }
        let (mut text, mut rest) = (String::new(), self.0);
        for (unit, scale) in SPAN_UNITS {
            let count = rest / scale;
            if count > 0 {
                text.push_str(itoa::Buffer::new().format(count));
                text.push_str(unit);
                rest -= count * scale;
            }
        }
        text
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpanVisitor;
        impl Visitor<'_> for SpanVisitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"1m30s\" or a number of seconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, secs: u64) -> Result<Span, E> {
                secs.checked_mul(1_000).map(Span).ok_or_else(|| E::custom("duration is too long"))
            }

            fn visit_i64<E: de::Error>(self, secs: i64) -> Result<Span, E> {
                let secs = u64::try_from(secs).map_err(|_| E::custom("a duration cannot be negative"))?;
                self.visit_u64(secs)
            }

            fn visit_f64<E: de::Error>(self, secs: f64) -> Result<Span, E> {
                let duration = Duration::try_from_secs_f64(secs).map_err(E::custom)?;
                u64::try_from(duration.as_millis()).map(Span).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(SpanVisitor)
    }
}

impl utoipa::PartialSchema for Span {
    fn schema() -> RefOr<Schema> {
        let text = "a duration: text such as \"1m30s\" (units ms, s, m, h, d) or a number of seconds";
        text_or_number(text)
    }
}

impl utoipa::ToSchema for Span {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Duration")
    }
}

/// A number of bytes. Reads `"256Mi"`, `"1G"`, `"512k"` or a plain number; writes the shortest such text.
/// `Ki`/`Mi`/`Gi`/`Ti` are powers of 1024, `k`/`M`/`G`/`T` powers of 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// The text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a size; write it like \"256Mi\" (units k, M, G, T, Ki, Mi, Gi, Ti) or as a number of bytes"
)]
pub struct ParseSizeError(String);

const SIZE_UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl Size {
    /// `bytes` bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseSizeError(text.chars().take(64).collect());
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(split);
        let scale = match unit {
            "" | "B" => 1,
            unit => SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?.1,
        };
        number.parse::<u64>().ok().and_then(|n| n.checked_mul(scale)).map(Self).ok_or_else(error)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SIZE_UNITS.iter().find(|(_, scale)| self.0 > 0 && self.0.is_multiple_of(*scale));
        match unit {
            Some((name, scale)) => write!(f, "{}{name}", self.0 / scale),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"256Mi\" or a number of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::custom("a size cannot be negative"))
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

impl utoipa::PartialSchema for Size {
    fn schema() -> RefOr<Schema> {
        text_or_number("a size: text such as \"256Mi\" or a number of bytes")
    }
}

impl utoipa::ToSchema for Size {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Size")
    }
}

fn text_or_number(description: &str) -> RefOr<Schema> {
    let types = [schema::Type::String, schema::Type::Number];
    schema::ObjectBuilder::new()
        .schema_type(schema::SchemaType::from_iter(types))
        .description(Some(description))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_write() {
        let table = [
            ("1m30s", 90_000, "1m30s"),
            ("90", 90_000, "1m30s"),
            ("250ms", 250, "250ms"),
            ("7d", 604_800_000, "7d"),
        ];
        for (text, millis, shown) in table {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.as_millis(), span.to_string().as_str()), (millis, shown), "{text}");
        }
        for bad in ["", "m", "1x", "1m1h", "-1s", "1.5", "99999999999999999999s", "1s1s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        assert_eq!(serde_json::from_str::<Span>("1.5").unwrap().as_millis(), 1_500);
        assert!(serde_json::from_str::<Span>("-1").is_err());
    }

    #[test]
    fn sizes_read_and_write() {
        for (text, bytes, shown) in
            [("256Mi", 268_435_456, "256Mi"), ("1000", 1_000, "1k"), ("1023", 1_023, "1023")]
        {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.as_bytes(), size.to_string().as_str()), (bytes, shown), "{text}");
        }
        for bad in ["", "Mi", "1mb", "-1", "99999999999Ti"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }
}
