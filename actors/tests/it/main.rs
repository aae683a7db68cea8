//! Tests of the crate as its users see it, in one binary.

#[cfg(feature = "docker")]
mod docker;
