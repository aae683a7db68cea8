//! The integration tests of the crate: one binary, a module per subject.

mod store;
//! The crate's own tests that need more than one part: a file per subject.

mod logs;
//! Integration tests: a file per promise or feature.
mod fleet;
