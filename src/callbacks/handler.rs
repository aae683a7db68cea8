//! `POST /v1/callbacks/{job}/{attempt}`: what a running attempt says of itself.

use actix_web::HttpRequest;
use actix_web::web::{Data, Json, Payload};
use dogwatch_actors::fault::{self, Point};
use dogwatch_actors::handle::{Callback, CallbackReceipt, Error, FieldError, Handle};
use dogwatch_actors::id::AttemptKey;
use dogwatch_actors::job::cause::Cause;
use dogwatch_actors::limits::{CALLBACK_BODY_BYTES_MAX, CLIENT_KEY_CHARS_MAX};
use dogwatch_actors::shape;

use crate::api::detached::detached;
use crate::api::problem::{Code, Problem};
use crate::api::query::Query;
use crate::api::{bearer, body, event_name};

/// Call back
///
/// An attempt says `completed`, `failed`, `progress` or any other event. Applied exactly once when it is
/// answered 2xx; the same one sent again gets the same answer again.
#[utoipa::path(
    post, path = "/v1/callbacks/{job}/{attempt}", tag = "callbacks", operation_id = "callback",
    request_body = Callback, security(("callback_token" = [])),
    params(
        ("job" = String, Path, description = "The job"),
        ("attempt" = u32, Path, minimum = 1, description = "The attempt's number"),
    ),
    responses((status = 200, description = "It is durable", body = CallbackReceipt)),
)]
pub(crate) async fn callback(
    handle: Data<Handle>,
    req: HttpRequest,
    body: Payload,
) -> Result<Json<CallbackReceipt>, Problem> {
    let token = bearer(req.headers()).ok_or_else(refused)?.to_owned();
    let key = attempt_key(&req).ok_or_else(refused)?;
    Query::none(&req)?;
    let callback = read(&req, body).await?;
    fault::reach(Point::CallbackRead);
    let engine = handle.get_ref().clone();
    let answer =
        detached(async move { Ok::<_, Problem>(engine.callback(key, &token, callback).await) }).await?;
    answer.map(Json).map_err(|error| problem(error, || handle.job(key.job).ok()?.cause))
}

/// The attempt that the path names, in the one way of writing it.
fn attempt_key(req: &HttpRequest) -> Option<AttemptKey> {
    let part = |name| req.match_info().get(name);
    let job = part("job")?.parse().ok()?;
    let number: u32 = part("attempt")?.parse().ok().filter(|number| *number > 0)?;
    (part("attempt")? == number.to_string()).then(|| AttemptKey::new(job, number))
}

async fn read(req: &HttpRequest, body: Payload) -> Result<Callback, Problem> {
    let example = "an event such as {\"event\": \"completed\", \"data\": {}}";
    let json = body::required(req, body, CALLBACK_BODY_BYTES_MAX, example).await?;
    let callback: Callback = shape::read(&json, |_, _| None).map_err(Problem::invalid_fields)?;
    let mut errors = Vec::new();
    if let Err(error) = event_name::check(&callback.event) {
        errors.push(FieldError { pointer: "/event".to_owned(), message: error.to_string() });
    }
    let good = |id: &String| {
        (1..=CLIENT_KEY_CHARS_MAX).contains(&id.chars().count()) && !id.contains(char::is_control)
    };
    if !callback.id.as_ref().is_none_or(good) {
        let message = "must be 1 to 255 characters without control characters".to_owned();
        errors.push(FieldError { pointer: "/id".to_owned(), message });
    }
    if errors.is_empty() { Ok(callback) } else { Err(Problem::invalid_fields(errors)) }
}

fn problem(error: Error, cause: impl FnOnce() -> Option<Cause>) -> Problem {
    match error {
        Error::BadToken | Error::NotFound(_) | Error::NoAttempt(_) => refused(),
        // Only the attempt itself comes this far, so that it may know how its job ended.
        conflict @ Error::Conflict { .. } => Problem::from(conflict).with_cause(cause()),
        other => other.into(),
    }
}

/// The one answer to everybody who has not the right token.
fn refused() -> Problem {
    let detail = "send the attempt's own DOGWATCH_CALLBACK_TOKEN as `Authorization: Bearer <token>` to its own \
                  DOGWATCH_CALLBACK_URL";
    Problem::new(Code::BadToken, detail)
}

#[cfg(test)]
mod tests {
    use dogwatch_actors::clock::Timestamp;
    use dogwatch_actors::id::{Ids as _, RandomIds};
    use dogwatch_actors::job::view::JobState;

    use super::*;

    #[test]
    fn what_does_not_exist_looks_like_a_wrong_token() {
        let key = AttemptKey::new(RandomIds.job_id(Timestamp::from_millis(1)), 1);
        for hidden in [Error::BadToken, Error::NotFound(key.job), Error::NoAttempt(key)] {
            assert_eq!(problem(hidden, || None), refused());
        }
    }

    #[test]
    fn the_attempt_itself_hears_how_the_job_ended() {
        let conflict = Error::Conflict { state: JobState::Failed, message: "the job is over".to_owned() };
        let answer = problem(conflict, || Some(Cause::Timeout));
        let document = answer.document();
        assert_eq!(
            (document.status, document.state, document.cause),
            (409, Some(JobState::Failed), Some(Cause::Timeout))
        );
        let stale = problem(Error::StaleAttempt { attempt: 1, current: 3 }, || None);
        assert_eq!((stale.document().status, stale.document().attempt), (410, Some(3)));
    }
}
