//! Who may use the API: everybody who has one of the keys.
//!
//! Not responsible for which routes need a key: the route table says so. Keys are kept as SHA-256 only and
//! compared in constant time, all of them, whichever fits.

use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use dogwatch_actors::secret::Secret;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::problem::{Code, Problem};
use crate::limits::{API_KEY_BYTES_MAX, API_KEY_BYTES_MIN};

/// A key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an API key has {length} bytes; use {} to {} visible ASCII characters without spaces, chosen at random",
    API_KEY_BYTES_MIN,
    API_KEY_BYTES_MAX
)]
pub struct UnusableKey {
    length: usize,
}

/// How requests are let in.
#[derive(Debug, Clone)]
pub struct Auth(Policy);

#[derive(Clone)]
enum Policy {
    Open,
    Keys(Arc<[[u8; 32]]>),
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::Keys(keys) => write!(f, "{} keys", keys.len()),
        }
    }
}

impl Auth {
    /// Requests need one of these keys as `Authorization: Bearer <key>`. With no key at all nobody gets in.
    pub fn keys<'a>(keys: impl IntoIterator<Item = &'a Secret>) -> Result<Self, UnusableKey> {
        let digest = |key: &Secret| {
            let bytes = key.expose().as_bytes();
            let usable = (API_KEY_BYTES_MIN..=API_KEY_BYTES_MAX).contains(&bytes.len())
                && bytes.iter().all(u8::is_ascii_graphic);
            usable.then(|| Sha256::digest(bytes).into()).ok_or(UnusableKey { length: bytes.len() })
        };
        keys.into_iter().map(digest).collect::<Result<_, _>>().map(|keys| Self(Policy::Keys(keys)))
    }

    /// Every request is let in: for applications that guard the scope themselves.
    pub const fn none() -> Self {
        Self(Policy::Open)
    }

    /// Lets a request with these headers in, or says why not.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let mut all = headers.get_all(AUTHORIZATION);
        let value = all.next().filter(|_| all.next().is_none());
        self.check_bearer(value.and_then(|value| value.to_str().ok()))
    }

    /// Lets a request in whose one `Authorization` is this, or says why not.
    pub(crate) fn check_bearer(&self, authorization: Option<&str>) -> Result<(), Problem> {
        if matches!(self.0, Policy::Open) {
            return Ok(());
        }
        let Some(presented) = authorization.and_then(bearer_in) else {
            let detail = "send the API key as `Authorization: Bearer <key>`; the first start wrote one to \
                          root.key in the data directory";
            return Err(Problem::new(Code::Unauthorized, detail));
        };
        self.check_key(presented)
    }

    /// Lets a request in that presented this key, wherever it did.
    pub(crate) fn check_key(&self, presented: &str) -> Result<(), Problem> {
        let Policy::Keys(keys) = &self.0 else { return Ok(()) };
        let digest: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let fits = keys.iter().fold(Choice::from(0), |fits, key| fits | key.ct_eq(&digest));
        if fits.into() {
            Ok(())
        } else {
            Err(Problem::new(Code::Unauthorized, "this API key is not one of this server's keys"))
        }
    }
}

/// The bearer token in the one `Authorization` header, when there is one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION);
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    bearer_in(value.to_str().ok()?)
}

fn bearer_in(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let token = token.trim_matches(' ');
    let good = scheme.eq_ignore_ascii_case("bearer") && (1..=API_KEY_BYTES_MAX).contains(&token.len());
    good.then_some(token)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_the_right_key_gets_in() {
        let (first, second) = ("a".repeat(32), "b".repeat(40));
        let auth = Auth::keys([&Secret::new(&*first), &Secret::new(&*second)]).unwrap();
        for good in [format!("Bearer {first}"), format!("bearer {second}"), format!("Bearer  {second}")] {
            assert_eq!(auth.check(&headers(&[&good])), Ok(()), "{good}");
        }
        let long = format!("Bearer {}", "a".repeat(600));
        for bad in ["", "Bearer", "Bearer ", "Basic YTph", &format!("Bearer {first}x"), &first, &long] {
            assert!(auth.check(&headers(&[bad])).is_err(), "{bad}");
        }
        assert!(auth.check(&headers(&[])).is_err());
        let good = format!("Bearer {first}");
        assert!(auth.check(&headers(&[&good, &good])).is_err(), "two headers are ambiguous");
    }

    #[test]
    fn without_keys_nobody_gets_in_and_with_none_everybody() {
        let key = format!("Bearer {}", "a".repeat(32));
        assert!(Auth::keys([]).unwrap().check(&headers(&[&key])).is_err());
        assert_eq!(Auth::none().check(&headers(&[])), Ok(()));
    }

    #[test]
    fn a_weak_key_is_not_accepted_and_none_is_shown() {
        for bad in ["", "short", &"é".repeat(20), &format!("{} {}", "a".repeat(20), "b".repeat(20))] {
            assert!(Auth::keys([&Secret::new(bad)]).is_err(), "{bad}");
        }
        let auth = Auth::keys([&Secret::new("k".repeat(32))]).unwrap();
        assert!(!format!("{auth:?}").contains("kkk"));
    }
}
