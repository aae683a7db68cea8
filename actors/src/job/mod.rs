//! One job: its spec, its state, its rules.
pub mod cause;
pub mod parse;
pub mod spec;
pub mod validate;
pub mod view;
