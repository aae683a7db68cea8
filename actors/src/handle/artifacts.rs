//! What the attempts of a job left.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::{Error, Handle, Result};
use crate::files::{ArtifactView, store};
use crate::id::{AttemptKey, JobId};

impl Handle {
    /// All artifacts of a job, or those of one attempt: the newest attempt's first, each attempt's by their names.
    pub fn artifacts(&self, id: JobId, attempt: Option<u32>) -> Result<Vec<ArtifactView>> {
        let job = self.state(id)?;
        if let Some(number) = attempt.filter(|number| *number == 0 || *number > job.attempt) {
            return Err(Error::NoAttempt(AttemptKey::new(id, number)));
        }
        let wanted = job.attempts.iter().rev();
        let wanted = wanted.filter(|record| attempt.is_none_or(|number| number == record.number));
        let mut all = Vec::new();
        for record in wanted {
            let from = all.len();
            all.extend(record.artifacts.iter().map(|artifact| ArtifactView::of(artifact, record.number)));
            all[from..].sort_by(|one: &ArtifactView, other| one.name.cmp(&other.name));
        }
        Ok(all)
    }

    /// One artifact: of this attempt, or of the newest that has one of this name.
    pub fn artifact(&self, id: JobId, name: &str, attempt: Option<u32>) -> Result<ArtifactView> {
        let job = self.state(id)?;
        let found = job.artifact(name, attempt);
        let (number, artifact) = found.ok_or_else(|| Error::NoArtifact { job: id, name: name.to_owned() })?;
        Ok(ArtifactView::of(artifact, number))
    }

    /// The bytes of an artifact, or some of them.
    pub async fn read_artifact(
        &self,
        id: JobId,
        artifact: &ArtifactView,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let key = AttemptKey::new(id, artifact.attempt);
        let opened = self.inner().artifacts.read(key, &artifact.name, range).await;
        let stream = opened.map_err(|error| match error {
            store::Error::Missing => Error::NoArtifact { job: id, name: artifact.name.clone() },
            error => error.into(),
        })?;
        Ok(stream.map_err(Error::from).boxed())
    }
}
