//! Outgoing requests against real listeners on this host.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod receiver;
mod refusals;
mod service;
mod tls;
mod webhook;
