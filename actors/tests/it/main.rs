//! Integration tests: one binary, a module per subject.

mod fleet;
mod logs;
mod store;
mod supervisor;
