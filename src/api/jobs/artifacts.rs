//! `GET /v1/jobs/{id}/artifacts`: the files that the attempts of a job left, and each of them.
//!
//! They go out as they were collected, as downloads and never as a page: what a job wrote must not run in a browser with
//! this API's origin.

use std::ops::Range;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, RANGE,
};
use actix_web::web::{Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use dogwatch_actors::files::ArtifactView;
use dogwatch_actors::handle;
use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::problem::Problem;
use crate::api::query::Query;
use crate::api::state::{Api, Seat, job_id};

/// What a job left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactList {
    /// Those of the newest attempt first.
    pub artifacts: Vec<ArtifactView>,
}

/// List a job's artifacts
///
/// The files that were collected of its attempts, those of the newest first.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/artifacts", tag = "jobs", operation_id = "list_job_artifacts",
    params(
        ("id" = String, Path, description = "The job"),
        ("attempt" = Option<u32>, Query, minimum = 1, description = "Only those of this attempt"),
    ),
    responses((status = 200, description = "The artifacts", body = ArtifactList)),
)]
pub(crate) async fn list(api: Data<Api>, req: HttpRequest) -> Result<Json<ArtifactList>, Problem> {
    let query = Query::read(&req, &["attempt"])?;
    let artifacts = api.handle.artifacts(job_id(&req)?, query.one("attempt")?)?;
    Ok(Json(ArtifactList { artifacts }))
}

/// What the path names besides the job.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    path: String,
}

/// Download an artifact
///
/// Its name may have slashes. `ETag` is its SHA-256; a single `Range` of bytes is honoured. A download that breaks off
/// ends short of its length.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/artifacts/{path}", tag = "jobs", operation_id = "get_job_artifact",
    params(
        ("id" = String, Path, description = "The job"),
        ("path" = String, Path, description = "The artifact's name, with its slashes"),
        ("attempt" = Option<u32>, Query, minimum = 1, description = "Of this attempt; default: the newest that has it"),
    ),
    responses(
        (status = 200, description = "The content", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range of it that was asked for"),
        (status = 304, description = "It is the one whose ETag was given"),
        (status = 416, description = "The range lies behind its end"),
    ),
)]
pub(crate) async fn download(
    api: Data<Api>,
    req: HttpRequest,
    named: Path<Named>,
) -> Result<HttpResponse, Problem> {
    let query = Query::read(&req, &["attempt"])?;
    let id = job_id(&req)?;
    let artifact = api.handle.artifact(id, &named.path, query.one("attempt")?)?;
    let etag = format!("\"{}\"", artifact.sha256);
    if is_known(req.headers(), &etag) {
        return Ok(HttpResponse::NotModified().insert_header((ETAG, etag)).finish());
    }
    let seat = api.seats.take()?;
    let (status, range) = match range_of(req.headers(), artifact.bytes) {
        Asked::Whole => (StatusCode::OK, None),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, Some(range)),
        Asked::Beyond => {
            let whole = format!("bytes */{}", artifact.bytes);
            return Ok(HttpResponse::RangeNotSatisfiable().insert_header((CONTENT_RANGE, whole)).finish());
        }
    };
    let length = range.as_ref().map_or(artifact.bytes, |range| range.end - range.start);
    let content = api.handle.read_artifact(id, &artifact, range.clone()).await?;
    let mut response = HttpResponse::build(status);
    response
        .insert_header((CONTENT_TYPE, artifact.content_type.as_str()))
        .insert_header((CONTENT_DISPOSITION, "attachment"))
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((ETAG, etag));
    if let Some(Range { start, end }) = range {
        let part = format!("bytes {start}-{}/{}", end.saturating_sub(1), artifact.bytes);
        response.insert_header((CONTENT_RANGE, part));
    }
    Ok(response.no_chunking(length).streaming(body(content, seat)))
}

fn body(
    content: BoxStream<'static, handle::Result<Bytes>>,
    seat: Seat,
) -> impl Stream<Item = handle::Result<Bytes>> {
    content.map(move |part| {
        // The seat lives as long as the stream that holds this closure.
        let _held = &seat;
        part.inspect_err(|error| tracing::warn!(%error, "a download broke off"))
    })
}

/// Whether the client has it already.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get(IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    known.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == etag || tag == "*")
}

/// Which bytes are asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    Beyond,
}

/// What is not one range of bytes is ignored, as RFC 9110 has it.
fn range_of(headers: &HeaderMap, bytes: u64) -> Asked {
    let text = headers.get(RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::Whole;
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(bytes),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..bytes,
        (Err(_), Ok(length)) if first.trim().is_empty() => bytes.saturating_sub(length)..bytes,
        _ => return Asked::Whole,
    };
    if range.is_empty() { Asked::Beyond } else { Asked::Part(range) }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn asked(range: &'static str) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_static(range));
        range_of(&headers, 10)
    }

    #[test]
    fn one_range_is_honoured_and_anything_else_is_the_whole() {
        let table = [
            ("bytes=0-3", Asked::Part(0..4)),
            ("bytes=4-", Asked::Part(4..10)),
            ("bytes=4-99", Asked::Part(4..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-99", Asked::Part(0..10)),
            ("bytes=10-", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=3-1", Asked::Whole),
            ("bytes=0-1,4-5", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("bytes=x-y", Asked::Whole),
            ("", Asked::Whole),
        ];
        for (range, expected) in table {
            assert_eq!(asked(range), expected, "{range}");
        }
    }

    #[test]
    fn a_known_tag_is_recognised_in_a_list() {
        let mut headers = HeaderMap::new();
        assert!(!is_known(&headers, "\"a\""));
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static("\"b\", W/\"a\""));
        assert!(is_known(&headers, "\"a\"") && !is_known(&headers, "\"c\""));
    }
}
