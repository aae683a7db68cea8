//! Dogwatch: a durable job supervisor for containers and processes, with an HTTP API and a command line.
pub mod cli;
pub mod client;
pub mod config;
pub mod limits;
pub mod serve;
pub mod telemetry;
