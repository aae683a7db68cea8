//! Why a command failed, what is printed of it and which exit code it has.

use std::io;
use std::path::PathBuf;

use dogwatch_actors::{backup, store};

use super::exit::Exit;
use super::output;
use crate::{client, config, serve, telemetry};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused or is not there.
    #[error(transparent)]
    Client(#[from] client::Error),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The server cannot be started.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// The log filter cannot be used.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// The arguments do not make sense together.
    #[error("{0}")]
    Usage(String),
    /// The spec cannot be read.
    #[error("cannot read the spec {}: {message}", .path.display())]
    Spec {
        /// The file, `-` for standard input.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// No job of that name.
    #[error("there is no job `{0}`; `dogwatch ps` lists the jobs")]
    NoJob(String),
    /// More than one job.
    #[error("`{text}` means {count} jobs; give more of the id")]
    Ambiguous {
        /// What was given.
        text: String,
        /// How many it means.
        count: usize,
    },
    /// There is nothing to look at or to copy.
    #[error("there is no store in {}; name the directory of one with --data-dir", .0.display())]
    NoStore(PathBuf),
    /// A backup cannot be made or used.
    #[error(transparent)]
    Backup(#[from] backup::Error),
    /// A file cannot be written here.
    #[error("cannot write {}: {message}", .path.display())]
    Download {
        /// The file.
        path: PathBuf,
        /// Why not.
        message: String,
    },
    /// It took too long.
    #[error("{0}")]
    Timeout(String),
    /// Standard output is closed: nobody reads on.
    #[error("standard output is closed")]
    Closed,
    /// Standard output fails otherwise.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// Another server has the directory, and does not answer.
    #[error("another dogwatch holds the data directory {} but does not answer; see `dogwatch doctor`", .0.display())]
    SilentServer(PathBuf),
    /// Something of the demonstration was not as promised.
    #[error("the demonstration failed: {0}")]
    Demo(String),
}

impl Error {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Client(client::Error::BadUrl { .. }) => Exit::USAGE,
            Self::Client(client::Error::NoKey { .. }) => Exit::NOT_ALLOWED,
            Self::Client(error) => error.status().map_or(Exit::OWN_FAULT, Exit::from_status),
            Self::Config(_)
            | Self::Telemetry(_)
            | Self::Usage(_)
            | Self::Spec { .. }
            | Self::Ambiguous { .. } => Exit::USAGE,
            Self::NoJob(_) | Self::NoStore(_) => Exit::NOT_FOUND,
            Self::Backup(backup::Error::NotEmpty(_)) => Exit::USAGE,
            Self::Serve(serve::Error::Schedule(_) | serve::Error::Trigger(_)) => Exit::USAGE,
            Self::Timeout(_) => Exit::TIMEOUT,
            Self::Closed => Exit::OK,
            Self::Demo(_) => Exit::NOT_WELL,
            Self::Serve(serve::Error::Fatal(serve::Fatal::Supervision(_))) => Exit::GAVE_UP,
            Self::Serve(
                serve::Error::Fatal(serve::Fatal::Store(_)) | serve::Error::Store(store::Error::Failed(_)),
            ) => Exit::STORE_FAILED,
            Self::Serve(_)
            | Self::Backup(_)
            | Self::Output(_)
            | Self::Download { .. }
            | Self::SilentServer(_) => Exit::OWN_FAULT,
        }
    }

    /// Says it on standard error.
    pub(super) fn report(&self) -> Exit {
        if !matches!(self, Self::Closed) {
            output::note(&format!("dogwatch: {self}"));
        }
        self.exit()
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Output(error) }
    }
}
