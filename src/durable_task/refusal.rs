//! What is answered instead of what was asked, as the statuses that the SDKs know: the one place where errors become
//! statuses of gRPC.

use dogwatch_actors::handle::orchestrations::Error;
use dogwatch_actors::handle::{self, entities, hubs, pools};
use tonic::Status;

/// The status for an error about instances.
pub(super) fn of_instance(error: Error) -> Status {
    let message = error.to_string();
    match error {
        Error::NotFound(_) | Error::NoHub(_) => Status::not_found(message),
        Error::Exists { .. } => Status::already_exists(message),
        Error::Invalid(_) | Error::Unknown(_) | Error::BadCursor => Status::invalid_argument(message),
        Error::Conflict { .. } | Error::Parked(..) => Status::failed_precondition(message),
        Error::TooManyEvents(_) => Status::resource_exhausted(message),
        Error::Other(error) => of_any(&error),
        _ => Status::internal(message),
    }
}

/// The status for an error about entities.
pub(super) fn of_entity(error: entities::Error) -> Status {
    let message = error.to_string();
    match error {
        entities::Error::NotFound(_) | entities::Error::NoHub(_) => Status::not_found(message),
        entities::Error::Invalid(_) | entities::Error::BadCursor => Status::invalid_argument(message),
        entities::Error::InUse(_) | entities::Error::NotQuarantined(_) | entities::Error::Parked(..) => {
            Status::failed_precondition(message)
        }
        entities::Error::Other(error) => of_any(&error),
        _ => Status::internal(message),
    }
}

/// The status for an error about task hubs.
pub(super) fn of_hub(error: hubs::Error) -> Status {
    let message = error.to_string();
    match error {
        hubs::Error::Name(_) => Status::invalid_argument(message),
        hubs::Error::Default | hubs::Error::Busy => Status::failed_precondition(message),
        hubs::Error::Instances(error) => of_instance(error),
        _ => Status::internal(message),
    }
}

/// The status for an error about the workers of pools.
pub(super) fn of_pool(error: pools::Error) -> Status {
    let message = error.to_string();
    match error {
        pools::Error::Token(_) => Status::unauthenticated(message),
        pools::Error::Other(error) => of_any(&error),
        _ => Status::internal(message),
    }
}

fn of_any(error: &handle::Error) -> Status {
    match error {
        handle::Error::ShuttingDown | handle::Error::Interrupted | handle::Error::Store(_) => {
            Status::unavailable(error.to_string())
        }
        handle::Error::Overloaded { .. } => Status::resource_exhausted(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}
