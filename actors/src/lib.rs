//! Durable, supervised job actors for actix applications: the engine of dogwatch.
pub mod clock;
pub mod durable;
pub mod fleet;
pub mod handle;
pub mod id;
pub mod job;
pub mod json;
pub mod limits;
pub mod logs;
pub mod runtime;
pub mod secret;
pub mod shape;
pub mod store;
pub mod supervise;
pub mod supervisor;
pub mod units;
pub mod webhook;
