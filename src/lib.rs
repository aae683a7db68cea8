//! Dogwatch: a durable job supervisor for containers and processes, with an HTTP API and a command line.
pub mod config;
