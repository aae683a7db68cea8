//! The limits of pools and of their instances.

use std::time::Duration;

use crate::units::Span;

/// Pools of one installation: each is looked at whenever work comes that nobody takes.
pub const POOLS_MAX: usize = 100;

/// Activities that one pool runs.
pub const POOL_ACTIVITIES_MAX: usize = 100;

/// Instances of one pool: its snapshot holds them all and is written whenever one changes.
pub const POOL_INSTANCES_MAX: u32 = 100;

/// The most instances of a pool that does not say.
pub const POOL_MAX_DEFAULT: u32 = 4;

/// Activities that an instance has at the same time where its pool does not say.
pub const POOL_PER_INSTANCE_DEFAULT: u32 = 10;

/// The most activities that an instance may have at the same time: what one worker takes (`WORKER_ITEMS_DEFAULT`).
pub const POOL_PER_INSTANCE_MAX: u32 = 1_000;

/// Bytes of the version of an activity, as orchestrations have it.
pub const VERSION_BYTES_MAX: usize = 64;

/// How long an instance without anything to do is kept where its pool does not say.
pub const POOL_IDLE_DEFAULT: Span = Span::from_secs(60);

/// The pause after the first failure of an instance; it doubles.
pub const POOL_BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// The longest such pause.
pub const POOL_BACKOFF_MAX: Duration = Duration::from_secs(300);

/// An instance that ran this long before it failed sets the pause back to the first.
pub const POOL_BACKOFF_RESET_AFTER: Duration = Duration::from_secs(600);

/// The shortest time between two looks at the demand: many pieces of work that come together are one demand.
pub const POOL_LOOK_PAUSE: Duration = Duration::from_millis(200);

/// How often the demand is looked at while there is some, or an instance: nothing tells of an instance that has
/// become idle.
pub const POOL_LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pieces of work that are counted for one pool; more than its instances could ever be wanted for.
pub const POOL_DEMAND_COUNTED_MAX: usize = POOL_INSTANCES_MAX as usize * POOL_PER_INSTANCE_MAX as usize;
