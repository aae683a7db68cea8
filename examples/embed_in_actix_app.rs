//! A larger actix-web application with dogwatch inside: a handler of its own submits a job, and dogwatch's
//! whole API is mounted under `/dogwatch`.
//!
//! `cargo run --example embed_in_actix_app` starts it on a free port, orders one report from itself, prints
//! it and ends; with `--serve` it goes on serving.

use std::error::Error;
use std::time::Duration;

use actix_web::web::{self, Data, Json, Path};
use actix_web::{App, HttpServer, error};
use dogwatch::api::{Auth, Mount as _};
use dogwatch_actors::prelude::*;
use dogwatch_actors::secret::Secret;
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

/// `POST /customers/{name}/report`: the application's own route. It answers when the report is done; the job
/// would go on, and be found again, if the application died meanwhile.
async fn report(jobs: Data<Handle>, customer: Path<String>) -> actix_web::Result<Json<Value>> {
    let spec = parse(&json!({
        "name": "report", "labels": {"team": "sales"}, "env": {"CUSTOMER": customer.as_str()},
        "args": ["sh", "-c", "echo \"report for $CUSTOMER\""], "timeout": "1m",
    }));
    let spec = spec.map_err(|found| error::ErrorInternalServerError(format!("{found:?}")))?;
    let submitted = jobs.submit(spec).await.map_err(error::ErrorServiceUnavailable)?;
    let job = jobs.wait(submitted.job.id, Duration::from_secs(60)).await;
    let job = job.map_err(error::ErrorServiceUnavailable)?;
    let log = jobs.logs(job.id, LogQuery::default()).map_err(error::ErrorServiceUnavailable)?;
    let lines: Vec<_> = log.try_collect().await.map_err(error::ErrorServiceUnavailable)?;
    let lines: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(&line.bytes)).collect();
    Ok(Json(json!({"job": job.id, "state": job.state, "report": lines})))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // First of all: attempts are watched by small processes that are started as this very program.
    let shim = Shim::enter();

    // A directory of its own: two supervisors never share one.
    let directory = tempfile::tempdir()?;
    let home = Home::open(directory.path().join("jobs")).await?;
    let processes = home.processes(shim)?;
    let supervisor = home.builder().await?.runtime(processes).start().await?;
    let jobs = supervisor.handle();

    // Made once, cloned into every worker. A key of at least 32 characters protects what is mounted.
    let key = "an-example-key-that-nobody-else-knows";
    let routes = jobs.configure(Auth::keys([&Secret::new(key)])?);
    let shared = Data::new(jobs);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .route("/customers/{name}/report", web::post().to(report))
            .service(web::scope("/dogwatch").configure(routes.clone()))
    });
    let server = server.workers(1).bind(("127.0.0.1", 0))?;
    let base = format!("http://{}", server.addrs()[0]);
    println!("listening on {base}; dogwatch is under {base}/dogwatch with the key {key}");
    let server = server.run();
    if !std::env::args().any(|argument| argument == "--serve") {
        let stop = server.handle();
        actix_web::rt::spawn(async move {
            match visit(&base, key).await {
                Ok(answer) => println!("{answer}"),
                Err(error) => eprintln!("the visit failed: {error}"),
            }
            stop.stop(true).await;
        });
    }
    server.await?;
    supervisor.shutdown().await;
    Ok(())
}

/// What a client of the application does, and one of dogwatch's API in it.
async fn visit(base: &str, key: &str) -> Result<String, Box<dyn Error>> {
    dogwatch::client::install_tls();
    let http = reqwest::Client::builder().no_proxy().build()?;
    let order = http.post(format!("{base}/customers/ada/report")).send().await?;
    let report: Value = serde_json::from_slice(&order.bytes().await?)?;
    let list = http.get(format!("{base}/dogwatch/v1/jobs?label=team:sales")).bearer_auth(key);
    let list: Value = serde_json::from_slice(&list.send().await?.bytes().await?)?;
    let known = list["jobs"][0]["id"] == report["job"];
    Ok(format!("{} ({}); the API under /dogwatch knows it: {known}", report["report"][0], report["state"]))
}
