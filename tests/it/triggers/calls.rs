//! Calls and messages, what is refused, the command line and the configuration.

use std::process::Stdio;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{ask, put, until};
use crate::bench::{Bench, On};
use crate::cli_binary::{program, text};

/// A trigger whose jobs write down what they are called with.
fn noting(bench: &Bench, more: Value) -> Value {
    let file = bench.path().join("noted");
    let script = format!(
        "printf '%s %s\\n' \"$DOGWATCH_TRIGGER_ITEM\" \"$DOGWATCH_OBJECT_BODY\" >> {}",
        file.display()
    );
    let mut trigger = json!({"job": {"args": ["sh", "-c", script]}});
    for (key, value) in more.as_object().unwrap() {
        trigger[key] = value.clone();
    }
    trigger
}

fn noted(bench: &Bench) -> Vec<String> {
    let text = std::fs::read_to_string(bench.path().join("noted")).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A call: its status, whether it is one that came before, and the answer.
async fn call(
    bench: &Bench,
    name: &str,
    token: Option<&str>,
    key: Option<&str>,
    body: &str,
) -> (u16, bool, Value) {
    let mut request = bench.http().post(format!("{}/v1/triggers/{name}", bench.url()));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    let request = request.header("Content-Type", "application/json").body(body.to_owned());
    let answer = request.send().await.unwrap();
    let (status, replayed) =
        (answer.status().as_u16(), answer.headers().contains_key("idempotency-replayed"));
    (status, replayed, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

#[actix_web::test]
async fn a_call_needs_the_token_of_its_trigger_and_is_one_job() {
    let mut bench = Bench::start(On::Process).await;
    let hooked = put(&bench, "hooked", &noting(&bench, json!({"http": {"body_max": 100}}))).await;
    let other = put(&bench, "other", &noting(&bench, json!({"http": {}}))).await;
    let (token, foreign) = (hooked["token"].as_str().unwrap(), other["token"].as_str().unwrap());
    assert!(
        put(&bench, "hooked", &noting(&bench, json!({"http": {"body_max": 99}})))
            .await
            .get("token")
            .is_none()
    );
    assert!(!bench.get("/v1/triggers/hooked").await.to_string().contains(token), "it is shown once");
    let root = std::fs::read_to_string(bench.path().join("root.key")).unwrap();
    for (name, presented) in [
        ("hooked", None),
        ("hooked", Some("")),
        ("hooked", Some(foreign)),
        ("hooked", Some(&token[..token.len() - 1])),
        ("hooked", Some(root.trim())),
        ("nowhere", Some(token)),
        ("No", Some(token)),
    ] {
        let (status, _, problem) = call(&bench, name, presented, None, "{}").await;
        assert_eq!(
            (status, &problem["code"]),
            (401, &json!("unauthorized")),
            "{name} {presented:?}: {problem}"
        );
    }
    // A token opens nothing else.
    let answer =
        bench.http().get(format!("{}/v1/triggers/hooked", bench.url())).bearer_auth(token).send().await;
    assert_eq!(answer.unwrap().status().as_u16(), 401);

    let (status, replayed, called) = call(&bench, "hooked", Some(token), Some("k1"), "{\"n\":1}").await;
    assert_eq!((status, replayed, &called["id"]), (202, false, &json!(1)), "{called}");
    let job = called["item"]["job"].as_str().unwrap().to_owned();
    bench.restart(Signal::KILL).await;
    let (status, replayed, again) = call(&bench, "hooked", Some(token), Some("k1"), "{\"n\":1}").await;
    assert_eq!((status, replayed, &again["item"]["job"]), (202, true, &json!(job)), "{again}");
    let (status, _, problem) = call(&bench, "hooked", Some(token), Some("k1"), "{\"n\":2}").await;
    assert_eq!((status, &problem["code"]), (422, &json!("idempotency_mismatch")), "{problem}");
    for body in ["{\"n\":3}", "{\"n\":3}"] {
        assert_eq!(call(&bench, "hooked", Some(token), None, body).await.0, 202);
    }
    for (key, body, status, code) in [
        (Some("a b"), "{}", 400, "invalid_request"),
        (None, "a\u{0}b", 422, "invalid_spec"),
        (None, &*"x".repeat(100), 413, "body_too_large"),
    ] {
        let (found, _, problem) = call(&bench, "hooked", Some(token), key, body).await;
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{body}: {problem}");
    }
    bench.eventually("all calls are noted", async || (noted(&bench).len() == 3).then_some(())).await;
    assert_eq!(noted(&bench), ["1 {\"n\":1}", "2 {\"n\":3}", "3 {\"n\":3}"]);

    let (status, fresh) = bench.post("/v1/triggers/hooked/rotate", &Value::Null).await;
    let fresh = fresh["token"].as_str().unwrap();
    assert_eq!((status, fresh == token), (200, false));
    assert_eq!(call(&bench, "hooked", Some(token), None, "").await.0, 401);
    assert_eq!(call(&bench, "hooked", Some(fresh), None, "").await.0, 202);
    assert_eq!(bench.post("/v1/triggers/hooked/pause", &Value::Null).await.0, 200);
    let (status, _, kept) = call(&bench, "hooked", Some(fresh), None, "later").await;
    assert_eq!((status, &kept["item"]["state"]), (202, &json!("pending")), "{kept}");
    assert_eq!(bench.post("/v1/triggers/hooked/resume", &Value::Null).await.0, 200);
    bench
        .eventually("it goes on", async || noted(&bench).contains(&"5 later".to_owned()).then_some(()))
        .await;
}

#[actix_web::test]
async fn every_message_of_a_queue_is_one_job_whatever_is_killed() {
    let mut bench = Bench::start(On::Process).await;
    let (status, _) = ask(&bench, Method::PUT, "/v1/queues/orders", Some(&json!({}))).await;
    assert_eq!(status, 201);
    let slowly = json!({"queue": {"name": "orders"}, "parallelism": 4});
    put(&bench, "ordered", &noting(&bench, slowly)).await;
    let messages: Vec<Value> = (0..30).map(|n| json!({"body": {"n": n}})).collect();
    assert_eq!(bench.post("/v1/queues/orders/messages", &json!({"messages": messages})).await.0, 201);
    for part in [1, 2] {
        bench.eventually("some are done", async || (noted(&bench).len() >= part * 8).then_some(())).await;
        bench.restart(Signal::KILL).await;
    }
    let large = json!({"body": "x".repeat(70_000)});
    assert_eq!(bench.post("/v1/queues/orders/messages", &large).await.0, 201);
    let rested = bench
        .eventually("all are done", async || {
            let queue = bench.get("/v1/queues/orders").await;
            let trigger = bench.get("/v1/triggers/ordered").await;
            (queue["acknowledged_total"] == 30 && trigger["done_total"] == 30).then_some((queue, trigger))
        })
        .await;
    assert_eq!(rested.1["arrived_total"], 30, "{rested:?}");
    let mut bodies: Vec<String> =
        noted(&bench).iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
    bodies.sort();
    let mut expected: Vec<String> = (0..30).map(|n| format!("{{\"n\":{n}}}")).collect();
    expected.sort();
    assert_eq!(bodies, expected, "each once");
    bench
        .eventually("what no variable holds is the queue's own dead letter", async || {
            (bench.get("/v1/queues/orders").await["dead"] == 1).then_some(())
        })
        .await;
    let (status, _) = ask(&bench, Method::DELETE, "/v1/queues/orders?force=true", None).await;
    assert_eq!(status / 100, 2);
    until(&bench, "ordered", "it says that its queue is gone", |it| it["fault"].is_string()).await;
    let report = bench.get("/v1/store").await;
    assert_eq!(report["ok"], json!(true), "{report}");
}

#[actix_web::test]
async fn what_is_malformed_is_refused_at_once_and_it_is_said_where() {
    let bench = Bench::start(On::Process).await;
    let good = json!({"http": {}, "job": {"args": ["true"]}});
    let with = |more: Value| {
        let mut trigger = good.clone();
        for (key, value) in more.as_object().unwrap() {
            trigger[key] = value.clone();
        }
        trigger
    };
    for (more, pointer, message) in [
        (json!({"http": 5}), "/http", ""),
        (json!({"htpp": {}}), "/htpp", "did you mean `http`"),
        (json!({"http": null}), "", "one source"),
        (json!({"args": ["x"]}), "/args", "belongs into `job`"),
        (json!({"webhook": {}}), "/webhook", "use `http`"),
        (json!({"concurrency": 2}), "/concurrency", "use `parallelism`"),
        (json!({"parallelism": -1}), "/parallelism", ""),
        (json!({"http": null, "queue": {"name": "nowhere"}}), "/queue/name", "declare it first"),
        (json!({"http": null, "queue": {"name": "../x"}}), "/queue/name", "declare it first"),
        (
            json!({"http": null, "directory": {"path": "/etc"}}),
            "/directory/path",
            "security.trigger_directories",
        ),
        (
            json!({"http": null, "directory": {"path": "/nowhere"}}),
            "/directory/path",
            "security.trigger_directories",
        ),
        (json!({"http": null, "directory": {"path": "x"}}), "/directory/path", "absolute"),
        (
            json!({"http": null, "directory": {"path": "/x", "patterns": ["["]}}),
            "/directory/patterns/0",
            "`[`",
        ),
        (
            json!({"job": null, "orchestration": {"name": "x", "task_hub": "nowhere"}}),
            "/orchestration/task_hub",
            "create it",
        ),
        (json!({"job": {"image": "x", "runtime": "swarm"}}), "/job/runtime", ""),
    ] {
        let (status, problem) = ask(&bench, Method::PUT, "/v1/triggers/bad", Some(&with(more.clone()))).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_spec")), "{more}: {problem}");
        let errors = problem["errors"].as_array().unwrap();
        let found = errors
            .iter()
            .any(|error| error["pointer"] == pointer && error["message"].as_str().unwrap().contains(message));
        assert!(found, "{more}: {problem}");
    }
    for (method, path, body, status, code) in [
        (Method::PUT, "/v1/triggers/Bad", Some(&good), 400, "invalid_request"),
        (Method::PUT, "/v1/triggers/a?x=1", Some(&good), 400, "invalid_request"),
        (Method::PUT, "/v1/triggers/a", None, 400, "malformed_json"),
        (Method::GET, "/v1/triggers/nowhere", None, 404, "trigger_not_found"),
        (Method::DELETE, "/v1/triggers/nowhere", None, 404, "trigger_not_found"),
        (Method::POST, "/v1/triggers/nowhere/pause", None, 404, "trigger_not_found"),
        (Method::POST, "/v1/triggers/nowhere/resume", None, 404, "trigger_not_found"),
        (Method::POST, "/v1/triggers/nowhere/rotate", None, 404, "trigger_not_found"),
        (Method::GET, "/v1/triggers/nowhere/items", None, 404, "trigger_not_found"),
        (Method::POST, "/v1/triggers/nowhere/dead/requeue", None, 404, "trigger_not_found"),
        (Method::DELETE, "/v1/triggers/nowhere/dead", None, 404, "trigger_not_found"),
        (Method::PATCH, "/v1/triggers/nowhere", None, 405, "method_not_allowed"),
    ] {
        let (found, problem) = ask(&bench, method, path, body).await;
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{path}: {problem}");
    }
    assert_eq!(bench.get("/v1/triggers").await, json!({"triggers": []}), "nothing of that is there");
    put(&bench, "good", &good).await;
    for (method, path, status, code) in [
        (Method::GET, "/v1/triggers/good/items?state=lost", 400, "invalid_request"),
        (Method::GET, "/v1/triggers/good/items?limit=0", 400, "invalid_request"),
        (Method::GET, "/v1/triggers/good/items?after=x", 400, "invalid_request"),
        (Method::GET, "/v1/triggers/good/items/1", 404, "trigger_not_found"),
        (Method::GET, "/v1/triggers/good/items/x", 404, "trigger_not_found"),
        (Method::POST, "/v1/triggers/good/dead/1/requeue", 404, "trigger_not_found"),
        (Method::DELETE, "/v1/triggers/good/dead/01", 404, "trigger_not_found"),
    ] {
        let (found, problem) = ask(&bench, method, path, None).await;
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{path}: {problem}");
    }
}

#[actix_web::test]
async fn the_command_line_declares_calls_shows_and_removes() {
    let bench = Bench::start(On::Process).await;
    let file = bench.path().join("hooked.toml");
    std::fs::write(&file, "http = {}\njob = { args = [\"true\"] }\n").unwrap();
    let file = file.to_str().unwrap();
    let run = |args: &[&str]| {
        let output = program(bench.path()).arg("trigger").args(args).output().unwrap();
        (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    };
    let (code, said) = run(&["--json", "put", "hooked", file]);
    assert_eq!(code, Some(0), "{said}");
    let declared: Value = serde_json::from_str(&said).unwrap();
    let token = declared["token"].as_str().unwrap();
    for (args, code, expected) in [
        (&["put", "hooked", file][..], 0, "state      active"),
        (&["ls"][..], 0, "hooked  active  http"),
        (&["call", "hooked", "--token", token, "--data", "{}", "--idempotency-key", "k"][..], 0, "1\n"),
        (&["call", "hooked", "--token", token, "--data", "{}", "--idempotency-key", "k"][..], 0, "1\n"),
        (&["call", "hooked", "--token", "dwt_wrong"][..], 4, "not the token"),
        (&["items", "hooked"][..], 0, "key-k"),
        (&["items", "hooked", "--state", "dead"][..], 0, "DELIVERIES"),
        (&["requeue", "hooked"][..], 0, "0"),
        (&["purge", "hooked"][..], 0, "0"),
        (&["pause", "hooked"][..], 0, "hooked"),
        (&["show", "hooked"][..], 0, "paused"),
        (&["resume", "hooked"][..], 0, "hooked"),
        (&["rotate", "hooked"][..], 0, "dwt_"),
        (&["rm", "hooked"][..], 0, "hooked"),
    ] {
        let (found, said) = run(args);
        assert_eq!(found, Some(code), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    bench.eventually("it is gone", async || (run(&["show", "hooked"]).0 == Some(3)).then_some(())).await;
}

#[actix_web::test]
async fn the_configuration_declares_its_triggers_wherever_they_look() {
    let mut bench = Bench::start(On::Process).await;
    put(&bench, "by-hand", &json!({"http": {}, "job": {"args": ["true"]}})).await;
    bench.end(Signal::TERM);
    let drop = bench.path().join("anywhere");
    std::fs::create_dir(&drop).unwrap();
    std::fs::write(drop.join("early"), "x").unwrap();
    let noted = bench.path().join("noted");
    let toml = format!(
        "[triggers.dropped]\ndirectory = {{ path = \"{}\", settle = \"0s\" }}\n\
         job = {{ args = [\"sh\", \"-c\", \"echo $0 >> {}\", \"{{{{object_name}}}}\"] }}\n",
        drop.display(),
        noted.display()
    );
    std::fs::write(bench.config(), toml).unwrap();
    bench.boot().await;
    bench
        .eventually("what was there is imported", async || {
            std::fs::read_to_string(&noted).ok().filter(|text| text == "early\n")
        })
        .await;
    let (status, problem) = ask(&bench, Method::DELETE, "/v1/triggers/dropped", None).await;
    assert_eq!((status, &problem["code"]), (409, &json!("trigger_conflict")), "{problem}");
    let names = async || {
        let all = bench.get("/v1/triggers").await;
        let names = all["triggers"].as_array().unwrap().iter();
        names
            .map(|it| format!("{} {}", it["name"].as_str().unwrap(), it["origin"].as_str().unwrap()))
            .collect()
    };
    let found: Vec<String> = names().await;
    assert_eq!(found, ["by-hand api", "dropped config"]);
    bench.end(Signal::TERM);

    std::fs::write(
        bench.config(),
        "[triggers.dropped]\nhttp = {}\njob = { args = [\"x\"], secrets = { A = \"b\" } }\n",
    )
    .unwrap();
    let refused = bench.command().stderr(Stdio::piped()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("triggers.dropped.job"), "{}", text(&refused.stderr));
}
