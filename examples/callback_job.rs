//! A job that says itself how it goes: it reports progress and completes by calling back.
//!
//! `cargo run --example callback_job` plays both parts: started without arguments it is the application with a
//! supervisor in it; started by that supervisor with `work` it is the job, which could be written in anything
//! that can make an HTTP request.

use std::error::Error;
use std::time::Duration;

use actix_web::{App, HttpServer};
use dogwatch::api::Mount as _;
use dogwatch_actors::prelude::*;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shim = Shim::enter();
    if std::env::args().nth(1).as_deref() == Some("work") { work().await } else { supervise(shim).await }
}

/// The job. The address and the token are in its environment; the token is good for this attempt only.
async fn work() -> Result<(), Box<dyn Error>> {
    let (url, token) = (std::env::var("DOGWATCH_CALLBACK_URL")?, std::env::var("DOGWATCH_CALLBACK_TOKEN")?);
    dogwatch::client::install_tls();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let call = async |body: Value| http.post(&url).bearer_auth(&token).json(&body).send().await;
    for row in 1..=3 {
        println!("importing row {row}");
        call(json!({"event": "progress", "data": {"rows": row}})).await?.error_for_status()?;
    }
    // With an `id` of its own a repetition is recognised, so it may be sent until it is heard.
    let done = json!({"event": "completed", "id": "done", "data": {"rows": 3}});
    while !call(done.clone()).await.is_ok_and(|answer| answer.status().is_success()) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// The application.
async fn supervise(shim: Shim) -> Result<(), Box<dyn Error>> {
    // Attempts must be able to reach the callback route and nothing else: it has a listener of its own.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let callbacks = format!("http://{}", listener.local_addr()?);

    let directory = tempfile::tempdir()?;
    let home = Home::open(directory.path().join("jobs")).await?;
    let processes = home.processes(shim)?;
    let supervisor =
        home.builder().await?.runtime(processes).callback_url("process", callbacks).start().await?;
    let jobs = supervisor.handle();
    let routes = jobs.configure_callbacks();
    let server = HttpServer::new(move || App::new().configure(routes.clone())).workers(1).listen(listener)?;
    let server = server.run();
    let stop = server.handle();
    actix_web::rt::spawn(server);

    // `callback`: only what it says itself counts; an exit without a word is a failure.
    let program = std::env::current_exe()?;
    let spec = json!({"args": [program, "work"], "completion": "callback", "timeout": "1m"});
    let spec = parse(&spec).map_err(|found| format!("{found:?}"))?;
    let mut events = jobs.events(None);
    let id = jobs.submit(spec).await?.job.id;
    while let Some(event) = events.next().await {
        let entry = event?.entry;
        println!("{:<18} {:<9} {}", entry.kind, entry.state.name(), entry.data);
        if entry.state.is_terminal() {
            break;
        }
    }
    let job = jobs.job(id)?;
    println!("{} in attempt {}: {}", job.state.name(), job.attempt, job.output.unwrap_or_default());
    stop.stop(true).await;
    supervisor.shutdown().await;
    Ok(())
}
