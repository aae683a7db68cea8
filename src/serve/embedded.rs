//! A server for as long as one command runs.
//!
//! The lock on the data directory decides who becomes it when several commands want to; the others find its
//! addresses and use it. Its attempts outlive it, as those of any server.

use super::assemble::Shim;
use super::{Error, Role, Server};
use crate::config::Loaded;

/// What came of trying to become the server.
#[derive(Debug)]
pub enum Outcome {
    /// This process is the server now.
    Started(Box<Server>),
    /// Another process is it already, or just becomes it.
    Taken,
}

/// Tries to become the server of the configured data directory.
pub async fn start(loaded: &Loaded, shim: Shim) -> Result<Outcome, Error> {
    match Server::start(loaded, shim, Role::Embedded).await {
        Ok(server) => Ok(Outcome::Started(Box::new(server))),
        Err(error) if error.is_taken() => Ok(Outcome::Taken),
        Err(error) => Err(error),
    }
}
