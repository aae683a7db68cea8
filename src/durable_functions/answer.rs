//! What is answered instead of what was asked, as the extension does.

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, ResponseError as _};
use dogwatch_actors::handle::entities;
use dogwatch_actors::handle::orchestrations::Error;
use serde_json::json;

use crate::api::problem::Problem;

/// What the extension says of a request that it does not take.
const INCORRECT: &str = "One or more of the arguments submitted is incorrect";

/// A refusal.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing here")
    }

    pub(super) fn none_fits() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no instance that is over fits")
    }

    pub(super) fn unauthorized() -> Self {
        let message = "a key is needed: send one of the server's API keys as the query parameter `code`";
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(super) fn incorrect(why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("{INCORRECT}: {why}"))
    }

    fn gone(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, message)
    }

    pub(super) fn precondition(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, message)
    }

    pub(super) fn response(self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        response.json(json!({ "Message": self.message }))
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound(_) | Error::NoHub(_) => Self::new(StatusCode::NOT_FOUND, text),
            Error::Unknown(_) | Error::Invalid(_) | Error::BadCursor => Self::incorrect(text),
            Error::Exists { .. } => Self::new(StatusCode::CONFLICT, text),
            Error::Conflict { status, .. } if status.is_terminal() => Self::gone(text),
            Error::Conflict { .. } => Self::new(StatusCode::CONFLICT, text),
            error => Problem::from(error).into(),
        }
    }
}

impl From<entities::Error> for Refusal {
    fn from(error: entities::Error) -> Self {
        let text = error.to_string();
        match error {
            entities::Error::NotFound(_) | entities::Error::NoHub(_) => {
                Self::new(StatusCode::NOT_FOUND, text)
            }
            entities::Error::Invalid(_) | entities::Error::BadCursor => Self::incorrect(text),
            entities::Error::Other(error) => Problem::from(error).into(),
            _ => Self::new(StatusCode::CONFLICT, text),
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let document = problem.document();
        Self {
            status: problem.status_code(),
            message: document.detail.clone(),
            retry_after: document.retry_after,
        }
    }
}
