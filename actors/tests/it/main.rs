//! The integration tests of the crate: one binary, a module per subject.

#![allow(clippy::unwrap_used, reason = "in a test, the place of an unwrap says what failed")]

mod store;
