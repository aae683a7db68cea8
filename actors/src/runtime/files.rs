//! Files of attempts, as runtimes take and give them: never whole in memory, never more at once than a few chunks.
//!
//! Not responsible for: which files, where their content comes from or goes.

use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Error, Result, StartFault};
use crate::limits::{FILE_CHUNK_BYTES, FILE_CHUNKS_QUEUED_MAX};

/// A file that is to be put where an attempt finds it.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Where: absolute, or relative to where the attempt starts.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Debug, Clone)]
pub enum Content {
    /// This.
    Bytes(Bytes),
    /// What is in a file of ours.
    File {
        /// Which.
        path: PathBuf,
        /// How long it is.
        bytes: u64,
    },
}

/// A part of the files of an attempt: the beginning of one, then its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A file begins, and the one before it is over.
    File {
        /// Which of the patterns found it.
        pattern: usize,
        /// Where it is, in the form of that pattern: absolute, or relative to where the attempt started.
        path: String,
        /// How long it is.
        bytes: u64,
    },
    /// The next bytes of it.
    Data(Bytes),
}

/// The files that were asked for, one after the other.
pub type Pieces = BoxStream<'static, Result<Piece>>;

/// What a runtime without files answers.
pub(super) fn none_here(runtime: &str) -> Error {
    let message = format!("the runtime `{runtime}` takes and gives no files; remove `inputs` and `outputs`");
    Error::Start { fault: StartFault::Rejected, message }
}

/// The pieces that blocking `work` gives. It ends early when nobody takes them any more.
#[cfg(any(feature = "docker", feature = "process"))]
pub(super) fn given_by(work: impl FnOnce(&Outlet) -> Result<()> + Send + 'static) -> Pieces {
    let (sender, receiver) = mpsc::channel(FILE_CHUNKS_QUEUED_MAX);
    tokio::task::spawn_blocking(move || {
        let outlet = Outlet(sender);
        if let Err(error) = work(&outlet) {
            // Nobody listening is fine.
            drop(outlet.0.blocking_send(Err(error)));
        }
    });
    ReceiverStream::new(receiver).boxed()
}

/// Where pieces are given to.
#[derive(Debug)]
pub(super) struct Outlet(mpsc::Sender<Result<Piece>>);

impl Outlet {
    /// Gives one file, of which `reader` has the content.
    pub(super) fn give(&self, pattern: usize, path: String, bytes: u64, reader: impl Read) -> Result<()> {
        let unreadable =
            |what: &str| Error::Transient { message: format!("`{path}` cannot be read: {what}") };
        self.send(Piece::File { pattern, path: path.clone(), bytes })?;
        let (mut reader, mut left) = (reader.take(bytes), bytes);
        while left > 0 {
            let mut chunk = vec![0; FILE_CHUNK_BYTES];
            let read = reader.read(&mut chunk).map_err(|error| unreadable(&error.to_string()))?;
            if read == 0 {
                return Err(unreadable("it became shorter meanwhile"));
            }
            chunk.truncate(read);
            left -= read as u64;
            self.send(Piece::Data(Bytes::from(chunk)))?;
        }
        Ok(())
    }

    fn send(&self, piece: Piece) -> Result<()> {
        let gone = || Error::Transient { message: "nobody takes the files any more".to_owned() };
        self.0.blocking_send(Ok(piece)).map_err(|_| gone())
    }
}
