//! One job: its spec, its state, its rules.
pub mod cause;
pub mod spec;
pub mod view;
