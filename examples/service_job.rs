//! A job that is a web service: dogwatch starts it, waits until it is ready, calls its URL to start the work,
//! and polls it for progress until it says that it is done.
//!
//! `cargo run --example service_job` plays both parts: without arguments the application with a supervisor in
//! it, with `service` the web service, which knows nothing of dogwatch.

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use actix_web::web::{self, Data, Json};
use actix_web::{App, HttpResponse, HttpServer};
use dogwatch_actors::prelude::*;
use serde_json::{Value, json};

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shim = Shim::enter();
    if std::env::args().nth(1).as_deref() == Some("service") { serve().await } else { supervise(shim).await }
}

/// What the service was asked to do, and how far it is.
#[derive(Default)]
struct Work {
    wanted: AtomicU32,
    done: AtomicU32,
}

/// `POST /start`: begins, and answers at once.
async fn start(work: Data<Work>, body: Json<Value>) -> HttpResponse {
    let pages = body["pages"].as_u64().and_then(|pages| u32::try_from(pages).ok()).unwrap_or(1);
    println!("asked to print {pages} pages");
    work.wanted.store(pages, Ordering::SeqCst);
    HttpResponse::Accepted().json(json!({"accepted": pages}))
}

/// `GET /status`: any JSON is progress; one in the shape of a callback, `completed` or `failed`, is the end.
async fn status(work: Data<Work>) -> Json<Value> {
    let (wanted, done) = (work.wanted.load(Ordering::SeqCst), work.done.fetch_add(1, Ordering::SeqCst));
    println!("printed page {done} of {wanted}");
    Json(if done < wanted {
        json!({"pages": done})
    } else {
        json!({"event": "completed", "data": {"pages": done}})
    })
}

/// The service. It listens where `PORT` says, as services do everywhere.
async fn serve() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::var("PORT")?.parse()?;
    let work = Data::new(Work::default());
    let app = move || {
        let app = App::new().app_data(work.clone());
        app.route("/start", web::post().to(start)).route("/status", web::get().to(status))
    };
    HttpServer::new(app).workers(1).bind(("127.0.0.1", port))?.run().await?;
    Ok(())
}

/// The application.
async fn supervise(shim: Shim) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let home = Home::open(directory.path().join("jobs")).await?;
    let processes = home.processes(shim)?;
    let supervisor = home.builder().await?.runtime(processes).start().await?;
    let jobs = supervisor.handle();

    // A port that is free at this moment; a container would have its own.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let spec = json!({
        "args": [std::env::current_exe()?, "service"], "completion": "callback", "timeout": "1m",
        "service": {
            "port": port, "ready_timeout": "20s",
            "start": {"path": "/start", "body": {"pages": 3}},
            "status": {"path": "/status", "every": "100ms"},
        },
    });
    let spec = parse(&spec).map_err(|found| format!("{found:?}"))?;
    let id = jobs.submit(spec).await?.job.id;
    let job = jobs.wait(id, Duration::from_secs(60)).await?;
    for entry in jobs.history(id, 0, 100)? {
        println!("{:<18} {:<9} {}", entry.kind, entry.state.name(), entry.data);
    }
    println!("{}: {}", job.state.name(), job.output.unwrap_or_default());
    supervisor.shutdown().await;
    Ok(())
}
