//! Requests about what a job left.

use bytes::Bytes;
use dogwatch_actors::id::JobId;
use futures_util::stream::BoxStream;
use reqwest::Method;

use super::{Answer, Client, Result, escape, with_query};
use crate::api::ArtifactList;

impl Client {
    /// The artifacts of a job, or of one attempt.
    pub async fn artifacts(&self, id: JobId, attempt: Option<u32>) -> Result<Answer<ArtifactList>> {
        let query = attempt.map(|attempt| ("attempt", attempt.to_string()));
        let path = with_query(&format!("/v1/jobs/{id}/artifacts"), query);
        self.ask(self.request(Method::GET, &path)).await
    }

    /// The content of an artifact.
    pub async fn artifact(
        &self,
        id: JobId,
        name: &str,
        attempt: u32,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let name = name.split('/').map(escape).collect::<Vec<_>>().join("/");
        let path = format!("/v1/jobs/{id}/artifacts/{name}");
        let path = with_query(&path, [("attempt", attempt.to_string())]);
        self.stream(self.open(Method::GET, &path)).await
    }
}
