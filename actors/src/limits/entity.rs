//! The limits of entities.

use std::time::Duration;

/// Length of an entity's id within its task hub in bytes: behind the longest name of a hub its length still fits into
/// one byte.
pub const ENTITY_ID_BYTES_MAX: usize = 190;

/// Operations of an entity that are run as one batch: a commit for each would be slow, and what is run together is
/// also run together again when its worker dies over it.
pub const ENTITY_BATCH_OPERATIONS_MAX: usize = 500;

/// Bytes of the inputs of a batch, but for one operation which is always taken: receivers of gRPC take 4 MiB by
/// default, and the state goes with them.
pub const ENTITY_BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Operations that may wait at an entity before signals from outside are refused: nobody may fill the disk with them.
pub const ENTITY_BACKLOG_MAX: u64 = 100_000;

/// How long the request id of a signal from outside is remembered, so that a repetition is applied once: as long as
/// Durable Functions remembers those between its own.
pub const ENTITY_REQUESTS_KEPT: Duration = Duration::from_secs(1_800);

/// How long an entity without a state is kept when nothing waits and nobody holds it: what it remembers goes with it.
pub const ENTITY_EMPTY_KEPT: Duration = ENTITY_REQUESTS_KEPT;
