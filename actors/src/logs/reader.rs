//! Reading a log as a stream of lines: whole, its end, or for as long as it grows.

use std::future::Future;
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use super::cursor::Cursor;
use super::{Error, Result};
use crate::limits::LOG_FOLLOW_EVERY;
use crate::runtime::{LogLine, LogStream};

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the oldest line kept.
    #[default]
    Beginning,
    /// With the last so many lines.
    Last(usize),
}

/// Reads one log.
#[derive(Debug, Clone)]
pub struct LogReader {
    path: PathBuf,
    start: Start,
    only: Option<LogStream>,
}

impl LogReader {
    /// Reads the log at `path`, which need not exist yet, from its beginning and both streams.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), start: Start::default(), only: None }
    }

    /// Begins there.
    #[must_use]
    pub const fn from(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Reads one stream only, or both with `None`; counts too when the last lines are wanted.
    #[must_use]
    pub const fn only(mut self, stream: Option<LogStream>) -> Self {
        self.only = stream;
        self
    }

    /// The lines that are there.
    pub fn lines(self) -> BoxStream<'static, Result<LogLine>> {
        self.follow(std::future::ready(()))
    }

    /// The lines that are there and that come, until `over` resolves: the attempt is over and its output
    /// written. What was written before that moment is never missed.
    pub fn follow(
        self,
        over: impl Future<Output = ()> + Send + 'static,
    ) -> BoxStream<'static, Result<LogLine>> {
        let follow = Follow { reader: self, cursor: None, over: Some(over.boxed()) };
        stream::try_unfold(follow, Follow::next)
            .map_ok(|lines| stream::iter(lines.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }
}

struct Follow {
    reader: LogReader,
    cursor: Option<Cursor>,
    /// `None` once it has resolved: what is read from then on is the end.
    over: Option<BoxFuture<'static, ()>>,
}

impl Follow {
    async fn next(mut self) -> Result<Option<(Vec<LogLine>, Self)>> {
        loop {
            // Asked before the read, so that the read sees all that was written before the end.
            if let Some(over) = &mut self.over
                && over.now_or_never().is_some()
            {
                self.over = None;
            }
            let lines = self.read().await?;
            if !lines.is_empty() {
                return Ok(Some((lines, self)));
            }
            let Some(over) = &mut self.over else {
                return Ok(None);
            };
            // Resolving early is remembered: the future must not be polled again.
            if tokio::time::timeout(LOG_FOLLOW_EVERY, over).await.is_ok() {
                self.over = None;
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<LogLine>> {
        let (reader, cursor) = (self.reader.clone(), self.cursor.take());
        let path = self.reader.path.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut cursor = match cursor {
                Some(cursor) => cursor,
                None => Cursor::open(reader.path, reader.start, reader.only)?,
            };
            cursor.next_lines().map(|lines| (cursor, lines))
        });
        let (cursor, lines) = read.await.map_err(|_| shut_down(&path))?.map_err(Error::io("read", &path))?;
        self.cursor = Some(cursor);
        Ok(lines)
    }
}

/// The blocking read was given up, which only the end of its runtime does.
fn shut_down(path: &Path) -> Error {
    Error::io("read", path)(std::io::Error::other("the reader was shut down"))
}
