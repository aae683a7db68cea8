//! A job's side of its callbacks: what a job of our own uses instead of `curl`.
//!
//! Not responsible for: whether a call that was not heard is made again.

use dogwatch_actors::secret::Secret;
use serde_json::Value;

use super::{Error, Result};
use crate::limits::CLIENT_CONNECT_TIMEOUT;

/// Makes the callbacks of one attempt.
#[derive(Debug)]
pub struct CallbackCaller {
    http: reqwest::Client,
    url: String,
    token: Secret,
}

impl CallbackCaller {
    /// A caller with the address and the token that the attempt found in its environment.
    pub fn new(url: String, token: Secret) -> Result<Self> {
        super::install_tls();
        let http = reqwest::Client::builder()
            .no_proxy()
            // The callback address is plain http, and the image has no certificates to trust.
            .tls_certs_only([])
            .timeout(CLIENT_CONNECT_TIMEOUT)
            .build();
        match http {
            Ok(http) => Ok(Self { http, url, token }),
            Err(error) => Err(Error::BadUrl { url, message: error.to_string() }),
        }
    }

    /// Makes a callback; tells whether it was heard.
    pub async fn call(&self, body: &Value) -> bool {
        let request = self.http.post(&self.url).bearer_auth(self.token.expose()).json(body);
        request.send().await.is_ok_and(|answer| answer.status().is_success())
    }
}
