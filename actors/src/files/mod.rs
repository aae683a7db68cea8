//! Files in and out of attempts, and where what comes out is kept.
//!
//! ```text
//!   spec.inputs ──▶ Porter ── fetch ──▶ Runtime::put_files    after create, before the start
//!   spec.outputs ─▶ Porter ◀─ pieces ── Runtime::take_files   after the exit, before it is told
//!                     └── objects ──▶ ArtifactStore ◀── readers, Sweep (when the job is purged)
//! ```
//!
//! Responsible for: what a spec may ask ([`spec`]), which paths a pattern means ([`pattern`]), fetching, sorting and
//! keeping. Not responsible for: how files get into a container or out of it (`runtime`), nor for when (`fleet`).
//!
//! Invariants:
//! - inputs are placed again until the attempt was started, and never after;
//! - outputs are collected again until their job has recorded them, under the same names, so that nothing is doubled;
//!   what is left of an attempt is removed only after that;
//! - no link is followed and no name leads out of the place of its job;
//! - no file is ever whole in memory but one that stands in its spec.

pub mod artifact;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod pattern;
mod porter;
pub mod spec;
mod staging;
pub mod store;
pub mod sweep;

pub use artifact::{Artifact, ArtifactView, Collected};
pub use pattern::Pattern;
pub use porter::Porter;
pub use spec::{Files, Input, Output};
pub use store::ArtifactStore;
