//! Requests about queues and pools: what they answer is shown, and only looked into where it is shown in short.

use std::time::Duration;

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Answer, Client, Error, Result, escape};
use crate::limits::CLIENT_ANSWER_TIMEOUT;

impl Client {
    /// Asks for something under `/v1`; each of `segments` is escaped. No answer reads as `null`.
    pub async fn about<T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<&Value>,
        held_back: Duration,
    ) -> Result<Answer<T>> {
        let path = segments.iter().map(|segment| escape(segment)).collect::<Vec<_>>().join("/");
        let mut request = self.request(method, &format!("/v1/{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.send(request.timeout(CLIENT_ANSWER_TIMEOUT.saturating_add(held_back))).await?;
        let raw = self.text(answer).await?;
        let read = if raw.is_empty() { "null" } else { &raw };
        let value = serde_json::from_str(read)
            .map_err(|source| Error::Unreadable { url: self.url().to_owned(), source })?;
        Ok(Answer { value, raw })
    }

    /// Deletes a queue; with `force` also one that holds messages.
    pub async fn delete_queue(&self, name: &str, force: bool) -> Result<String> {
        let path = format!("/v1/queues/{}?force={force}", escape(name));
        let answer = self.send(self.request(Method::DELETE, &path)).await?;
        self.text(answer).await
    }
}
