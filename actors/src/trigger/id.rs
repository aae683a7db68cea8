//! The name of a trigger, which is its identity.

use crate::name::name;

name! {
    /// The name of a trigger.
    TriggerId, ParseTriggerIdError, "trigger"
}
