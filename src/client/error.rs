//! Why a request had no good answer, and the exit code that follows.

use std::path::PathBuf;

use super::Problem;

/// Why a request had no good answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No server is known.
    #[error(
        "no dogwatch server is known in {}; start one with `dogwatch serve`, or name one with --url or DOGWATCH_URL",
        .data_dir.display()
    )]
    NoServer {
        /// The data directory that was looked into.
        data_dir: PathBuf,
    },
    /// The server does not answer, or went away in the middle.
    #[error("no dogwatch server answers at {url} ({message}); start it with `dogwatch serve`")]
    Unreachable {
        /// The server.
        url: String,
        /// What happened.
        message: String,
    },
    /// The address cannot be one.
    #[error("`{url}` is not the address of a server: {message}; write it like http://127.0.0.1:7070")]
    BadUrl {
        /// The address.
        url: String,
        /// Why not.
        message: String,
    },
    /// The key cannot be read.
    #[error(
        "cannot read the key {}: {message}; run this as the user of the server, or set DOGWATCH_API_KEY",
        .path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// The server refused.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// Something answers that is not dogwatch.
    #[error("what answers at {url} is not dogwatch (status {status}); check --url")]
    NotDogwatch {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is not what this version understands.
    #[error("the answer of {url} cannot be read: {source}; is the server of another version?")]
    Unreadable {
        /// The server.
        url: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// The answer is longer than any answer may be.
    #[error("the answer of {url} is too long; ask for less with --limit")]
    TooLong {
        /// The server.
        url: String,
    },
}

impl Error {
    /// Whether there is no server (any more): the request may or may not have been done.
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NoServer { .. })
    }

    /// Whether the server said that it goes, or lost the answer: what is safe to repeat may be done by the
    /// next one.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Problem(problem) => matches!(problem.code.as_str(), "shutting_down" | "interrupted"),
            error => error.is_gone(),
        }
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }
}
