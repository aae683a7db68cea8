//! Reading request bodies: bounded in size and in time, JSON only.
//!
//! Works on the raw payload, so that no configuration of an embedding application changes a limit or an
//! answer.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::{HttpMessage as _, HttpRequest, web};
use bytes::BytesMut;
use dogwatch_actors::json::Tree;
use dogwatch_actors::{handle, json};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{Code, Problem};
use crate::limits::{BODIES_BYTES_MAX, REQUEST_BODY_TIMEOUT};

/// The room for the bodies that are being read, in KiB, [`BODIES_BYTES_MAX`] in all: one for all requests of a
/// mounting, found in its application data.
#[derive(Debug, Clone)]
pub(crate) struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_BYTES_MAX / 1024)))
    }
}

/// A body that is JSON by its own account. Not to be printed: there may be secrets in it.
pub(crate) struct Text {
    bytes: BytesMut,
    _room: Vec<OwnedSemaphorePermit>,
}

impl Text {
    /// What it says.
    pub(crate) fn tree(&self) -> Result<Tree<'_>, Problem> {
        Ok(json::read_tree(&self.bytes)?)
    }

    /// The same on its own.
    fn value(&self) -> Result<Value, Problem> {
        Ok(json::read(&self.bytes)?)
    }
}

/// The body as JSON; `None` when there is no body.
pub(crate) async fn read(
    req: &HttpRequest,
    body: web::Payload,
    limit: usize,
) -> Result<Option<Value>, Problem> {
    let text = text(req, body, limit).await?;
    text.map(|text| text.value()).transpose()
}

async fn text(req: &HttpRequest, body: web::Payload, limit: usize) -> Result<Option<Text>, Problem> {
    let (bytes, room) = whole(req, body, limit).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if !is_json(req) {
        return Err(Problem::new(
            Code::UnsupportedMediaType,
            "say what the body is: send the header `Content-Type: application/json`",
        ));
    }
    Ok(Some(Text { bytes, _room: room }))
}

/// The body as it is, whatever it is said to be. Only for routes that let nobody in without a key.
pub(crate) async fn read_bytes(
    req: &HttpRequest,
    body: web::Payload,
    limit: usize,
) -> Result<Vec<u8>, Problem> {
    whole(req, body, limit).await.map(|(bytes, _room)| bytes.into())
}

async fn whole(
    req: &HttpRequest,
    body: web::Payload,
    limit: usize,
) -> Result<(BytesMut, Vec<OwnedSemaphorePermit>), Problem> {
    if req.headers().contains_key(CONTENT_ENCODING) {
        return Err(Problem::new(Code::UnsupportedMediaType, "send the body without a Content-Encoding"));
    }
    let announced =
        req.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    let room = req.app_data::<Bodies>().cloned().unwrap_or_default();
    let collected = tokio::time::timeout(REQUEST_BODY_TIMEOUT, collect(body, limit, room)).await;
    collected.map_err(|_| {
        let seconds = REQUEST_BODY_TIMEOUT.as_secs();
        Problem::new(Code::BodyTimeout, format!("send the whole body within {seconds} seconds"))
    })?
}

/// Whether the body may be JSON. `curl -d` and `wget --post-data` call everything a form unless told otherwise,
/// and scripts in containers have little else; that is taken for JSON where a key goes along. Without a key it
/// could be the form of a foreign web page, which a browser sends without asking.
fn is_json(req: &HttpRequest) -> bool {
    let kind = req.content_type();
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    let has_key = req.headers().contains_key(AUTHORIZATION);
    is("application/json") || (has_key && (is("") || is("application/x-www-form-urlencoded")))
}

/// The body as JSON, which must be there.
pub(crate) async fn required(
    req: &HttpRequest,
    body: web::Payload,
    limit: usize,
    what: &str,
) -> Result<Value, Problem> {
    required_text(req, body, limit, what).await?.value()
}

/// The same as it came.
pub(crate) async fn required_text(
    req: &HttpRequest,
    body: web::Payload,
    limit: usize,
    what: &str,
) -> Result<Text, Problem> {
    let missing = || Problem::new(Code::MalformedJson, format!("the body is empty; send {what}"));
    text(req, body, limit).await?.ok_or_else(missing)
}

/// No body, or an empty object: of routes that take no input.
pub(crate) async fn nothing(req: &HttpRequest, body: web::Payload) -> Result<(), Problem> {
    match read(req, body, 1024).await? {
        None => Ok(()),
        Some(Value::Object(members)) if members.is_empty() => Ok(()),
        Some(_) => Err(Problem::invalid_request("this route takes no input; send no body")),
    }
}

async fn collect(
    mut body: web::Payload,
    limit: usize,
    Bodies(room): Bodies,
) -> Result<(BytesMut, Vec<OwnedSemaphorePermit>), Problem> {
    let (mut bytes, mut held) = (BytesMut::new(), Vec::new());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Problem::invalid_request("the body ended before it was complete"))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        let kib = u32::try_from(chunk.len().div_ceil(1024)).unwrap_or(u32::MAX);
        held.push(Arc::clone(&room).try_acquire_many_owned(kib).map_err(|_| no_room())?);
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, held))
}

fn no_room() -> Problem {
    let message = "the requests that are being sent at the moment are too large together".to_owned();
    Problem::from(handle::Error::Overloaded { message, retry_after: Duration::from_secs(1) })
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("at most {limit} bytes are accepted; pass larger data by reference"),
    )
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use actix_web::FromRequest as _;
    use actix_web::dev::Payload as RawPayload;
    use actix_web::error::PayloadError;
    use actix_web::test::TestRequest;
    use bytes::Bytes;
    use futures_util::stream::{self, Stream};

    use super::*;

    async fn read_stream(
        chunks: impl Stream<Item = Result<Bytes, PayloadError>> + 'static,
        limit: usize,
    ) -> Result<Option<Value>, Problem> {
        let req =
            TestRequest::default().insert_header(("content-type", "application/json")).to_http_request();
        let payload: Pin<Box<dyn Stream<Item = _>>> = Box::pin(chunks);
        let mut raw = RawPayload::Stream { payload };
        let body = web::Payload::from_request(&req, &mut raw).await.unwrap();
        read(&req, body, limit).await
    }

    #[test]
    fn what_simple_tools_send_is_json_where_a_key_goes_along() {
        for (kind, has_key, accepted) in [
            (Some("application/json"), false, true),
            (Some("Application/JSON; charset=utf-8"), false, true),
            (Some("application/x-www-form-urlencoded"), true, true),
            (None, true, true),
            (Some("application/x-www-form-urlencoded"), false, false),
            (None, false, false),
            (Some("text/plain"), true, false),
            (Some("multipart/form-data"), true, false),
        ] {
            let mut req = TestRequest::default();
            if let Some(kind) = kind {
                req = req.insert_header(("content-type", kind));
            }
            if has_key {
                req = req.insert_header(("authorization", "Bearer x"));
            }
            assert_eq!(is_json(&req.to_http_request()), accepted, "{kind:?} {has_key}");
        }
    }

    #[test]
    fn a_slow_body_is_cut_off() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let started = tokio::time::Instant::now();
            let drip = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Some((Ok(Bytes::from_static(b" ")), ()))
            });
            let error = read_stream(drip, 1024).await.unwrap_err();
            assert_eq!(error.document().code, Code::BodyTimeout);
            assert_eq!(started.elapsed(), REQUEST_BODY_TIMEOUT);
        });
    }

    #[actix_web::test]
    async fn a_body_that_does_not_say_its_length_is_bounded_too() {
        let long = stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 100]))).take(100);
        assert_eq!(read_stream(long, 1024).await.unwrap_err().document().code, Code::BodyTooLarge);
        let exact = stream::iter([Ok(Bytes::from_static(b"[1")), Ok(Bytes::from_static(b"]"))]);
        assert_eq!(read_stream(exact, 3).await, Ok(Some(serde_json::json!([1]))));
        let broken = stream::iter([Ok(Bytes::from_static(b"[1")), Err(PayloadError::Incomplete(None))]);
        assert_eq!(read_stream(broken, 1024).await.unwrap_err().document().code, Code::InvalidRequest);
    }
}
