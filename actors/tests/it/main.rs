//! The crate's own tests that need more than one part: a file per subject.

mod logs;
mod process;
