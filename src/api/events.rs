//! `GET /v1/events`: the events of all jobs as they happen (server-sent events).
//!
//! Resumable: every event carries its number as `id`, and a client that comes back with it misses nothing.
//! The stream is pulled by the client's connection, so that a slow client slows only itself.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use dogwatch_actors::handle;
use dogwatch_actors::job::view::EventView;
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};

use super::problem::Problem;
use super::query::Query;
use super::state::{Api, Seat};
use crate::limits::{EVENT_HEARTBEAT, EVENT_RECONNECT_MILLIS};

/// The header with which a browser continues a stream.
const LAST_EVENT_ID: &str = "Last-Event-ID";

/// Follow all events
///
/// Server-sent events: `id` is the event's number over all jobs, `event` its type, `data` the event as JSON.
/// A comment is sent when nothing happens for 15 seconds.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "follow_events",
    params(
        ("Last-Event-ID" = Option<u64>, Header, description = "Go on behind this event; wins over `after`"),
        ("after" = Option<u64>, Query, description = "Go on behind this event; 0: from the oldest kept; default: new ones"),
    ),
    responses((status = 200, description = "The stream of events", body = EventView, content_type = "text/event-stream")),
)]
pub(crate) async fn follow(api: Data<Api>, req: HttpRequest) -> Result<HttpResponse, Problem> {
    let query = Query::read(&req, &["after"])?;
    let after = query.one("after")?;
    let after = last_event_id(&req)?.or(after);
    let seat = api.seats.take()?;
    let frames = body(api.handle.events(after), seat);
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // Proxies that buffer would hold events back.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(frames))
}

fn last_event_id(req: &HttpRequest) -> Result<Option<u64>, Problem> {
    let Some(value) = req.headers().get(LAST_EVENT_ID) else { return Ok(None) };
    let text = value.to_str().unwrap_or("?").trim();
    if text.is_empty() {
        return Ok(None);
    }
    let bad =
        |_| Problem::invalid_request("the header Last-Event-ID is not valid; send the `id` of an event");
    text.parse().map(Some).map_err(bad)
}

/// The frames of a stream: how soon to come back, then every event, and a comment after each long silence.
fn body(
    events: BoxStream<'static, handle::Result<EventView>>,
    seat: Seat,
) -> impl Stream<Item = handle::Result<Bytes>> {
    let greeting = Bytes::from(format!("retry: {EVENT_RECONNECT_MILLIS}\n\n"));
    let frames = stream::unfold((events, seat), |(mut events, seat)| async move {
        let frame = match tokio::time::timeout(EVENT_HEARTBEAT, events.next()).await {
            Err(_) => Ok(Bytes::from_static(b": nothing happened\n\n")),
            Ok(Some(Ok(event))) => Ok(frame(&event)),
            Ok(Some(Err(error))) => {
                tracing::warn!(%error, "an event stream broke off");
                Err(error)
            }
            Ok(None) => return None,
        };
        Some((frame, (events, seat)))
    });
    stream::once(async move { Ok(greeting) }).chain(frames)
}

fn frame(event: &EventView) -> Bytes {
    // JSON has no raw line break, and the type is one of our own words; both are one line.
    let data = serde_json::to_string(event).expect("an event is JSON");
    Bytes::from(format!("id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.entry.kind))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::test::TestRequest;
    use dogwatch_actors::clock::Timestamp;
    use dogwatch_actors::job::view::{HistoryEntry, JobState};
    use serde_json::json;
    use tokio::sync::Semaphore;

    use super::*;

    fn event(id: u64) -> EventView {
        EventView {
            id,
            job: "01939f6e-2d5c-7a00-8000-0123456789ab".parse().unwrap(),
            name: None,
            entry: HistoryEntry {
                seq: 1,
                at: Timestamp::from_millis(0),
                kind: "submitted".to_owned(),
                state: JobState::Queued,
                attempt: None,
                message: None,
                data: json!({"text": "two\nlines"}),
            },
        }
    }

    fn seat() -> Seat {
        Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
    }

    #[actix_web::test]
    async fn a_frame_is_one_event() {
        let events = stream::iter([Ok(event(7)), Err(handle::Error::ShuttingDown)]).boxed();
        let sent: Vec<_> = body(events, seat()).collect().await;
        assert_eq!(sent[0].as_ref().unwrap(), "retry: 2000\n\n");
        let frame = String::from_utf8(sent[1].as_ref().unwrap().to_vec()).unwrap();
        let lines: Vec<&str> = frame.lines().collect();
        assert_eq!(lines[..2], ["id: 7", "event: submitted"]);
        let data: EventView = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((data, lines.len()), (event(7), 4));
        assert!(sent[2].is_err() && sent.len() == 3);
    }

    #[test]
    fn silence_is_filled_with_comments() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let started = tokio::time::Instant::now();
            let mut frames = Box::pin(body(stream::pending().boxed(), seat()));
            frames.next().await.unwrap().unwrap();
            assert_eq!(frames.next().await.unwrap().unwrap(), ": nothing happened\n\n");
            assert_eq!(started.elapsed().as_secs(), 15);
        });
    }

    #[test]
    fn the_last_event_id_is_a_number_or_nothing() {
        let read = |value: &str| {
            last_event_id(&TestRequest::default().insert_header((LAST_EVENT_ID, value)).to_http_request())
        };
        assert_eq!(read("12"), Ok(Some(12)));
        assert_eq!(read(""), Ok(None));
        assert!(read("x").is_err());
        assert_eq!(last_event_id(&TestRequest::default().to_http_request()), Ok(None));
    }
}
