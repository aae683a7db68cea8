//! What a client asks of arrays.

use std::time::Duration;

use dogwatch_actors::array::{ArrayId, ArrayView};
use dogwatch_actors::handle::Command;
use reqwest::Method;
use serde_json::Value;

use super::{Answer, Client, Result, verb, with_query};
use crate::limits::CLIENT_ANSWER_TIMEOUT;

impl Client {
    /// Submits an array: a spec with `array`. With a key it is safe to repeat.
    pub async fn submit_array(
        &self,
        spec: &Value,
        idempotency_key: Option<&str>,
    ) -> Result<Answer<ArrayView>> {
        self.post_spec(spec, idempotency_key).await
    }

    /// One array; with `wait` when it is over or after that time.
    pub async fn array(&self, id: ArrayId, wait: Option<Duration>) -> Result<Answer<ArrayView>> {
        let query = wait.map(|wait| ("wait", format!("{}ms", wait.as_millis())));
        let path = with_query(&format!("/v1/arrays/{id}"), query);
        let patience = CLIENT_ANSWER_TIMEOUT.saturating_add(wait.unwrap_or_default());
        self.ask(self.request(Method::GET, &path).timeout(patience)).await
    }

    /// Commands an array. There is no such route for a command that only jobs know.
    pub async fn command_array(&self, id: ArrayId, command: Command) -> Result<Answer<ArrayView>> {
        let path = format!("/v1/arrays/{id}/{}", verb(command));
        self.ask(self.request(Method::POST, &path)).await
    }

    /// Deletes an array that is over, with its children.
    pub async fn purge_array(&self, id: ArrayId) -> Result<()> {
        let answer = self.send(self.request(Method::DELETE, &format!("/v1/arrays/{id}"))).await?;
        self.text(answer).await.map(drop)
    }
}
