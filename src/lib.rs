//! Dogwatch: the REST API, the callback listener and the command line over `dogwatch-actors`.
pub mod api;
pub mod callbacks;
pub mod limits;
pub mod listener;
//! Dogwatch: a durable job supervisor for containers and processes, with an HTTP API and a command line.
pub mod cli;
pub mod client;
pub mod config;
pub mod limits;
pub mod serve;
pub mod telemetry;
