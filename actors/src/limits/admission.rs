//! Limits of admission: keys, tenants, priorities, rates.

use std::time::Duration;

/// The longest concurrency key in characters: room for a path or an address.
pub const CONCURRENCY_KEY_CHARS_MAX: usize = 200;

/// The highest limit of a concurrency key: more than can wait here is none.
pub const CONCURRENCY_LIMIT_MAX: u32 = 100_000;

/// The longest name of a tenant in characters: as long as a job's name.
pub const TENANT_CHARS_MAX: usize = 63;

/// The greatest weight of a tenant: beyond it shares are no longer told apart well.
pub const TENANT_WEIGHT_MAX: u32 = 1_000;

/// The highest priority, and negated the lowest.
pub const PRIORITY_MAX: i16 = 100;

/// How much longer a job must have waited to go before one whose priority is a point higher: long enough that a
/// priority is felt through any usual backlog, and an end to being overtaken (starvation).
pub const PRIORITY_POINT: Duration = Duration::from_secs(3_600);

/// The most starts in the time of a rate: beyond it a rate means nothing.
pub const RATE_LIMIT_MAX: u32 = 1_000_000;

/// The longest time that a rate is given for.
pub const RATE_PER_MAX: Duration = Duration::from_secs(31 * 86_400);

/// Keys that are remembered only because their rate was used lately: some 300 bytes each.
pub const RATES_IDLE_MAX: usize = 10_000;

/// Places that are counted for an explanation: people want to know whether it is soon.
pub const PLACES_COUNTED_MAX: usize = 1_000;

/// Tenants and keys in one answer.
pub const ADMISSION_ROWS_MAX: usize = 1_000;

/// How long an answer of the fleet to a question is waited for: it answers between two inputs.
pub const FLEET_ANSWER_MAX: Duration = Duration::from_secs(5);
