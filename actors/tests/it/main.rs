//! Integration tests: one binary, a module per subject.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod architecture;
mod backup;
#[cfg(feature = "docker")]
mod docker;
mod durable;
mod entities;
mod fake;
#[path = "../../../tests/shared/faultfs.rs"]
mod faultfs;
mod fleet;
mod job_panics;
mod logs;
mod orchestration;
mod outbound;
mod process;
mod queues;
#[path = "../../../tests/shared/random.rs"]
mod random;
mod simulation;
mod store;
mod supervise;
mod supervisor;
