//! Durable orchestrations: workflows as code, over activities, jobs, timers, events and children.
//!
//! An instance is one more machine in the durable shell. Its rules are pure: a history, one turn of the code after
//! another, each fenced by its number; everything of a turn (history, activities, timers, messages to others) is one
//! commit. The code is run by an [`executor`]: given what arrived, it asks for what comes next. While an instance is
//! hot, its future stays in memory and is only polled on; what was lost with the process is rebuilt by replaying the
//! history, in which a way that the code did not take before is noticed.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use dogwatch_actors::orchestration::{ActivityContext, OrchestrationContext, Registry, Result, RetryPolicy};
//!
//! async fn order(ctx: OrchestrationContext, amount: u32) -> Result<String> {
//!     let retry = RetryPolicy::new(5, Duration::from_secs(1)).coefficient(2.0);
//!     let payment: String = ctx.activity("charge", amount).retry(retry).await?;
//!     match ctx.event::<bool>("approved").within(Duration::from_secs(86_400)).await? {
//!         Some(true) => Ok(payment),
//!         _ => ctx.activity("refund", payment).await,
//!     }
//! }
//!
//! async fn charge(ctx: ActivityContext, amount: u32) -> Result<String> {
//!     Ok(format!("{}/{}: {amount}", ctx.instance_id(), ctx.task_id()))
//! }
//!
//! async fn refund(_: ActivityContext, payment: String) -> Result<String> {
//!     Ok(format!("refunded {payment}"))
//! }
//!
//! let registry = Registry::new().orchestration("order", order).activity("charge", charge).activity("refund", refund);
//! # let _ = registry;
//! ```
//!
//! Not responsible for: HTTP, and who may ask for what.
//!
//! Invariants: at most one turn of an instance is accepted per number; a task's result is seen once; an instance is
//! `terminated` only when nothing that it started runs any more.

pub mod activity;
pub mod context;
pub mod entity;
pub mod event;
pub mod executor;
pub mod explain;
pub mod failure;
pub mod history;
pub mod id;
pub mod machine;
pub mod payload;
pub mod registry;
mod rewind;
pub mod state;
pub mod tasks;
mod transition;
pub mod version;
pub mod view;

pub use self::activity::ActivityContext;
pub use self::context::{Either, OrchestrationContext, RetryPolicy, join_all, select, try_join_all};
pub use self::failure::{Failure, Result};
pub use self::history::JobOutcome;
pub use self::id::InstanceId;
pub use self::payload::Payload;
pub use self::registry::Registry;
pub use self::state::Status;
pub use self::version::VersionPolicy;
