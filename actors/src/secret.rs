//! Secrets: values that are used and never shown.
//!
//! A [`Secret`] prints as `[redacted]` and serialises as `null`, so that no log line, event, answer or
//! stored record can carry one by accident. What must survive a restart is put into a [`Sealed`] blob by the
//! installation's [`Keyring`] (XChaCha20-Poly1305, draft-irtf-cfrg-xchacha) and opened again only to start an
//! attempt or sign a webhook. The keyring also derives the callback tokens, so that none is ever stored.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize, Serializer};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::id::{AttemptKey, Ids, JobId};

/// A text that is never shown. Deserialises from a string (or from the `null` that it serialises as, which
/// leaves it empty until it is unlocked).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Every call is a place where the secret leaves its cover.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<String>::deserialize(deserializer).map(|text| Self(text.unwrap_or_default()))
    }
}

impl utoipa::PartialSchema for Secret {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .write_only(true)
            .description(Some("write-only: never returned, logged or labelled"))
            .into()
    }
}

impl utoipa::ToSchema for Secret {}

/// What the token of a pool's worker begins with.
pub const WORKER_TOKEN: &str = "dww_";

/// Encrypted secrets, base64 of nonce and ciphertext. Safe to store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(String);

/// The blob cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "stored secrets cannot be opened with this installation's key; restore the key file that belongs to the data directory"
)]
pub struct OpenError;

/// The installation's 256-bit key and what is made with it.
#[derive(Clone)]
pub struct Keyring {
    cipher: XChaCha20Poly1305,
    key: [u8; 32],
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring([redacted])")
    }
}

impl Keyring {
    /// A keyring over this key.
    pub fn new(key: [u8; 32]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(&Key::from(key)), key }
    }

    /// The key itself. Every call is a place where it leaves its cover.
    pub(crate) const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Encrypts `secrets`, bound to `job` so that a blob moved to another job does not open.
    pub fn seal(&self, job: JobId, secrets: &BTreeMap<String, Secret>, ids: &dyn Ids) -> Sealed {
        let plain: BTreeMap<&str, &str> =
            secrets.iter().map(|(name, secret)| (name.as_str(), secret.expose())).collect();
        let plain = serde_json::to_vec(&plain).expect("a map of strings is JSON");
        let mut nonce = [0u8; 24];
        ids.random(&mut nonce);
        let payload = Payload { msg: &plain, aad: job.as_bytes() };
        let cipher =
            self.cipher.encrypt(&XNonce::from(nonce), payload).expect("the plaintext is far below the limit");
        let mut blob = nonce.to_vec();
        blob.extend_from_slice(&cipher);
        Sealed(STANDARD.encode(blob))
    }

    /// Decrypts what [`Keyring::seal`] made for the same job.
    pub fn open(&self, job: JobId, sealed: &Sealed) -> Result<BTreeMap<String, Secret>, OpenError> {
        let blob = STANDARD.decode(&sealed.0).map_err(|_| OpenError)?;
        let (nonce, cipher) = blob.split_at_checked(24).ok_or(OpenError)?;
        let nonce: [u8; 24] = nonce.try_into().map_err(|_| OpenError)?;
        let payload = Payload { msg: cipher, aad: job.as_bytes() };
        let plain = self.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| OpenError)?;
        let plain: BTreeMap<String, String> = serde_json::from_slice(&plain).map_err(|_| OpenError)?;
        Ok(plain.into_iter().map(|(name, text)| (name, Secret(text))).collect())
    }

    /// The callback token of one attempt: a keyed hash of its key, so that it can be given to the attempt
    /// again after a crash and checked without being stored anywhere, not even hashed.
    pub fn callback_token(&self, key: AttemptKey) -> Secret {
        let mut message = key.job.as_bytes().to_vec();
        message.extend_from_slice(&key.number.to_be_bytes());
        Secret(format!("dwc_{}", URL_SAFE_NO_PAD.encode(self.digest("callback-token", &message))))
    }

    /// Whether `presented` is the token of this attempt; compared in constant time.
    pub fn is_callback_token(&self, key: AttemptKey, presented: &str) -> bool {
        let token = self.callback_token(key);
        token.expose().as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// The token of the worker of one attempt of a pool's instance. It names both, so that whoever checks it needs to
    /// look nothing up before he knows that it is genuine.
    pub fn worker_token(&self, pool: &str, key: AttemptKey) -> Secret {
        let mut message = key.job.as_bytes().to_vec();
        message.extend_from_slice(&key.number.to_be_bytes());
        message.extend_from_slice(pool.as_bytes());
        let mac = URL_SAFE_NO_PAD.encode(self.digest("worker-token", &message));
        Secret(format!("{WORKER_TOKEN}{pool}.{}.{}.{mac}", key.job, key.number))
    }

    /// The pool and the attempt whose worker's token this is; compared in constant time. `None` when it is none.
    pub fn read_worker_token<'a>(&self, presented: &'a str) -> Option<(&'a str, AttemptKey)> {
        let mut parts = presented.strip_prefix(WORKER_TOKEN)?.split('.');
        let (pool, job, number) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let key = AttemptKey::new(job, number);
        let token = self.worker_token(pool, key);
        let is_genuine: bool = token.expose().as_bytes().ct_eq(presented.as_bytes()).into();
        is_genuine.then_some((pool, key))
    }

    /// A keyed hash of `message` for `purpose`: what may be stored of a text that may hold secrets.
    pub fn digest(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key).expect("any length of key will do");
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::RandomIds;

    fn job() -> JobId {
        RandomIds.job_id(Timestamp::from_millis(1))
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "null");
    }

    #[test]
    fn sealed_secrets_open_only_for_their_job_and_key() {
        let (keyring, job) = (Keyring::new([7; 32]), job());
        let secrets = BTreeMap::from([("TOKEN".to_owned(), Secret::new("hunter2"))]);
        let sealed = keyring.seal(job, &secrets, &RandomIds);
        assert!(!serde_json::to_string(&sealed).unwrap().contains("hunter2"));
        assert_eq!(keyring.open(job, &sealed), Ok(secrets));
        assert_eq!(keyring.open(self::job(), &sealed), Err(OpenError));
        assert_eq!(Keyring::new([8; 32]).open(job, &sealed), Err(OpenError));
    }

    #[test]
    fn a_token_is_good_for_one_attempt_only() {
        let (keyring, job) = (Keyring::new([7; 32]), job());
        let (first, second) = (AttemptKey::new(job, 1), AttemptKey::new(job, 2));
        let token = keyring.callback_token(first);
        assert!(keyring.is_callback_token(first, token.expose()));
        assert!(!keyring.is_callback_token(second, token.expose()));
        assert!(!keyring.is_callback_token(first, &token.expose()[1..]));
        assert!(!Keyring::new([8; 32]).is_callback_token(first, token.expose()));
    }

    #[test]
    fn a_workers_token_names_its_pool_and_attempt_and_cannot_be_changed() {
        let (keyring, key) = (Keyring::new([7; 32]), AttemptKey::new(job(), 1));
        let token = keyring.worker_token("resize", key).expose().to_owned();
        assert_eq!(keyring.read_worker_token(&token), Some(("resize", key)));
        let other = AttemptKey::new(key.job, 2);
        let changed = [
            token.replace("resize", "crop"),
            token.replace(".1.", ".2."),
            token.replace(".1.", ".01."),
            token[..token.len() - 1].to_owned(),
            format!("{token}."),
            token.replace("dww_", "dwc_"),
            keyring.callback_token(key).expose().to_owned(),
            String::new(),
        ];
        for changed in changed {
            assert_eq!(keyring.read_worker_token(&changed), None, "{changed}");
        }
        assert_ne!(keyring.worker_token("resize", other).expose(), token);
        assert_eq!(Keyring::new([8; 32]).read_worker_token(&token), None);
    }
}
