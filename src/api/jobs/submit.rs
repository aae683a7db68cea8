//! `POST /v1/jobs`: submit a job.

use actix_web::http::header::{HeaderMap, LOCATION};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use dogwatch_actors::array::ArrayView;
use dogwatch_actors::fault::{self, Point};
use dogwatch_actors::handle::{Submission, Submitted};
use dogwatch_actors::job::parse::parse_tree;
use dogwatch_actors::job::spec::Spec;
use dogwatch_actors::job::view::JobView;
use dogwatch_actors::limits::{CLIENT_KEY_CHARS_MAX, SPEC_BYTES_MAX};

use serde::Serialize;
use utoipa::ToSchema;

use crate::api::arrays;
use crate::api::detached::detached;
use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::Api;
use crate::api::{body, links};

/// The header that makes a repetition of a submission one.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The header that says that the job was there before.
const REPLAYED: &str = "Idempotency-Replayed";

/// Submit a job
///
/// Answers once the job is durable. With an `Idempotency-Key` the same body gives the same job, however often
/// it is sent; another body is refused. With `array` the answer is an array, whose children are jobs.
#[utoipa::path(
    post, path = "/v1/jobs", tag = "jobs", operation_id = "submit_job", request_body = Spec,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    responses((status = 202, description = "The job is durable", body = Accepted, headers(
        ("Location" = String, description = "Where the job or the array is"),
        ("Idempotency-Replayed" = String, description = "`true` when the job was submitted before"),
    ))),
)]
pub(crate) async fn submit(api: Data<Api>, req: HttpRequest, body: Payload) -> Result<HttpResponse, Problem> {
    Query::none(&req)?;
    let key = idempotency_key(req.headers())?;
    let text =
        body::required_text(&req, body, SPEC_BYTES_MAX, "a job spec such as {\"args\": [\"true\"]}").await?;
    let json = text.tree()?;
    let spec = parse_tree(&json).map_err(Problem::invalid_fields)?;
    let idempotency = key.map(|key| (key, json.into_value()));
    drop(text);
    fault::reach(Point::SubmitParsed);
    if spec.array.is_some() {
        let arrays = api.handle.arrays();
        let (array, replayed) = detached(async move { arrays.submit(spec, idempotency).await }).await?;
        return Ok(accepted_array(array, replayed, &links::prefix(&req)));
    }
    let submission = Submission { spec, idempotency };
    let handle = api.handle.clone();
    let submitted = detached(async move { handle.submit(submission).await }).await?;
    fault::reach(Point::SubmitAnswering);
    Ok(accepted(submitted, &links::prefix(&req)))
}

/// What was submitted.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, clippy::large_enum_variant, reason = "only its schema is used")]
pub(crate) enum Accepted {
    /// A job.
    Job(JobView),
    /// An array.
    Array(ArrayView),
}

fn accepted_array(array: ArrayView, replayed: bool, prefix: &str) -> HttpResponse {
    let mut response = HttpResponse::Accepted();
    response.insert_header((LOCATION, arrays::path(prefix, array.id)));
    if replayed {
        response.insert_header((REPLAYED, "true"));
    }
    response.json(arrays::with_links(array, prefix))
}

fn accepted(submitted: Submitted, prefix: &str) -> HttpResponse {
    let mut response = HttpResponse::Accepted();
    response.insert_header((LOCATION, links::job_path(prefix, submitted.job.id)));
    if submitted.replayed {
        response.insert_header((REPLAYED, "true"));
    }
    response.json(links::with_links(submitted.job, prefix))
}

/// The client's key for this request, when it sent one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else { return Ok(None) };
    let good = (1..=CLIENT_KEY_CHARS_MAX).contains(&value.len())
        && value.as_bytes().iter().all(u8::is_ascii_graphic);
    match (value.to_str(), good, values.next()) {
        (Ok(key), true, None) => Ok(Some(key.to_owned())),
        _ => Err(Problem::invalid_request(
            "the Idempotency-Key is not valid; send one, of 1 to 255 visible ASCII characters without spaces",
        )),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use actix_web::body::to_bytes;
    use actix_web::http::StatusCode;
    use actix_web::http::header::{HeaderName, HeaderValue};
    use dogwatch_actors::clock::Timestamp;
    use dogwatch_actors::job::view::JobState;

    use super::*;

    /// A job as an engine would show it.
    pub(crate) fn sample() -> JobView {
        JobView {
            id: "01939f6e-2d5c-7a00-8000-0123456789ab".parse().unwrap(),
            name: None,
            state: JobState::Queued,
            cause: None,
            message: None,
            attempt: 0,
            attempts: Vec::new(),
            progress: None,
            output: None,
            labels: std::collections::BTreeMap::new(),
            created_at: Timestamp::from_millis(0),
            started_at: None,
            finished_at: None,
            usage: Default::default(),
            next_at: None,
            spec: Spec::process(["true"]).into(),
            links: std::collections::BTreeMap::new(),
        }
    }

    #[actix_web::test]
    async fn the_answer_says_where_the_job_is_under_any_scope() {
        for replayed in [false, true] {
            let response = accepted(Submitted { job: sample(), replayed }, "/dogwatch");
            assert_eq!(response.status(), StatusCode::ACCEPTED);
            let here = format!("/dogwatch/v1/jobs/{}", sample().id);
            assert_eq!(response.headers().get(LOCATION).unwrap(), here.as_str());
            assert_eq!(response.headers().contains_key(REPLAYED), replayed);
            let body = to_bytes(response.into_body()).await.unwrap();
            let job: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(job["links"]["self"], here);
            assert_eq!(job["links"]["cancel"], format!("{here}/cancel"));
        }
    }

    #[test]
    fn an_idempotency_key_is_one_short_visible_text() {
        let headers = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let name = HeaderName::from_static("idempotency-key");
                headers.append(name, HeaderValue::from_bytes(value).unwrap());
            }
            headers
        };
        assert_eq!(idempotency_key(&headers(&[])), Ok(None));
        assert_eq!(idempotency_key(&headers(&[b"k-1"])), Ok(Some("k-1".to_owned())));
        let long = [b'k'; 256];
        assert!(idempotency_key(&headers(&[&long[..255]])).is_ok());
        for bad in [&[&b""[..]][..], &[b"a b"], &[&long], &[b"\xc3\xa9"], &[b"a", b"b"]] {
            assert!(idempotency_key(&headers(bad)).is_err(), "{bad:?}");
        }
    }
}
