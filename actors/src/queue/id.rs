//! The name of a queue, which is its identity.

use crate::name::name;

name! {
    /// The name of a queue.
    QueueId, ParseQueueIdError, "queue"
}
