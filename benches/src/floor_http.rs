//! The floor for everything over HTTP: a bare actix-web server that reads the same JSON and answers with as many
//! bytes as ours, and stores nothing. It runs as a process of its own, like the server that is held against it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use actix_web::http::header::LOCATION;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::Value;

use crate::child::{Child, Usage, until};
use crate::error::{Error, Result, file};
use crate::http::Target;

/// How long it may take to listen.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What it answers.
#[derive(Debug, Clone)]
struct Answer(String);

/// Serves until its standard input closes, which it does with the process that started it. The port goes into
/// the file `tell`.
pub(crate) fn serve(answer_bytes: usize, tell: &Path) -> Result<()> {
    let answer = Data::new(Answer(body_of(answer_bytes)));
    // As many as serve the API.
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    actix_web::rt::System::new().block_on(async {
        let routes = move || {
            App::new()
                .app_data(Data::clone(&answer))
                .route("/livez", web::get().to(|| async { "{}" }))
                .route("/v1/jobs", web::post().to(submit))
                .route("/v1/jobs/{id}", web::get().to(show))
                .route("/v1/callbacks/{job}/{attempt}", web::post().to(callback))
        };
        let bound = HttpServer::new(routes).workers(threads).bind("127.0.0.1:0");
        let server =
            bound.map_err(|source| Error::Connection { what: "the bare server".to_owned(), source })?;
        let address = server.addrs().first().map(ToString::to_string).unwrap_or_default();
        std::fs::write(tell, address).map_err(file(tell))?;
        let server = server.disable_signals().run();
        let stop = server.handle();
        std::thread::spawn(move || {
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
            drop(stop.stop(false));
        });
        server.await.map_err(|source| Error::Connection { what: "the bare server".to_owned(), source })
    })
}

/// JSON of so many bytes.
fn body_of(bytes: usize) -> String {
    let frame = r#"{"id":"01939f6e-2d5c-7a00-8000-0123456789ab","filling":""}"#;
    let filling = "x".repeat(bytes.saturating_sub(frame.len()));
    frame.replace("\"\"", &format!("\"{filling}\""))
}

fn is_read(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|value| value.is_object())
}

async fn submit(answer: Data<Answer>, body: Bytes) -> HttpResponse {
    if !is_read(&body) {
        return HttpResponse::BadRequest().finish();
    }
    HttpResponse::Accepted()
        .insert_header((LOCATION, "/v1/jobs/01939f6e-2d5c-7a00-8000-0123456789ab"))
        .content_type("application/json")
        .body(answer.0.clone())
}

async fn show(answer: Data<Answer>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(answer.0.clone())
}

async fn callback(_: HttpRequest, body: Bytes) -> HttpResponse {
    if !is_read(&body) {
        return HttpResponse::BadRequest().finish();
    }
    HttpResponse::Ok().content_type("application/json").body(r#"{"state":"running","duplicate":false}"#)
}

/// One that runs.
#[derive(Debug)]
pub(crate) struct BareServer {
    child: Child,
    pub(crate) target: Target,
}

impl BareServer {
    /// Starts one that answers with so many bytes.
    pub(crate) async fn start(bench: &Path, dir: &Path, answer_bytes: usize) -> Result<Self> {
        let tell = dir.join("floor.address");
        let mut command = Command::new(bench);
        command
            .arg("floor-http")
            .arg("--answer-bytes")
            .arg(answer_bytes.to_string())
            .arg("--tell")
            .arg(&tell);
        let mut child = Child::start(&mut command, &dir.join("floor.log"))?;
        let address = until("the bare server listens", START_PATIENCE, async || {
            child.check()?;
            Ok(std::fs::read_to_string(&tell).ok().filter(|text| !text.is_empty()))
        })
        .await?;
        // As long as a root key, so that the requests are as long.
        let target = Target::new(&address, &"k".repeat(47))?;
        target.ask(&target.get("/v1/jobs/x"), 200).await?;
        Ok(Self { child, target })
    }

    pub(crate) fn usage(&self) -> Usage {
        self.child.usage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_length_that_was_asked_for() {
        let body = body_of(1_234);
        assert_eq!((body.len(), is_read(body.as_bytes())), (1_234, true));
        assert!(!is_read(b"[1]") && !is_read(b"{"));
    }
}
