//! The name of a pool, which is its identity.

use crate::name::name;

name! {
    /// The name of a pool.
    PoolId, ParsePoolIdError, "pool"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::MachineId as _;
    use crate::limits::NAME_CHARS_MAX;

    #[test]
    fn only_safe_texts_are_names_and_they_are_found_in_rows() {
        let longest = "x".repeat(NAME_CHARS_MAX);
        for good in ["a", "thumbnails-2", "0", longest.as_str()] {
            let id: PoolId = good.parse().unwrap();
            assert_eq!((id.as_str(), PoolId::from_key(&id.to_key())), (good, Some(id)));
            assert_eq!(PoolId::at_front(&[id.to_key(), b"/\x01x".to_vec()].concat()), Some(id));
            assert_eq!(PoolId::at_end(&[b"x/\x00".to_vec(), id.to_key()].concat()), Some(id));
            assert_eq!(serde_json::from_str::<PoolId>(&format!("\"{good}\"")).unwrap(), id);
        }
        let long = "x".repeat(NAME_CHARS_MAX + 1);
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "a_b", "ä", "a\0", long.as_str()] {
            assert!(bad.parse::<PoolId>().is_err(), "{bad:?}");
        }
    }
}
