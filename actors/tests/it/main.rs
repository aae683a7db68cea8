//! The crate's own tests that need more than one part: a file per subject.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod fake;
mod logs;
mod process;
