//! What a client asks of triggers: their items, and calling one with its token instead of a key.

use dogwatch_actors::handle::triggers::{Called, ItemPage};
use dogwatch_actors::secret::Secret;
use reqwest::Method;

use super::{Answer, Client, Result, escape, with_query};

impl Client {
    /// Items of a trigger.
    pub async fn trigger_items(
        &self,
        name: &str,
        state: Option<&str>,
        after: Option<u64>,
    ) -> Result<Answer<ItemPage>> {
        let pairs = (state.iter().map(|state| ("state", (*state).to_owned())))
            .chain(after.map(|after| ("after", after.to_string())));
        let path = format!("/v1/triggers/{}/items", escape(name));
        self.ask(self.request(Method::GET, &with_query(&path, pairs))).await
    }

    /// Calls a trigger with its token.
    pub async fn call_trigger(
        &self,
        name: &str,
        token: Secret,
        key: Option<&str>,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Answer<Called>> {
        let caller = Self { key: Some(token), ..self.clone() };
        let mut request = caller.request(Method::POST, &format!("/v1/triggers/{}", escape(name)));
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        caller.ask(request.header("Content-Type", content_type).body(body)).await
    }
}
