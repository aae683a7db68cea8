//! A server with one job whose life a test writes: enough of the API to try the client and the program.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::{Bytes, Data, Path, Query};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::id::JobId;
use dogwatch_actors::job::spec::Spec;
use dogwatch_actors::job::view::{AttemptState, AttemptView, HistoryEntry, JobState, JobView};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The key that the fake server takes.
pub(crate) const KEY: &str = "dwk_a-key-for-tests-that-is-long-enough";

/// The id of its job.
pub(crate) const ID: JobId = JobId::from_bytes([1; 16]);

/// A job in this state.
pub(crate) fn job(state: JobState) -> JobView {
    JobView {
        id: ID,
        name: Some("fake".to_owned()),
        state,
        cause: None,
        message: None,
        attempt: 0,
        attempts: Vec::new(),
        progress: None,
        output: None,
        labels: BTreeMap::new(),
        created_at: Timestamp::from_millis(1_795_229_674_123),
        started_at: None,
        finished_at: None,
        usage: Default::default(),
        next_at: None,
        spec: Spec::process(["true"]).into(),
        links: BTreeMap::new(),
    }
}

/// An attempt that is over when it has a code.
pub(crate) fn attempt(number: u32, exit_code: Option<i32>) -> AttemptView {
    AttemptView {
        number,
        runtime_id: Some("4711".to_owned()),
        state: if exit_code.is_some() { AttemptState::Exited } else { AttemptState::Running },
        exit_code,
        cause: None,
        message: None,
        started_at: None,
        finished_at: None,
        usage: None,
    }
}

/// What the server says now.
#[derive(Debug, Clone)]
pub(crate) struct Play {
    /// The job.
    pub(crate) job: JobView,
    /// Per attempt, what it wrote to standard output and to standard error.
    pub(crate) logs: Vec<(Vec<String>, Vec<String>)>,
    /// Its history.
    pub(crate) history: Vec<HistoryEntry>,
    /// Answer every submission with this status and body.
    pub(crate) refusal: Option<(u16, Value)>,
}

impl Play {
    /// A job in this state that wrote nothing.
    pub(crate) fn new(job: JobView) -> Self {
        Self { job, logs: Vec::new(), history: Vec::new(), refusal: None }
    }
}

/// A submission that arrived.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Submission {
    pub(crate) spec: Value,
    pub(crate) key: Option<String>,
}

struct Shared {
    play: watch::Sender<Play>,
    submissions: Mutex<Vec<Submission>>,
}

/// The server. Dropped, it is gone, with every connection.
pub(crate) struct FakeApi {
    shared: Arc<Shared>,
    url: String,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl FakeApi {
    pub(crate) fn start(play: Play) -> Self {
        let shared = Arc::new(Shared { play: watch::Sender::new(play), submissions: Mutex::default() });
        let data = Data::from(Arc::clone(&shared));
        let (started, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || App::new().app_data(data.clone()).configure(routes);
                let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
                let address = server.addrs()[0];
                let server = server.run();
                started.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, handle) = address.recv_timeout(Duration::from_secs(20)).unwrap();
        Self { shared, url: format!("http://{address}"), handle, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Changes what the server says.
    pub(crate) fn play(&self, change: impl FnOnce(&mut Play)) {
        self.shared.play.send_modify(change);
    }

    pub(crate) fn submissions(&self) -> Vec<Submission> {
        self.shared.submissions.lock().unwrap().clone()
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        // The stop is ordered at once; only its completion would have to be awaited.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/livez", web::get().to(|| async { HttpResponse::Ok().json(json!({"status": "ok"})) }))
        .route("/readyz", web::get().to(readyz))
        .route(
            "/openapi.json",
            web::get().to(|| async { HttpResponse::Ok().json(json!({"info": {"version": "9.9.9"}})) }),
        )
        .route("/v1/jobs", web::post().to(submit))
        .route("/v1/jobs", web::get().to(list))
        .route("/v1/jobs/{id}", web::get().to(show))
        .route("/v1/jobs/{id}", web::delete().to(purge))
        .route("/v1/jobs/{id}/logs", web::get().to(logs))
        .route("/v1/jobs/{id}/history", web::get().to(history))
        .route("/v1/jobs/{id}/events/{name}", web::post().to(raise))
        .route("/v1/jobs/{id}/{command}", web::post().to(command))
        .route("/v1/events", web::get().to(events));
}

fn problem(status: u16, code: &str, detail: &str) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap();
    let body = json!({"type": "about:blank", "title": code, "status": status.as_u16(), "code": code, "detail": detail});
    HttpResponse::build(status).content_type("application/problem+json").body(body.to_string())
}

/// The refusal of a request without the key.
fn refused(req: &HttpRequest) -> Option<HttpResponse> {
    let given = req.headers().get("Authorization").and_then(|value| value.to_str().ok());
    (given != Some(&format!("Bearer {KEY}")))
        .then(|| problem(401, "unauthorized", "a valid API key is needed"))
}

/// The refusal of a request for another job.
fn unknown(req: &HttpRequest, id: &str) -> Option<HttpResponse> {
    refused(req)
        .or_else(|| (id != ID.to_string()).then(|| problem(404, "job_not_found", "there is no such job")))
}

async fn readyz() -> HttpResponse {
    HttpResponse::ServiceUnavailable().json(json!({"ready": false, "reasons": ["the store is full"]}))
}

async fn submit(shared: Data<Shared>, req: HttpRequest, body: Bytes) -> HttpResponse {
    if let Some(refusal) = refused(&req) {
        return refusal;
    }
    let key = req.headers().get("Idempotency-Key").map(|value| value.to_str().unwrap().to_owned());
    let spec = serde_json::from_slice(&body).unwrap();
    shared.submissions.lock().unwrap().push(Submission { spec, key });
    let play = shared.play.borrow();
    match &play.refusal {
        Some((status, body)) => {
            let status = actix_web::http::StatusCode::from_u16(*status).unwrap();
            HttpResponse::build(status).content_type("application/problem+json").body(body.to_string())
        }
        None => HttpResponse::Accepted().json(&play.job),
    }
}

async fn list(
    shared: Data<Shared>,
    req: HttpRequest,
    query: Query<BTreeMap<String, String>>,
) -> HttpResponse {
    if let Some(refusal) = refused(&req) {
        return refusal;
    }
    let job = shared.play.borrow().job.clone();
    let is_wanted = query.get("name").is_none_or(|name| Some(name) == job.name.as_ref());
    let jobs: Vec<JobView> = is_wanted.then_some(job).into_iter().collect();
    HttpResponse::Ok().json(json!({"jobs": jobs, "next_cursor": null}))
}

async fn show(
    shared: Data<Shared>,
    req: HttpRequest,
    id: Path<String>,
    query: Query<BTreeMap<String, String>>,
) -> HttpResponse {
    if let Some(refusal) = unknown(&req, &id) {
        return refusal;
    }
    let mut play = shared.play.subscribe();
    if let Some(wait) = query.get("wait") {
        let wait: dogwatch_actors::units::Span = wait.parse().unwrap();
        let over = play.wait_for(|play| play.job.state.is_terminal());
        drop(tokio::time::timeout(wait.as_duration(), over).await);
    }
    let job = play.borrow().job.clone();
    HttpResponse::Ok().json(job)
}

async fn purge(req: HttpRequest, id: Path<String>) -> HttpResponse {
    unknown(&req, &id).unwrap_or_else(|| HttpResponse::NoContent().finish())
}

async fn command(shared: Data<Shared>, req: HttpRequest, path: Path<(String, String)>) -> HttpResponse {
    if let Some(refusal) = unknown(&req, &path.0) {
        return refusal;
    }
    let job = shared.play.borrow().job.clone();
    if job.state.is_terminal() {
        return problem(409, "job_conflict", "the job is over");
    }
    HttpResponse::Accepted().json(job)
}

async fn raise(req: HttpRequest, path: Path<(String, String)>, body: Bytes) -> HttpResponse {
    if let Some(refusal) = unknown(&req, &path.0) {
        return refusal;
    }
    assert_eq!((path.1.as_str(), &body[..]), ("approved", &b"{\"by\":\"me\"}"[..]));
    HttpResponse::Accepted().json(json!({"state": "running", "duplicate": false}))
}

async fn history(
    shared: Data<Shared>,
    req: HttpRequest,
    id: Path<String>,
    query: Query<BTreeMap<String, String>>,
) -> HttpResponse {
    if let Some(refusal) = unknown(&req, &id) {
        return refusal;
    }
    let after: u64 = query["after"].parse().unwrap();
    // Pages of two, so that a client has to ask again.
    let rest: Vec<_> =
        shared.play.borrow().history.iter().filter(|entry| entry.seq > after).cloned().collect();
    let page = &rest[..rest.len().min(2)];
    let next = page.last().filter(|_| rest.len() > 2).map(|entry| entry.seq);
    HttpResponse::Ok().json(json!({"entries": page, "next_after": next}))
}

async fn logs(
    shared: Data<Shared>,
    req: HttpRequest,
    id: Path<String>,
    query: Query<BTreeMap<String, String>>,
) -> HttpResponse {
    if let Some(refusal) = unknown(&req, &id) {
        return refusal;
    }
    let attempt: usize = query.get("attempt").map_or(1, |text| text.parse().unwrap());
    let want_error = query.get("stream").is_some_and(|stream| stream == "stderr");
    let follow = query.contains_key("follow");
    let play = shared.play.subscribe();
    HttpResponse::Ok().content_type("text/plain").streaming(stream::unfold(
        (play, 0),
        move |(mut play, sent)| async move {
            loop {
                let (lines, is_over) = {
                    let now = play.borrow_and_update();
                    let logs = now.logs.get(attempt - 1).cloned().unwrap_or_default();
                    let lines = if want_error { logs.1 } else { logs.0 };
                    (lines, now.job.state.is_terminal() || now.job.attempt as usize > attempt)
                };
                if lines.len() > sent {
                    let text: String = lines[sent..].iter().map(|line| format!("{line}\n")).collect();
                    return Some((Ok::<_, std::io::Error>(Bytes::from(text)), (play, lines.len())));
                }
                if is_over || !follow || play.changed().await.is_err() {
                    return None;
                }
            }
        },
    ))
}

async fn events(shared: Data<Shared>, req: HttpRequest) -> HttpResponse {
    if let Some(refusal) = refused(&req) {
        return refusal;
    }
    let after: u64 = req.headers().get("Last-Event-ID").map_or(0, |id| id.to_str().unwrap().parse().unwrap());
    let play = shared.play.borrow();
    let frames: String = (play.history.iter().filter(|entry| entry.seq > after))
        .map(|entry| {
            let mut event = serde_json::to_value(entry).unwrap();
            event["id"] = json!(entry.seq);
            event["job"] = json!(ID);
            format!("id: {}\nevent: {}\ndata: {event}\n\n", entry.seq, entry.kind)
        })
        .collect();
    let beats = stream::pending::<Result<Bytes, std::io::Error>>();
    let first = stream::iter([Ok(Bytes::from(format!(": hello\n\n{frames}")))]);
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .streaming(futures_util::StreamExt::chain(first, beats))
}
