//! What every error becomes over HTTP.

use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::id::AttemptKey;

use super::*;

#[test]
fn every_error_of_the_engine_has_its_status_and_code() {
    let job = RandomIds.job_id(Timestamp::from_millis(1));
    let secs = Duration::from_secs;
    let overloaded = Error::Overloaded { message: "full".into(), retry_after: Duration::from_millis(1_500) };
    let conflict = Error::Conflict { state: JobState::Failed, message: "the job is failed".into() };
    let store = |error: store::Error| Error::Store(error);
    let table = [
        (Error::NotFound(job), 404, Code::JobNotFound, None),
        (Error::NoAttempt(AttemptKey::new(job, 2)), 404, Code::AttemptNotFound, None),
        (Error::NoWebhook { job, target: 3 }, 404, Code::WebhookNotFound, None),
        (Error::InvalidSpec(Vec::new()), 422, Code::InvalidSpec, None),
        (Error::IdempotencyMismatch(job), 422, Code::IdempotencyMismatch, None),
        (conflict, 409, Code::JobConflict, None),
        (Error::BadToken, 403, Code::BadToken, None),
        (Error::TooManyEvents("enough".into()), 409, Code::TooManyEvents, None),
        (Error::Parked(job, "hunter2".into()), 500, Code::JobParked, None),
        (Error::Log("hunter2".into()), 500, Code::Internal, None),
        (Error::StaleAttempt { attempt: 1, current: 2 }, 410, Code::StaleAttempt, None),
        (overloaded, 429, Code::Overloaded, Some(secs(2))),
        (Error::Interrupted, 503, Code::Interrupted, Some(secs(1))),
        (Error::ShuttingDown, 503, Code::ShuttingDown, Some(secs(5))),
        (store(store::Error::Busy), 429, Code::Overloaded, Some(secs(1))),
        (store(store::Error::Closed), 503, Code::ShuttingDown, Some(secs(5))),
        (store(store::Error::Full("0 KiB are free".into())), 503, Code::StoreFull, Some(secs(5))),
        (store(store::Error::Failed("hunter2".into())), 503, Code::StoreUnavailable, Some(secs(30))),
        (store(store::Error::Corrupt("hunter2".into())), 500, Code::Internal, None),
        (store(store::Error::Locked { path: "hunter2".into() }), 500, Code::Internal, None),
    ];
    for (error, status, code, retry_after) in table {
        let shown = format!("{error:?}");
        let problem = Problem::from(error);
        let document = problem.document();
        assert_eq!((document.status, document.code), (status, code), "{shown}");
        assert_eq!(document.retry_after, retry_after.map(|pause| pause.as_secs()), "{shown}");
        assert!(!serde_json::to_string(document).unwrap().contains("hunter2"), "{shown}");
        assert_eq!(document.request_id.is_some(), shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_conflict_carries_the_state_and_the_answer_its_headers() {
    let conflict = Error::Conflict { state: JobState::Succeeded, message: "over".into() };
    assert_eq!(Problem::from(conflict).document().state, Some(JobState::Succeeded));
    let response = Problem::from(Error::ShuttingDown).error_response();
    assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "5");
    assert_eq!(response.headers().get(CONTENT_TYPE).unwrap(), MEDIA_TYPE);
    let response = Problem::new(Code::Unauthorized, "no key").error_response();
    assert_eq!(response.headers().get(WWW_AUTHENTICATE).unwrap(), "Bearer realm=\"dogwatch\"");
    assert_eq!(
        Problem::method_not_allowed("GET, POST").error_response().headers().get(ALLOW).unwrap(),
        "GET, POST"
    );
}
