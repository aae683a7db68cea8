//! Files in the fake: inputs are kept as they are placed, and what a script leaves is there once it was started.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::behaviour::Left;
use super::{FakeRuntime, Operation};
use crate::files::Pattern;
use crate::files::pattern::names;
use crate::id::AttemptKey;
use crate::runtime::files::{Content, Piece, Pieces, Placed};
use crate::runtime::{Error, Result};

impl FakeRuntime {
    /// The inputs of an attempt as they were placed: each path, and what is there.
    pub fn placed(&self, key: AttemptKey) -> Vec<(String, Bytes)> {
        let engine = self.inner.engine.lock();
        let placed = engine.attempts.get(&key).map(|attempt| attempt.placed.clone());
        placed.unwrap_or_default().into_iter().collect()
    }

    pub(super) async fn put(&self, key: AttemptKey, files: &[Placed]) -> Result<()> {
        let mut placed = Vec::with_capacity(files.len());
        for file in files {
            let bytes = match &file.content {
                Content::Bytes(bytes) => bytes.clone(),
                Content::File { path, .. } => {
                    let read = tokio::fs::read(path).await;
                    Bytes::from(read.map_err(|error| Error::Transient { message: error.to_string() })?)
                }
            };
            placed.push((file.path.clone(), bytes));
        }
        self.operate(Operation::PutFiles, move |engine| {
            let Some(attempt) = engine.attempts.get_mut(&key) else {
                return Err(Error::Transient { message: format!("attempt {key} was not created") });
            };
            assert!(attempt.is_created(), "files are placed before the start, never after it");
            attempt.placed.extend(placed);
            engine.counts(key).puts += 1;
            Ok(())
        })
        .await
    }

    pub(super) async fn take(&self, key: AttemptKey, patterns: &[Pattern]) -> Result<Pieces> {
        let patterns = patterns.to_vec();
        let pieces = self.operate(Operation::TakeFiles, move |engine| {
            let Some(attempt) = engine.attempts.get(&key) else {
                return Err(Error::Transient { message: format!("attempt {key} is gone") });
            };
            let mut pieces = Vec::new();
            for (index, pattern) in patterns.iter().enumerate() {
                for (path, left) in &attempt.behaviour.leaves {
                    let means = names(path).is_ok_and(|parts| pattern.matches(&parts));
                    if !means || attempt.started_at().is_none() {
                        continue;
                    }
                    let bytes = match left {
                        Left::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
                        Left::Input(path) => attempt.placed.get(path).cloned().unwrap_or_default(),
                    };
                    let (path, length) = (path.clone(), bytes.len() as u64);
                    pieces.push(Ok(Piece::File { pattern: index, path, bytes: length }));
                    pieces.push(Ok(Piece::Data(bytes)));
                }
            }
            Ok(pieces)
        });
        Ok(stream::iter(pieces.await?).boxed())
    }
}
