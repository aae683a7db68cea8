//! Durable, supervised job actors for actix applications: the engine of dogwatch.
pub mod clock;
pub mod handle;
pub mod id;
pub mod job;
pub mod json;
pub mod limits;
pub mod runtime;
pub mod secret;
pub mod shape;
pub mod store;
pub mod units;
