//! Every HTTP request that dogwatch itself makes: webhooks to the world, calls to the service jobs that it
//! started, and what buckets are asked.
//!
//! Responsible for: one request, made safely and once, and what its answer means. Not responsible for when a
//! request is made, how often it is repeated and what is remembered of it: that is durable state and belongs
//! to the machines.
//!
//! Invariants:
//! - a webhook connects only to addresses that the [`guard`] has judged, those very addresses and no others;
//! - a request to a bucket connects to where the configuration says, which no user of the API writes;
//! - a service call connects only to the socket address that it was given;
//! - no redirect is followed, no proxy is used, no request is repeated behind the caller's back;
//! - every wait and every body has a limit;
//! - no error and no log line holds a secret, nor the path or query of a webhook's URL, which often are one.
//!
//! `cidr`, `cloudevent`, `guard` and `sign` are pure.

pub mod cidr;
mod client;
pub mod cloudevent;
mod fault;
pub mod guard;
mod network;
pub mod resolver;
pub mod service;
pub mod sign;
pub mod storage;
pub mod webhook;

pub use client::{BuildError, Roots};
pub use network::{HttpNetwork, Network};
