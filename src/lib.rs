//! Dogwatch: a durable job supervisor for containers and processes, with an HTTP API and a command line over
//! the crate `dogwatch-actors`.

pub mod api;
pub mod callbacks;
pub mod cli;
pub mod client;
pub mod config;
pub mod document;
pub mod durable_functions;
pub mod durable_task;
pub mod limits;
pub mod listener;
pub mod serve;
pub mod telemetry;
