//! Durable, supervised job actors for actix applications: the engine of dogwatch.
pub mod clock;
pub mod handle;
pub mod id;
pub mod job;
pub mod limits;
pub mod outbound;
pub mod runtime;
pub mod secret;
pub mod store;
pub mod units;
