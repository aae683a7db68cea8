//! Errors about arrays on their way out.

use dogwatch_actors::handle::arrays::Error;

use super::{Code, Problem};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound(_) => Self::new(Code::ArrayNotFound, text),
            Error::Conflict(_) => Self::new(Code::ArrayConflict, text),
            Error::Other(error) => error.into(),
            other => Self::internal(&other),
        }
    }
}
