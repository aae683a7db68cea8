//! Errors about triggers on their way out.

use std::time::Duration;

use dogwatch_actors::handle::triggers::Error;
use dogwatch_actors::trigger::Rejected;

use super::{Code, Problem};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound(_) | Error::NoItem(_) | Error::NoDeadLetter(_) => {
                Self::new(Code::TriggerNotFound, text)
            }
            Error::Name(_) => Self::invalid_request(text),
            Error::Invalid(errors) => Self::invalid_fields(errors),
            Error::Rejected(Rejected::Full) => {
                Self::new(Code::TriggerFull, text).retry_after(Duration::from_secs(5))
            }
            Error::Rejected(Rejected::Reused) => Self::new(Code::IdempotencyMismatch, text),
            Error::Token => Self::new(Code::Unauthorized, text),
            Error::Rejected(_)
            | Error::NotCalled(_)
            | Error::OfConfig(_)
            | Error::OfApi(_)
            | Error::TooMany => Self::new(Code::TriggerConflict, text),
            Error::Other(error) => error.into(),
            other => Self::internal(&other),
        }
    }
}
