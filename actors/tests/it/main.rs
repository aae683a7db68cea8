//! Integration tests: a file per promise or feature.
mod fleet;
