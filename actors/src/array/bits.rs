//! A set of indexes as bits: whatever is in it, it costs an eighth of a byte for each child. Pure.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of indexes. Stored as hexadecimal digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bits(Vec<u8>);

impl Bits {
    /// Whether `index` is in it.
    pub fn contains(&self, index: u32) -> bool {
        let (byte, bit) = place(index);
        self.0.get(byte).is_some_and(|bits| bits & bit != 0)
    }

    /// Adds `index`; tells whether it was not in.
    pub fn insert(&mut self, index: u32) -> bool {
        let (byte, bit) = place(index);
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        let is_new = self.0[byte] & bit == 0;
        self.0[byte] |= bit;
        is_new
    }

    /// Takes `index` out; tells whether it was in.
    pub fn remove(&mut self, index: u32) -> bool {
        let (byte, bit) = place(index);
        let was_in = self.contains(index);
        if was_in {
            self.0[byte] &= !bit;
            while self.0.last() == Some(&0) {
                self.0.pop();
            }
        }
        was_in
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own |= other;
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|bits| bits.count_ones()).sum()
    }

    /// The smallest.
    pub fn first(&self) -> Option<u32> {
        let byte = self.0.iter().position(|bits| *bits != 0)?;
        Some(u32::try_from(byte).ok()? * 8 + self.0[byte].trailing_zeros())
    }

    /// As ranges such as `0-3,7`, at most so many; the rest is `…`.
    pub fn ranges(&self, most: usize) -> String {
        let end = u32::try_from(self.0.len() * 8).unwrap_or(u32::MAX);
        let (mut parts, mut next) = (Vec::new(), 0);
        while let Some(first) = (next..end).find(|index| self.contains(*index)) {
            if parts.len() == most {
                parts.push("…".to_owned());
                break;
            }
            let last = (first..end).find(|index| !self.contains(index + 1)).unwrap_or(first);
            parts.push(if first == last { first.to_string() } else { format!("{first}-{last}") });
            next = last + 1;
        }
        parts.join(",")
    }
}

fn place(index: u32) -> (usize, u8) {
    (usize::try_from(index / 8).unwrap_or(usize::MAX), 1 << (index % 8))
}

impl Serialize for Bits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("a set of indexes is written in hexadecimal digits");
        let pairs = text.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2);
            pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or_else(wrong)
        });
        pairs.collect::<Result<Vec<u8>, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(changes in proptest::collection::vec((any::<bool>(), 0_u32..70), 0..120)) {
            let (mut set, mut model) = (Bits::default(), BTreeSet::new());
            for (adds, index) in changes {
                match adds {
                    true => prop_assert_eq!(set.insert(index), model.insert(index)),
                    false => prop_assert_eq!(set.remove(index), model.remove(&index)),
                }
                prop_assert_eq!(set.len() as usize, model.len());
                prop_assert_eq!(set.first(), model.first().copied());
                prop_assert_eq!(set.is_empty(), model.is_empty());
                let text = serde_json::to_string(&set).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Bits>(&text).unwrap(), &set);
            }
        }
    }

    #[test]
    fn it_is_shown_as_ranges_and_costs_what_its_size_costs() {
        let mut set = Bits::default();
        assert!([0, 1, 2, 7, 9, 10].into_iter().all(|index| set.insert(index)));
        assert_eq!((set.ranges(9), set.ranges(2)), ("0-2,7,9-10".to_owned(), "0-2,7,…".to_owned()));
        for index in (0..10_000).step_by(2) {
            set.insert(index);
        }
        assert!(serde_json::to_string(&set).unwrap().len() <= 2_502);
        let mut other = Bits::default();
        other.insert(10_001);
        other.extend(&set);
        assert_eq!(other.len(), set.len() + 1);
        assert!(
            serde_json::from_str::<Bits>("\"0\"").is_err() && serde_json::from_str::<Bits>("\"zz\"").is_err()
        );
    }
}
