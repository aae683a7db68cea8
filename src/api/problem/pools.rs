//! What an error about pools is over HTTP.

use dogwatch_actors::handle::pools::Error;

use super::{Code, Problem};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound(_) => Self::new(Code::PoolNotFound, text),
            Error::Name(_) => Self::invalid_request(text),
            Error::Invalid(errors) => Self::invalid_fields(errors),
            Error::Deleting | Error::TooMany | Error::NoWorkers => Self::new(Code::PoolConflict, text),
            Error::Other(error) => error.into(),
            other => Self::internal(&other),
        }
    }
}
