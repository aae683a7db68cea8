//! What an error about queues is over HTTP.

use std::time::Duration;

use dogwatch_actors::handle::queues::Error;

use super::{Code, Problem};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound(_) => Self::new(Code::QueueNotFound, text),
            Error::NoMessage(_) | Error::NoDeadLetter(_) => Self::new(Code::MessageNotFound, text),
            Error::Name(_) | Error::BadReceipt(_) => Self::invalid_request(text),
            Error::Invalid(errors) => Self::invalid_fields(errors),
            Error::Rejected(_) | Error::TooMany | Error::HasPool(_) => Self::new(Code::QueueConflict, text),
            Error::Full => Self::new(Code::QueueFull, text).retry_after(Duration::from_secs(5)),
            Error::StaleReceipt(_) => Self::new(Code::StaleReceipt, text),
            Error::Token(_) => Self::new(Code::BadToken, text),
            Error::Other(error) => error.into(),
            other => Self::internal(&other),
        }
    }
}
