//! Where artifacts are kept: objects of a bucket, named `<job>/<attempt>/<name>`.
//!
//! Not responsible for: which there are (their job says) and when they go.
//!
//! Invariants: names are made of typed ids and escaped parts, so that no artifact is outside the place of its job; an
//! object is there whole or not at all.

use std::io;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::buffered::BufWriter;
use object_store::{GetOptions, GetRange};
use tokio::io::AsyncWriteExt as _;

use crate::bucket::{Bucket, ObjectPath};
use crate::id::{AttemptKey, JobId};
use crate::limits::BUCKET_PART_BYTES;

/// What can go wrong with an artifact.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none of that name.
    #[error("there is no such artifact in the store; it may have been removed there")]
    Missing,
    /// The store refused or cannot be reached.
    #[error("the artifact store `{store}` failed: {message}; check its configuration and see the log")]
    Failed {
        /// Its name.
        store: String,
        /// What it said.
        message: String,
    },
}

/// The result of an operation on artifacts.
pub type Result<T> = std::result::Result<T, Error>;

/// Where artifacts are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ArtifactStore {
    bucket: Bucket,
}

/// An artifact that is being written. Dropped before its end, it never was.
pub(super) struct Writing<'a> {
    store: &'a ArtifactStore,
    writer: BufWriter,
}

impl ArtifactStore {
    /// In this bucket.
    pub const fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }

    /// Begins to write an artifact, over one of the same name.
    pub(super) fn write(&self, key: AttemptKey, name: &str) -> Writing<'_> {
        let path = self.path(key, name);
        let writer =
            BufWriter::with_capacity(std::sync::Arc::clone(self.bucket.store()), path, BUCKET_PART_BYTES);
        Writing { store: self, writer: writer.with_max_concurrency(2) }
    }

    /// The bytes of an artifact, or some of them.
    pub async fn read(
        &self,
        key: AttemptKey,
        name: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let found = self.bucket.store();
        let path = self.path(key, name);
        let found = object_store::ObjectStore::get_opts(found.as_ref(), &path, options).await;
        let (stream, this) = (found.map_err(|error| self.failed(&error))?.into_stream(), self.clone());
        Ok(stream.map_err(move |error| this.failed(&error)).boxed())
    }

    /// Removes what was collected of an attempt; nothing is no error.
    pub async fn remove_attempt(&self, key: AttemptKey) -> Result<()> {
        self.remove(&[&key.job.to_string(), &key.number.to_string()]).await
    }

    /// Removes everything of a job; nothing is no error.
    pub async fn remove_job(&self, job: JobId) -> Result<()> {
        self.remove(&[&job.to_string()]).await
    }

    async fn remove(&self, parts: &[&str]) -> Result<()> {
        if let Some(directory) = self.bucket.directory() {
            // With what a death in the middle of a write left, which no list shows.
            let directory = parts.iter().fold(directory.to_owned(), |path, part| path.join(part));
            let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(directory));
            return match removed.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.io(&error)),
                _ => Ok(()),
            };
        }
        let prefix = self.bucket.path(parts.iter().copied());
        let store = self.bucket.store();
        let found = store.list(Some(&prefix)).map_ok(|object| object.location).boxed();
        store.delete_stream(found).try_for_each(async |_| Ok(())).await.map_err(|error| self.failed(&error))
    }

    fn path(&self, key: AttemptKey, name: &str) -> ObjectPath {
        let (job, number) = (key.job.to_string(), key.number.to_string());
        let parts = [job.as_str(), number.as_str()].into_iter();
        self.bucket.path(parts.chain(name.split('/')))
    }

    fn failed(&self, error: &object_store::Error) -> Error {
        match error {
            object_store::Error::NotFound { .. } => Error::Missing,
            error => Error::Failed { store: self.bucket.name().to_owned(), message: error.to_string() },
        }
    }

    fn io(&self, error: &io::Error) -> Error {
        Error::Failed { store: self.bucket.name().to_owned(), message: error.to_string() }
    }
}

impl Writing<'_> {
    /// Adds bytes.
    pub(super) async fn add(&mut self, bytes: Bytes) -> Result<()> {
        self.writer.put(bytes).await.map_err(|error| self.store.failed(&error))
    }

    /// It is whole, and there once this returns.
    pub(super) async fn finish(mut self) -> Result<()> {
        self.writer.shutdown().await.map_err(|error| self.store.io(&error))
    }

    /// It is not wanted after all.
    pub(super) async fn abort(mut self) {
        // A part that stays behind is the bucket's own to clear away, as after a death of ours.
        const ABORT_MAX: Duration = Duration::from_secs(10);
        drop(tokio::time::timeout(ABORT_MAX, self.writer.abort()).await);
    }
}
