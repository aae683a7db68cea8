//! Signatures of webhooks, as Standard Webhooks 1.0 defines them (symmetric, `v1`).
//!
//! Responsible for: what a secret looks like and what is signed with it. Not responsible for sending.
//! Pure.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::Secret;

/// What every secret begins with.
const PREFIX: &str = "whsec_";

/// The shortest and the longest key in bytes that the specification allows.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The text is no signing secret. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signing secret is not valid; write whsec_ and then 24 to 64 random bytes in base64")]
pub struct InvalidSecret;

/// A key that signs webhooks.
#[derive(Clone)]
pub struct SigningKey(Vec<u8>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([redacted])")
    }
}

impl SigningKey {
    /// Reads a secret of the form `whsec_<base64 of 24 to 64 bytes>`.
    pub fn new(secret: &Secret) -> Result<Self, InvalidSecret> {
        let encoded = secret.expose().strip_prefix(PREFIX).ok_or(InvalidSecret)?;
        let key = STANDARD.decode(encoded).map_err(|_| InvalidSecret)?;
        if KEY_BYTES.contains(&key.len()) { Ok(Self(key)) } else { Err(InvalidSecret) }
    }

    /// The value of the `webhook-signature` header for a message with this `webhook-id` and
    /// `webhook-timestamp` (seconds since the Unix epoch).
    pub fn sign(&self, id: &str, unix_secs: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any length of key will do");
        mac.update(format!("{id}.{unix_secs}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// Whether `text` can sign webhooks.
pub fn is_secret(text: &str) -> bool {
    SigningKey::new(&Secret::new(text)).is_ok()
}

/// Whether `id` may be a `webhook-id`: visible ASCII without the full stop, which separates what is signed.
pub fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn signed(secret: &str, id: &str, unix_secs: i64, body: &[u8]) -> String {
        SigningKey::new(&Secret::new(secret)).unwrap().sign(id, unix_secs, body)
    }

    #[test]
    fn the_published_example_is_signed_as_published() {
        assert_eq!(
            signed(SECRET, ID, 1_614_265_330, BODY),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn every_signed_part_changes_the_signature() {
        let first = signed(SECRET, ID, 1_614_265_330, BODY);
        assert_ne!(first, signed("whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ID, 1_614_265_330, BODY));
        assert_ne!(first, signed(SECRET, "msg_other", 1_614_265_330, BODY));
        assert_ne!(first, signed(SECRET, ID, 1_614_265_331, BODY));
        assert_ne!(first, signed(SECRET, ID, 1_614_265_330, b"{}"));
    }

    #[test]
    fn a_secret_is_a_prefix_and_24_to_64_bytes_in_base64() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (bytes, good) in [(0, false), (23, false), (24, true), (32, true), (64, true), (65, false)] {
            assert_eq!(is_secret(&of(bytes)), good, "{bytes} bytes");
        }
        assert!(is_secret(SECRET));
        for bad in
            ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
        {
            assert!(!is_secret(bad), "{bad}");
        }
        assert!(!is_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa!w"));
        assert!(!is_secret(&format!("{SECRET} ")));
    }

    #[test]
    fn an_id_is_visible_ascii_without_the_separator() {
        assert!(is_id(ID) && is_id("01939f6e-2d5c-7a00/3"));
        for bad in ["", "a.b", "a b", "a\r\nx: y", "ü"] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn neither_key_nor_error_shows_the_secret() {
        let key = SigningKey::new(&Secret::new(SECRET)).unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey([redacted])");
        let error = SigningKey::new(&Secret::new("hunter2")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
