//! Integration tests: one binary, a module per subject.

mod fleet;
mod logs;
mod store;
mod supervisor;
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod fake;
mod logs;
mod process;
//! Tests of the crate as its users see it, in one binary.

#[cfg(feature = "docker")]
mod docker;
