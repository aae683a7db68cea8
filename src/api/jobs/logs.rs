//! `GET /v1/jobs/{id}/logs`: what the attempts wrote.
//!
//! The bytes go out as they were written, control characters included: they are for programs and terminals
//! of the client's choice, and the headers keep browsers from making anything else of them.

use actix_web::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use bytes::{BufMut as _, Bytes, BytesMut};
use dogwatch_actors::handle::{self, LogQuery};
use dogwatch_actors::runtime::{LogLine, LogStream};
use futures_util::stream::{BoxStream, Stream, StreamExt as _};

use crate::api::problem::Problem;
use crate::api::query::{Query, word};
use crate::api::state::{Api, Seat, job_id};
use crate::limits::LOG_TAIL_LINES_MAX;

/// Read a job's log
///
/// Lines as they were written, each with a line feed. A log that breaks off because it could not be read ends
/// without the last chunk, so that a client can tell it from a whole one.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/logs", tag = "jobs", operation_id = "get_job_logs",
    params(
        ("id" = String, Path, description = "The job"),
        ("attempt" = Option<u32>, Query, minimum = 1, description = "Of this attempt; default: the newest"),
        ("container" = Option<String>, Query, description = "Of this container of the job; default: the main one"),
        ("stream" = Option<LogStream>, Query, description = "Of this stream; default: both"),
        ("tail" = Option<usize>, Query, maximum = 100_000, description = "Only the last so many lines"),
        ("follow" = Option<bool>, Query, description = "Go on with new lines until the end"),
    ),
    responses((status = 200, description = "The lines", body = String, content_type = "text/plain")),
)]
pub(crate) async fn logs(api: Data<Api>, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let query = Query::read(&req, &["attempt", "container", "stream", "tail", "follow"])?;
    let id = job_id(&req)?;
    let wanted = LogQuery {
        attempt: query.one("attempt")?,
        stream: query.text("stream")?.map(|text| word("stream", text)).transpose()?,
        tail: match query.text("tail")? {
            None => None,
            Some(_) => Some(query.number("tail", 0..=LOG_TAIL_LINES_MAX, 0)?),
        },
        follow: query.one("follow")?.unwrap_or(false),
    };
    let seat = api.seats.take()?;
    let lines = match query.text("container")? {
        None => api.handle.logs(id, wanted)?,
        Some(name) => api.handle.container_logs(id, name, wanted)?.ok_or_else(|| {
            Problem::invalid_request(
                "`container` names no container of this job; see its spec for those that it has",
            )
        })?,
    };
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .streaming(body(lines, seat)))
}

fn body(
    lines: BoxStream<'static, handle::Result<LogLine>>,
    seat: Seat,
) -> impl Stream<Item = handle::Result<Bytes>> {
    lines.map(move |line| {
        // The seat lives as long as the stream that holds this closure.
        let _held = &seat;
        let line = line.inspect_err(|error| tracing::warn!(%error, "a log broke off"))?;
        let mut bytes = BytesMut::with_capacity(line.bytes.len() + 1);
        bytes.put(line.bytes);
        bytes.put_u8(b'\n');
        Ok(bytes.freeze())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::stream;
    use tokio::sync::Semaphore;

    use super::*;

    #[actix_web::test]
    async fn lines_go_out_as_they_are_and_the_seat_is_given_back() {
        let line = |text: &'static [u8]| {
            Ok(LogLine { at_nanos: 0, stream: LogStream::Stdout, bytes: Bytes::from_static(text) })
        };
        let seats = Arc::new(Semaphore::new(1));
        let seat = Arc::clone(&seats).try_acquire_owned().unwrap();
        let lines = stream::iter([line(b"\x1b[31mred\xff"), line(b""), Err(handle::Error::ShuttingDown)]);
        let sent: Vec<_> = body(lines.boxed(), seat).map(|chunk| chunk.ok()).collect().await;
        assert_eq!(
            sent,
            [Some(Bytes::from_static(b"\x1b[31mred\xff\n")), Some(Bytes::from_static(b"\n")), None]
        );
        assert_eq!(seats.available_permits(), 1);
    }
}
