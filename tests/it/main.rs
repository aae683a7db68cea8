//! The integration tests of the package: one binary, a file per subject.

mod cli_args;
mod cli_binary;
mod cli_client;
mod cli_fake;
mod cli_run;
mod config;
