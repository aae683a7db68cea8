//! Durable, supervised job actors for actix applications: the engine of dogwatch.
//!
//! A job is a container or a process that must come to its end whatever happens to the machine in between. This
//! crate starts it, watches it, restarts it by policy, takes its callbacks and remembers everything; a restart
//! of the application, of the container engine or of the host delays a job and loses nothing.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use dogwatch_actors::prelude::*;
//!
//! #[actix::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // First of all: attempts are watched by small processes that are started as this very program.
//!     let shim = Shim::enter();
//!     let home = Home::open("/var/lib/example").await?;
//!     let processes = home.processes(shim)?;
//!     let supervisor = home.builder().await?.runtime(processes).start().await?;
//!
//!     let spec = parse(&serde_json::json!({"args": ["sh", "-c", "echo hello"], "timeout": "1m"})).unwrap();
//!     let job = supervisor.handle().submit(spec).await?.job;
//!     let job = supervisor.handle().wait(job.id, Duration::from_secs(60)).await?;
//!     println!("{} with {:?}", job.state.name(), job.cause);
//!     supervisor.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! # The one idea
//!
//! A deterministic core without I/O maps `(state, event, now)` to `(state', effects)`. A thin actor, the same
//! one for every kind of machine ([`durable`]), turns a message from its mailbox into an event, applies it,
//! commits the new state with its history, indexes and outgoing messages as one atomic batch, waits until that
//! is durable, replies, and only then performs the effects. Never in another order. Effects are idempotent and
//! keyed, and `resume()` derives from the state alone every effect that must hold; it is called on every start,
//! so there is one path of recovery, and it is always exercised.
//!
//! ```text
//!             submit, cancel …        callback          exit, trouble
//!                   │                    │                    │
//!  Handle ──────────┴─────────┬──────────┘                    │
//!                             ▼                               │
//!      durable::host    Shard (one per thread)                │
//!                             │ hydrates, lets go             │
//!                             ▼                               │
//!      durable::shell   one actor per job ── commit ──▶ store │
//!                             │ perform                       │
//!                             ▼                               │
//!      job::performer   fleet (slots, drivers) ── runtime ────┘
//!                       webhook (outbox) ── outbound
//! ```
//!
//! # Where things are
//!
//! | module | is |
//! |---|---|
//! | [`job`] | the rules of a job: pure, a table of `(phase, event)` |
//! | [`durable`] | the shell that hosts any machine, its timers and outbox |
//! | [`mod@supervise`] | supervision of actors that panic, which actix has not |
//! | [`files`] | files in and out of attempts, and where they are kept |
//! | [`fleet`] | slots, creating, starting, watching, stopping and removing attempts; comparing with what is |
//! | [`runtime`] | what attempts run on: processes, containers, a fake; one conformance suite |
//! | [`store`] | atomic, durable batches: sled, redb, memory; one conformance suite |
//! | [`backup`] | a whole store in one file, and a data directory made of it |
//! | [`bucket`] | places for objects: a directory, S3, Azure Blob, Google Cloud Storage |
//! | [`examine`] | whether everything in a store fits together |
//! | [`orchestration`] | workflows as code over activities, jobs, timers, events and children |
//! | [`pool`] | sets of identical jobs whose number follows a demand, down to zero |
//! | [`queue`] | messages that workers lease, and that come back unless they are acknowledged |
//! | [`mod@array`] | one spec run as many jobs with an index each, and a rule of success |
//! | [`schedule`] | times at which a job is submitted or an orchestration started |
//! | [`trigger`] | files, requests and messages for each of which something is started once |
//! | [`entity`] | named objects with a state that do one thing after another |
//! | [`usage`] | what attempts used: in the job, in books that outlive it, as a report |
//! | [`webhook`], [`outbound`] | telling the world, safely |
//! | [`logs`] | the output of attempts |
//! | [`handle`] | what one asks of a supervisor |
//! | [`mod@fault`] | named places at which tests interfere; nothing without a feature |
//! | [`supervisor`], [`data_dir`] | putting the parts together, on a directory |
//!
//! There is no state global to the process: several supervisors live in one. The HTTP API and the command line
//! are in the crate `dogwatch`.

pub mod admission;
pub mod array;
pub mod backup;
pub mod bucket;
pub mod clock;
pub mod data_dir;
pub mod durable;
pub mod entity;
pub mod examine;
pub mod fault;
pub mod files;
pub mod fleet;
pub mod handle;
mod hub;
pub mod id;
pub mod job;
pub mod json;
pub mod limits;
pub mod logs;
mod name;
pub mod orchestration;
pub mod outbound;
pub mod pool;
pub mod queue;
pub mod runtime;
pub mod schedule;
pub mod secret;
pub mod shape;
pub mod store;
pub mod supervise;
pub mod supervisor;
pub mod trigger;
pub mod units;
pub mod usage;
pub mod webhook;

pub use data_dir::Home;
pub use handle::Handle;
pub use supervisor::{Builder, Supervisor};

/// What most applications need.
pub mod prelude {
    pub use crate::data_dir::Home;
    pub use crate::handle::{Callback, Command, Error, Filter, Handle, LogQuery, Submission};
    pub use crate::id::{AttemptKey, JobId};
    pub use crate::job::cause::Cause;
    pub use crate::job::parse::parse;
    pub use crate::job::spec::Spec;
    pub use crate::job::view::{JobState, JobView};
    #[cfg(feature = "docker")]
    pub use crate::runtime::docker::{DockerOptions, DockerRuntime};
    #[cfg(feature = "process")]
    pub use crate::runtime::process::{ProcessOptions, ProcessRuntime, Shim};
    pub use crate::supervisor::{Builder, Supervisor};
}
