//! The integration tests of the crate: one binary, a module per subject.

mod outbound;
