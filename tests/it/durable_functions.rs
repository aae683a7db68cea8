//! The Durable Functions HTTP API: every route against a committed record of its answers, and a client of it that
//! nobody here wrote.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, web};
use dogwatch::api::Mount as _;
use dogwatch_actors::entity::batch::BatchOutcome;
use dogwatch_actors::handle::orchestrations::Orchestrations;
use dogwatch_actors::orchestration::executor::Remote;
use dogwatch_actors::orchestration::executor::remote::{Connection, Work, WorkerOptions};
use dogwatch_actors::orchestration::history::Outcome;
use dogwatch_actors::orchestration::{
    ActivityContext, Failure, OrchestrationContext, Payload as DataPayload, Registry, Result as CodeResult,
    Status,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::api_support::{Answer, Bench, KEY, auth, send};

const PATIENCE: Duration = Duration::from_secs(20);

async fn hello(ctx: OrchestrationContext, name: Option<String>) -> CodeResult<String> {
    let name = name.unwrap_or_else(|| "nobody".to_owned());
    ctx.set_custom_status(json!({"greeting": name}))?;
    ctx.activity("say_hello", name).await
}

async fn waits(ctx: OrchestrationContext, _: Value) -> CodeResult<Value> {
    ctx.event("go").await
}

async fn pauses(ctx: OrchestrationContext, _: Value) -> CodeResult<()> {
    ctx.timer(Duration::from_millis(1)).await;
    ctx.event::<Value>("go").await.map(drop)
}

async fn fails(ctx: OrchestrationContext, _: Value) -> CodeResult<()> {
    ctx.activity("never", ()).await
}

fn registry() -> Registry {
    Registry::new()
        .orchestration("Hello", hello)
        .orchestration("Waits", waits)
        .orchestration("Pauses", pauses)
        .orchestration("Fails", fails)
        .activity("say_hello", |_: ActivityContext, name: String| async move {
            Ok::<_, Failure>(format!("Hello {name}!"))
        })
        .activity("never", |_: ActivityContext, (): ()| async move {
            Err::<(), _>(Failure::new("never", "it never works"))
        })
}

async fn settled(client: &Orchestrations, id: &str, wanted: impl Fn(Status) -> bool) {
    let view = client.wait_for(id.parse().unwrap(), PATIENCE, |view| wanted(view.status)).await.unwrap();
    assert!(wanted(view.status), "{view:?}");
}

/// One request of the record: method, path and query, body, its content type, further headers.
struct Case(&'static str, &'static str, Option<&'static str>);

impl Case {
    fn request(&self) -> TestRequest {
        let separator = if self.1.contains('?') { '&' } else { '?' };
        let uri = format!("/ops/runtime/webhooks/durabletask{}{separator}code={KEY}", self.1);
        let mut request = TestRequest::with_uri(&uri)
            .method(Method::from_bytes(self.0.as_bytes()).unwrap())
            .insert_header(("host", "dogwatch.example"));
        if let Some(body) = self.2 {
            let kind = if body == "text" { "text/plain" } else { "application/json" };
            request = request.insert_header(("content-type", kind)).set_payload(body);
        }
        request
    }
}

/// What is different each time is replaced.
fn normal(text: &str) -> String {
    let mut out = text.replace(KEY, "<key>");
    // Times to the second, and ids of 32 hexadecimal digits.
    let is_time = |at: &str| {
        at.len() >= 20
            && at.is_char_boundary(20)
            && at[..20].bytes().zip(b"0000-00-00T00:00:00Z").all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                form => byte == *form,
            })
    };
    let is_id = |at: &str| at.len() >= 32 && at.as_bytes()[..32].iter().all(u8::is_ascii_hexdigit);
    let mut at = 0;
    while at < out.len() {
        if out.is_char_boundary(at) && is_time(&out[at..]) {
            out.replace_range(at..at + 20, "<time>");
        } else if out.is_char_boundary(at) && is_id(&out[at..]) {
            out.replace_range(at..at + 32, "<id>");
        }
        at += 1;
    }
    out
}

fn record(record: &mut String, case: &Case, answer: &Answer) {
    let Case(method, path, body) = case;
    writeln!(record, "{method} {path}").unwrap();
    if let Some(body) = body {
        writeln!(record, "> {body}").unwrap();
    }
    writeln!(record, "{}", answer.status).unwrap();
    for name in ["location", "retry-after", "content-type", "x-ms-continuation-token"] {
        if !answer.header(name).is_empty() {
            let value = if name == "x-ms-continuation-token" { "<token>" } else { answer.header(name) };
            writeln!(record, "{name}: {}", normal(value)).unwrap();
        }
    }
    writeln!(record, "{}\n", normal(&String::from_utf8_lossy(&answer.body))).unwrap();
}

/// `DOGWATCH_BLESS=1` writes the record instead.
#[actix_web::test]
async fn every_route_answers_as_the_extension_does() {
    let bench = Bench::start_as(|builder| builder.orchestrations(registry())).await;
    let client = bench.handle.orchestrations();
    let scope = web::scope("/ops").configure(bench.handle.configure(auth()));
    let app = init_service(App::new().service(scope)).await;
    let mut text = String::new();
    let over = |status: Status| status.is_terminal();
    let running = |status: Status| status == Status::Running;
    type Until<'a> = Option<(&'a str, &'a dyn Fn(Status) -> bool)>;
    let cases: &[(Case, Until<'_>)] = &[
        (Case("POST", "/orchestrators/Waits/w1", Some("{\"a\":1}")), Some(("w1", &running))),
        (Case("POST", "/orchestrators/Waits/w1", None), None),
        (Case("POST", "/orchestrators/Nobody", None), None),
        (Case("POST", "/orchestrators/Hello/h0", Some("{oops")), None),
        (Case("POST", "/Orchestrators/Hello/bad%20id", None), None),
        (Case("POST", "/orchestrators/Hello/h1?timeout=20&pollingInterval=1", Some("\"Ada\"")), None),
        (Case("POST", "/orchestrators/Hello/h2?timeout=1&pollingInterval=2", None), None),
        (Case("POST", "/orchestrators/Fails/f1?timeout=20", None), Some(("f1", &over))),
        (Case("POST", "/orchestrators/Pauses/p1?timeout=0.05", None), Some(("p1", &running))),
        (Case("POST", "/orchestrators/Hello/h3?version=9.9.9", None), None),
        (Case("GET", "/instances/w1", None), None),
        (Case("GET", "/INSTANCES/w1?showInput=false", None), None),
        (Case("GET", "/instances/h1", None), None),
        (Case("GET", "/instances/h1?showHistory=true&showHistoryOutput=true&showInput=false", None), None),
        (Case("GET", "/instances/h1?showHistory=true", None), None),
        (Case("GET", "/instances/f1?showHistory=true", None), None),
        (Case("GET", "/instances/f1?returnInternalServerErrorOnFailure=true", None), None),
        (Case("GET", "/instances/nobody", None), None),
        (Case("GET", "/instances/?runtimeStatus=Completed,Failed", None), None),
        (Case("GET", "/instances?top=1", None), None),
        (Case("GET", "/instances?instanceIdPrefix=w&showInput=false", None), None),
        (Case("GET", "/instances?runtimeStatus=Canceled", None), None),
        (Case("GET", "/instances?runtimeStatus=Sleeping", None), None),
        (Case("GET", "/instances?createdTimeFrom=2001-01-01&createdTimeTo=2001-01-02", None), None),
        (Case("POST", "/instances/w1/raiseEvent/go", Some("text")), None),
        (Case("POST", "/instances/w1/raiseEvent/go", Some("{oops")), None),
        (Case("POST", "/instances/nobody/raiseEvent/go", Some("1")), None),
        (Case("POST", "/instances/w1/suspend?reason=lunch", None), None),
        (Case("GET", "/instances/w1", None), None),
        (Case("POST", "/instances/w1/resume?reason=back", None), None),
        (Case("POST", "/instances/w1/RaiseEvent/go", Some("{\"b\":2}")), Some(("w1", &over))),
        (Case("GET", "/instances/w1?showHistory=true&showHistoryOutput=true", None), None),
        (Case("POST", "/instances/w1/raiseEvent/go", Some("1")), None),
        (Case("POST", "/instances/w1/suspend", None), None),
        (Case("POST", "/instances/w1/resume", None), None),
        (Case("POST", "/instances/w1/terminate?reason=late", None), None),
        (Case("POST", "/instances/w1/rewind?reason=late", None), None),
        (Case("POST", "/instances/p1/rewind?reason=early", None), None),
        (Case("POST", "/instances/p1/restart", None), None),
        (Case("POST", "/instances/p1/terminate?reason=enough", None), Some(("p1", &over))),
        (Case("GET", "/instances/p1?showHistory=true", None), None),
        (Case("POST", "/instances/f1/rewind?reason=again", None), Some(("f1", &over))),
        (Case("POST", "/instances/nobody/rewind", None), None),
        (Case("POST", "/instances/nobody/terminate", None), None),
        (Case("POST", "/instances/nobody/restart", None), None),
        (Case("POST", "/instances/h1/restart", None), None),
        (Case("POST", "/instances/h1/restart?restartWithNewInstanceId=false&timeout=20", None), None),
        (Case("DELETE", "/instances/h1", None), None),
        (Case("DELETE", "/instances/h1", None), None),
        (Case("DELETE", "/instances", None), None),
        (Case("DELETE", "/instances?createdTimeFrom=2001-01-01&createdTimeTo=2001-01-02", None), None),
        (Case("DELETE", "/instances?createdTimeFrom=2001-01-01&runtimeStatus=Running", None), None),
        (Case("DELETE", "/instances?createdTimeFrom=2001-01-01&runtimeStatus=Failed", None), None),
        (Case("GET", "/entities/counter/one", None), None),
        (Case("GET", "/entities", None), None),
        (Case("POST", "/entities/counter/one", Some("1")), None),
        (Case("POST", "/entities/counter/one?op=add", Some("{oops")), None),
        (Case("POST", "/entities/counter/bad%0Akey?op=add", Some("1")), None),
        (Case("GET", "/entities?lastOperationTimeFrom=yesterday", None), None),
        (Case("POST", "/makeprimary", None), None),
        (Case("PUT", "/instances/w1", None), None),
        (Case("GET", "/nothing", None), None),
    ];
    for (case, until) in cases {
        let answer = send(&app, case.request()).await;
        record(&mut text, case, &answer);
        if let Some((id, wanted)) = until {
            settled(&client, id, wanted).await;
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/durable_functions.txt");
    if std::env::var_os("DOGWATCH_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    for (ours, theirs) in text.split("\n\n").zip(committed.split("\n\n")) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(text.len(), committed.len());
}

/// Adds what it is given up, for as many batches as there are.
async fn counter(worker: Connection, remote: Remote, done: mpsc::Sender<usize>) {
    while let Some(item) = worker.next().await {
        let Work::Batch(batch) = &item.work else { panic!("{item:?}") };
        let mut sum = batch.state.value().as_i64().unwrap_or(0);
        let mut gone = false;
        for (_, operation) in &batch.operations {
            gone = operation.operation == "delete";
            sum = if gone { 0 } else { sum + operation.input.value().as_i64().unwrap_or(100) };
        }
        let results = batch.operations.iter().map(|_| Outcome::Completed(DataPayload::NONE)).collect();
        let state = if gone { DataPayload::NONE } else { DataPayload::Text(sum.to_string()) };
        remote.complete_batch(&item.token, BatchOutcome { results, state, ..BatchOutcome::default() }).await;
        done.send(batch.operations.len()).await.unwrap();
    }
}

#[actix_web::test]
async fn entities_are_signalled_read_listed_and_deleted() {
    let bench = Bench::start_as(|builder| builder.workers(true)).await;
    let remote = bench.handle.workers().unwrap().clone();
    let options = WorkerOptions { hub: "default".to_owned(), ..WorkerOptions::default() };
    let (told, mut done) = mpsc::channel(8);
    actix_web::rt::spawn(counter(remote.connect(options), remote.clone(), told));
    let mut did = async |mut operations: usize| {
        while operations > 0 {
            let batch = tokio::time::timeout(PATIENCE, done.recv()).await.expect("the entity is busy");
            operations -= batch.unwrap();
        }
    };
    let scope = web::scope("/ops").configure(bench.handle.configure(auth()));
    let app = init_service(App::new().service(scope)).await;
    let post = |path: &'static str, body: &'static str, kind: &'static str| {
        Case("POST", path, None).request().insert_header(("content-type", kind)).set_payload(body)
    };
    assert_eq!(send(&app, post("/entities/Counter/one?op=add", "40", "application/json")).await.status, 202);
    assert_eq!(send(&app, post("/Entities/counter/one?op=add", "2", "application/json")).await.status, 202);
    assert_eq!(send(&app, post("/entities/counter/$?op=add", "words", "text/plain")).await.status, 202);
    did(3).await;
    let answer = send(&app, Case("GET", "/entities/COUNTER/one", None).request()).await;
    assert_eq!((answer.status, answer.body.as_ref()), (200, b"42".as_slice()));
    let list = async |path: &'static str| send(&app, Case("GET", path, None).request()).await.json();
    let all = list("/entities/counter?fetchState=true").await;
    let told: Vec<_> =
        all.as_array().unwrap().iter().map(|one| (&one["entityId"]["key"], &one["state"])).collect();
    assert_eq!(told, [(&json!(""), &json!(100)), (&json!("one"), &json!(42))]);
    assert_eq!(list("/entities?top=1").await[0].get("state"), None);
    assert_eq!(list("/entities/other").await, json!([]));
    assert_eq!(list("/entities?lastOperationTimeTo=2001-01-01").await, json!([]));
    assert_eq!(send(&app, Case("DELETE", "/entities/counter/one", None).request()).await.status, 202);
    did(1).await;
    assert_eq!(send(&app, Case("GET", "/entities/counter/one", None).request()).await.status, 404);
}

#[actix_web::test]
async fn a_list_goes_on_where_its_token_says() {
    let bench = Bench::start_as(|builder| builder.orchestrations(registry())).await;
    let scope = web::scope("").configure(bench.handle.configure(auth()));
    let app = init_service(App::new().service(scope)).await;
    let base = "/runtime/webhooks/durabletask";
    for number in 0..5 {
        let uri = format!("{base}/orchestrators/Waits/i{number}?code={KEY}");
        assert_eq!(send(&app, TestRequest::post().uri(&uri)).await.status, 202);
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let uri = format!("{base}/instances?top=2&code={KEY}");
        let request = TestRequest::get().uri(&uri).insert_header(("x-ms-continuation-token", token.as_str()));
        let answer = send(&app, request).await;
        let page = answer.json();
        seen.extend(
            page.as_array().unwrap().iter().map(|one| one["instanceId"].as_str().unwrap().to_owned()),
        );
        token = answer.header("x-ms-continuation-token").to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["i4", "i3", "i2", "i1", "i0"]);
}

#[actix_web::test]
async fn a_key_is_needed_wherever_it_is_sent() {
    let bench = Bench::start_as(|builder| builder.orchestrations(registry())).await;
    let scope = web::scope("").configure(bench.handle.configure(auth()));
    let app = init_service(App::new().service(scope)).await;
    let get =
        |query: &str| TestRequest::get().uri(&format!("/runtime/webhooks/durabletask/instances{query}"));
    for bad in [get(""), get("?code=wrong"), get("").insert_header(("x-functions-key", "wrong"))] {
        let answer = send(&app, bad).await;
        assert_eq!(answer.status, 401);
        assert!(answer.json()["Message"].is_string());
    }
    let good = [
        get(&format!("?code={KEY}")),
        get(&format!("?CODE={KEY}")),
        get("").insert_header(("x-functions-key", KEY)),
        get("").insert_header(("authorization", format!("Bearer {KEY}"))),
    ];
    for good in good {
        assert_eq!(send(&app, good).await.status, 200);
    }
    // A key that was not in the URL does not come to be in one.
    let uri = "/runtime/webhooks/durabletask/orchestrators/Waits";
    let start = TestRequest::post().uri(uri).insert_header(("x-functions-key", KEY));
    let answer = send(&app, start).await;
    assert!(!String::from_utf8_lossy(&answer.body).contains(KEY));
}

/// The crate `azure-functions-durable`, a client of 2020, in a program of its own: see `tests/clients`.
#[actix_web::test]
async fn a_client_that_nobody_here_wrote_drives_it() {
    let bench = Bench::start_as(|builder| builder.orchestrations(registry())).await;
    let (handle, keys) = (bench.handle.clone(), auth());
    let configure = handle.configure(keys);
    let server = actix_web::HttpServer::new(move || App::new().configure(configure.clone())).workers(1);
    let server = server.bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let stop = server.handle();
    actix_web::rt::spawn(server);
    let client = tokio::task::spawn_blocking(move || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/azure-functions-durable");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("azure-functions-durable");
        let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
        cargo.args(["run", "--quiet", "--locked", "--target-dir"]).arg(target).current_dir(folder);
        cargo.arg("--").args([&format!("http://{address}"), KEY]).output().unwrap()
    });
    let done = client.await.unwrap();
    stop.stop(false).await;
    let (said, log) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}\n{log}");
    assert_eq!(said, "everything was answered as this client expects\n");
}
