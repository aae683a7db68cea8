//! Why a measurement could not be made.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file or directory.
    #[error("{}: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// A program that the bench needs.
    #[error("`{program}` cannot be run: {source}")]
    Program { program: String, source: io::Error },
    /// A program that ended with an error.
    #[error("`{program}` failed ({status}): {said}")]
    Ended { program: String, status: String, said: String },
    /// A connection to what is being measured.
    #[error("the connection to {what} broke: {source}")]
    Connection { what: String, source: io::Error },
    /// Something else than an answer in HTTP.
    #[error("what is being measured did not answer in HTTP: {0}")]
    NotHttp(String),
    /// An answer that the measurement does not expect, so that its figure would mean nothing.
    #[error("expected status {expected} and got {status}: {body}")]
    Status { expected: u16, status: u16, body: String },
    /// An answer of the right status without what must be in it.
    #[error("the answer has no `{member}`: {answer}")]
    Answer { member: &'static str, answer: String },
    /// A condition that did not come true in time.
    #[error("not within {patience:?}: {what}")]
    Late { what: String, patience: Duration },
    /// The directory of a server.
    #[error(transparent)]
    DataDir(#[from] dogwatch_actors::data_dir::Error),
    /// The engine of containers.
    #[error("the container engine: {0}; `cargo xtask prepare` makes ready what the tests need")]
    Engine(#[from] bollard::errors::Error),
    /// A store.
    #[error(transparent)]
    Store(#[from] dogwatch_actors::store::Error),
    /// A supervisor in this process.
    #[error("the supervisor: {0}")]
    Supervisor(#[from] dogwatch_actors::handle::Error),
    /// Starting one.
    #[error("the supervisor cannot be started: {0}")]
    Start(#[from] dogwatch_actors::supervisor::StartError),
    /// Opening its directory.
    #[error(transparent)]
    Open(#[from] dogwatch_actors::data_dir::OpenError),
    /// A listener.
    #[error(transparent)]
    Bind(#[from] dogwatch::listener::BindError),
    /// Something that is not there and that the bench does not install.
    #[error("{what} is missing here: {remedy}")]
    Missing { what: &'static str, remedy: String },
    /// What was measured did something else than it should.
    #[error("the measurement is void: {0}")]
    Void(String),
}

/// The result of a measurement.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// For `map_err`: this file.
pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::File { path: path.into(), source }
}
