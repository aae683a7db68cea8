//! Errors about schedules on their way out.

use dogwatch_actors::handle::schedules::Error;

use super::{Code, Problem};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound(_) => Self::new(Code::ScheduleNotFound, text),
            Error::Name(_) => Self::invalid_request(text),
            Error::Invalid(errors) => Self::invalid_fields(errors),
            Error::Quarantined(_) | Error::OfConfig(_) | Error::OfApi(_) | Error::TooMany => {
                Self::new(Code::ScheduleConflict, text)
            }
            Error::Other(error) => error.into(),
            other => Self::internal(&other),
        }
    }
}
