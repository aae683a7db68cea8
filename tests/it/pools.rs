//! Pools, end to end: the real binary, and workers that are started when there is something to do.

mod caller;
mod container;

use dogwatch::durable_task::proto::{
    ActivityResponse, CreateInstanceRequest, GetInstanceRequest, GetWorkItemsRequest, work_item,
};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tonic::Code;

use crate::bench::{Bench, On};
use crate::examples::program;
use caller::{Caller, client};

/// A pool whose instances are the worker of the examples.
fn pool(more: Value) -> Value {
    let worker = program("activity_worker");
    let mut pool = json!({
        "activities": [{"name": "shout"}],
        "job": {"args": [worker], "secrets": {"TOKEN": "s3cret"}, "stop_grace": "5s"},
        "idle": "200ms",
    });
    for (key, value) in more.as_object().unwrap() {
        pool[key] = value.clone();
    }
    pool
}

/// Declares a pool, and gives status and answer.
async fn put(bench: &Bench, name: &str, pool: &Value) -> (u16, Value) {
    let answer = bench.request(Method::PUT, &format!("/v1/pools/{name}")).json(pool).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

async fn declare(bench: &Bench, name: &str, pool: &Value) -> Value {
    let (status, answer) = put(bench, name, pool).await;
    assert!(matches!(status, 200 | 201), "{answer}");
    answer
}

/// The pool once this holds of it.
async fn until(bench: &Bench, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/v1/pools/{name}");
    bench.eventually(what, async || Some(bench.get(&path).await).filter(&holds)).await
}

fn instances(pool: &Value) -> Vec<String> {
    let all = pool["instances"].as_array().unwrap().iter();
    all.map(|instance| instance["job"].as_str().unwrap().to_owned()).collect()
}

fn is_empty(pool: &Value) -> bool {
    instances(pool).is_empty()
}

fn is_connected(pool: &Value) -> bool {
    pool["instances"].as_array().unwrap().iter().any(|instance| instance["connected"] == true)
}

/// What the worker of an instance finds in its environment under this name.
fn environment(pid: Pid, name: &str) -> String {
    let all = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap();
    let all = String::from_utf8_lossy(&all).into_owned();
    let value = all.split('\0').find_map(|variable| variable.strip_prefix(&format!("{name}=")));
    value.unwrap_or_else(|| panic!("no {name}")).to_owned()
}

/// The process of an instance: the child of the shim that was told the directory of its attempt.
async fn process(bench: &Bench, job: &str) -> Pid {
    let of_job = format!("DOGWATCH_JOB_ID={job}\0");
    let worker = program("activity_worker");
    bench
        .eventually("the process of the instance", async || {
            std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)?;
                let is_worker = std::fs::read_link(entry.path().join("exe")).ok()? == worker;
                let own = std::fs::read(entry.path().join("environ")).ok()?;
                (is_worker && String::from_utf8_lossy(&own).contains(&of_job)).then_some(pid)
            })
        })
        .await
}

#[actix_web::test]
async fn an_activity_starts_an_instance_which_runs_it_and_is_stopped_when_idle() {
    let bench = Bench::start(On::Process).await;
    let declared = declare(&bench, "shouting", &pool(json!({}))).await;
    assert_eq!((&declared["state"], &declared["wanted"]), (&json!("active"), &json!(0)), "{declared}");
    assert_eq!(declared["spec"]["job"]["secrets"], json!({"TOKEN": null}), "{declared}");
    assert_eq!(bench.count_jobs().await, 0, "at rest there is no instance");

    let caller = Caller::of(&bench, "default");
    for round in 0..2 {
        let id = format!("call-{round}");
        caller.start(&id, "shout").await;
        assert_eq!(caller.result(&id).await, "\"SHOUT\"");
        let rested = until(&bench, "shouting", "zero again", is_empty).await;
        assert_eq!((&rested["waiting"], &rested["running"]), (&json!(0), &json!(0)), "{rested}");
        assert_eq!(rested["last_failure"], Value::Null, "{rested}");
    }
    assert_eq!(bench.count_jobs().await, 2, "an instance for each, and none more");
    let jobs = bench.get("/v1/jobs?label=dogwatch.pool:shouting").await;
    for job in jobs["jobs"].as_array().unwrap() {
        assert_eq!((&job["state"], &job["name"]), (&json!("cancelled"), &json!("shouting")), "{job}");
    }
}

#[actix_web::test]
async fn an_image_that_cannot_start_shows_its_reason_and_the_activity_waits() {
    let bench = Bench::start(On::Process).await;
    let broken = json!({"job": {"args": ["/nowhere/worker"]}});
    declare(&bench, "broken", &pool(broken)).await;
    let caller = Caller::of(&bench, "default");
    caller.start("waits", "shout").await;
    let failed = until(&bench, "broken", "it backs off", |pool| {
        pool["last_failure"]["in_a_row"].as_u64().is_some_and(|streak| streak >= 2)
    })
    .await;
    assert_eq!(failed["last_failure"]["cause"], "start_error", "{failed}");
    let said = failed["last_failure"]["message"].as_str().unwrap();
    assert!(said.contains("/nowhere/worker"), "{said}");
    assert_eq!(failed["waiting"], 1, "the activity waits: {failed}");
    let why = bench.get("/v1/orchestrations/waits/explain").await;
    let told = why["workers"].to_string();
    assert!(told.contains("pool `broken`") && told.contains("start_error"), "{why}");
    assert!(bench.count_jobs().await < 10, "it is no hot loop");

    // Mended, it does what waits.
    declare(&bench, "broken", &pool(json!({}))).await;
    assert_eq!(caller.result("waits").await, "\"SHOUT\"");
}

#[actix_web::test]
async fn a_killed_server_finds_its_instances_again_and_the_activity_ends() {
    let mut bench = Bench::start(On::Process).await;
    declare(&bench, "shouting", &pool(json!({"min": 1, "max": 1}))).await;
    let up = until(&bench, "shouting", "its instance is connected", is_connected).await;
    let job = instances(&up).remove(0);
    let worker = process(&bench, &job).await;
    // From now on it takes work and does nothing.
    kill_process(worker, Signal::STOP).unwrap();
    let caller = Caller::of(&bench, "default");
    caller.start("amid", "shout").await;
    until(&bench, "shouting", "it has the work", |pool| pool["running"] == 1).await;

    bench.restart(Signal::KILL).await;
    let seen = bench.get("/v1/pools/shouting").await;
    assert_eq!(instances(&seen), [job.as_str()], "the same instance: {seen}");
    kill_process(worker, Signal::CONT).unwrap();
    assert_eq!(caller.result("amid").await, "\"SHOUT\"");
    assert_eq!(bench.count_jobs().await, 1, "no other instance was needed");
    assert_eq!(bench.job(&job).await["attempt"], 1, "it was re-attached, not started again");

    let gone = bench.request(Method::DELETE, "/v1/pools/shouting").send().await.unwrap();
    assert_eq!(gone.status(), 202);
    bench
        .eventually("the pool is gone", async || {
            let answer = bench.request(Method::GET, "/v1/pools/shouting").send().await.unwrap();
            (answer.status() == 404).then_some(())
        })
        .await;
    assert_eq!(bench.job(&job).await["state"], "cancelled");
}

#[actix_web::test]
async fn a_workers_token_is_good_for_its_own_activities_and_nothing_else() {
    let bench = Bench::start_with(On::Process, &[("DOGWATCH_GRPC__TASK_HUBS", "blue")]).await;
    declare(&bench, "shouting", &pool(json!({"min": 1, "max": 1}))).await;
    let up = until(&bench, "shouting", "its instance is connected", is_connected).await;
    let job = instances(&up).remove(0);
    let worker = process(&bench, &job).await;
    let token = environment(worker, "DOGWATCH_GRPC_TOKEN");
    assert_eq!(environment(worker, "DTS_WORKER_PROFILE_ID"), "shouting");
    assert_eq!(environment(worker, "DTS_SANDBOX_ID"), job);
    assert!(environment(worker, "DTS_ENDPOINT").ends_with(&environment(worker, "DOGWATCH_GRPC_ENDPOINT")));
    for place in [bench.log(), bench.get(&format!("/v1/jobs/{job}")).await.to_string()] {
        assert!(!place.contains(&token), "the token is shown: {place}");
    }
    let mut own = client(&bench, &token, "default");
    own.hello(()).await.unwrap();
    let refused = client(&bench, &token, "blue").hello(()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let start = CreateInstanceRequest { name: "call".to_owned(), ..Default::default() };
    let refused = own.start_instance(start).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let get = GetInstanceRequest { instance_id: "x".to_owned(), get_inputs_and_outputs: true };
    let refused = own.get_instance(get).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let forged = format!("{}x", &token[..token.len() - 1]);
    let refused = client(&bench, &forged, "default").hello(()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");

    takes_its_own_only(&bench, &token).await;
    cannot_end_the_work_of_others(&bench, &token).await;

    // With its attempt the token ends, and with it the work that comes.
    let mut items = own.get_work_items(GetWorkItemsRequest::default()).await.unwrap().into_inner();
    kill_process(worker, Signal::KILL).unwrap();
    let ended = async {
        while items.message().await?.is_some() {}
        Ok::<_, tonic::Status>(())
    };
    let ended = tokio::time::timeout(crate::bench::PATIENCE, ended).await.expect("the stream ends");
    assert_eq!(ended.unwrap_err().code(), Code::Unauthenticated);
    let refused = own.hello(()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
}

/// Whatever it asks for: no orchestration, and no activity of somebody else.
async fn takes_its_own_only(bench: &Bench, token: &str) {
    let key = std::fs::read_to_string(bench.path().join("root.key")).unwrap();
    let mut admin = client(bench, key.trim(), "default");
    let start = |id: &str| CreateInstanceRequest {
        instance_id: id.to_owned(),
        name: "nobody-has-this".to_owned(),
        ..CreateInstanceRequest::default()
    };
    admin.start_instance(start("orphan")).await.unwrap();
    let caller = Caller::of(bench, "default");
    caller.start("other", "whisper").await;
    bench
        .eventually("the other activity waits", async || {
            let why = bench.get("/v1/orchestrations/other/explain").await;
            why["workers"].to_string().contains("whisper").then_some(())
        })
        .await;
    // No filter at all means everything, for anybody else.
    let mut own = client(bench, token, "default");
    let mut items = own.get_work_items(GetWorkItemsRequest::default()).await.unwrap().into_inner();
    let first = items.message().await.unwrap().unwrap();
    assert!(matches!(first.request, Some(work_item::Request::HealthPing(_))), "{first:?}");
    // The work of its own comes, to it or to the real worker, and nothing before.
    caller.start("own", "shout").await;
    let next = tokio::select! {
        item = items.message() => item.unwrap().unwrap().request,
        _ = caller.result("own") => None,
    };
    match next {
        Some(work_item::Request::ActivityRequest(activity)) => assert_eq!(activity.name, "shout"),
        Some(other) => panic!("{other:?}"),
        None => {}
    }
    for id in ["orphan", "other"] {
        let why = bench.get(&format!("/v1/orchestrations/{id}/explain")).await;
        assert!(why["workers"].to_string().contains("no worker"), "{id} was taken: {why}");
    }
}

async fn cannot_end_the_work_of_others(bench: &Bench, token: &str) {
    let key = std::fs::read_to_string(bench.path().join("root.key")).unwrap();
    let mut other = client(bench, key.trim(), "default");
    let mut items = other.get_work_items(GetWorkItemsRequest::default()).await.unwrap().into_inner();
    let taken = loop {
        let item = items.message().await.unwrap().unwrap();
        if let Some(work_item::Request::ActivityRequest(activity)) = item.request
            && activity.name == "whisper"
        {
            break item.completion_token;
        }
    };
    let forged = ActivityResponse { completion_token: taken, ..ActivityResponse::default() };
    let refused = client(bench, token, "default").complete_activity_task(forged).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
}

#[actix_web::test]
async fn more_work_starts_more_instances_up_to_the_most_and_a_new_declaration_replaces_them() {
    let mut bench = Bench::start(On::Process).await;
    let spec = pool(json!({"max": 2, "per_instance": 1, "idle": "30s"}));
    let caller = Caller::of(&bench, "default");
    // All of it is there before the first instance is, which could do it alone on a slow day.
    for number in 0..6 {
        caller.start(&format!("call-{number}"), "shout").await;
    }
    declare(&bench, "shouting", &spec).await;
    let up = until(&bench, "shouting", "two instances", |pool| instances(pool).len() == 2).await;
    for number in 0..6 {
        assert_eq!(caller.result(&format!("call-{number}")).await, "\"SHOUT\"");
    }
    let before = instances(&until(&bench, "shouting", "both rest", |pool| pool["running"] == 0).await);
    assert_eq!(before.len(), 2, "{up}");

    // The same again changes nothing, also with the secrets as they are shown.
    let mut again = spec.clone();
    again["job"]["secrets"]["TOKEN"] = Value::Null;
    let (status, answer) = put(&bench, "shouting", &again).await;
    assert_eq!((status, instances(&answer)), (200, before.clone()), "{answer}");
    // Another job is another instance.
    again["job"]["env"] = json!({"COLOUR": "red"});
    again["min"] = json!(1);
    declare(&bench, "shouting", &again).await;
    let replaced = until(&bench, "shouting", "the old ones are gone", |pool| {
        instances(pool).len() == 1 && !before.contains(&instances(pool)[0]) && is_connected(pool)
    })
    .await;
    let worker = process(&bench, &instances(&replaced)[0]).await;
    assert_eq!(
        (environment(worker, "COLOUR"), environment(worker, "TOKEN")),
        ("red".into(), "s3cret".into())
    );
    bench.restart(Signal::KILL).await;
    let kept = bench.get("/v1/pools/shouting").await;
    assert_eq!((&kept["spec"], instances(&kept)), (&replaced["spec"], instances(&replaced)), "{kept}");
    assert_eq!(bench.request(Method::DELETE, "/v1/pools/shouting").send().await.unwrap().status(), 202);
    bench
        .eventually("the pool is gone", async || {
            let all = bench.get("/v1/pools").await;
            (all == json!({"pools": []})).then_some(())
        })
        .await;
}

#[actix_web::test]
async fn what_cannot_be_declared_is_refused_and_it_is_said_where() {
    let bench = Bench::start(On::Process).await;
    declare(&bench, "shouting", &pool(json!({}))).await;
    for (name, body, status, told) in [
        ("other", pool(json!({})), 422, "/activities/0"),
        ("other", pool(json!({"task_hub": "nowhere"})), 422, "/task_hub"),
        ("other", pool(json!({"activities": [{"name": "a"}], "min": 9})), 422, "/min"),
        ("other", pool(json!({"activities": [{"name": "a"}], "job": {}})), 422, "/job"),
        ("other", pool(json!({"activities": [{"name": "a"}], "job": {"command": "x"}})), 422, "entrypoint"),
        ("other", pool(json!({"activities": [{"name": "a"}], "image": "x"})), 422, "belongs into `job`"),
        ("other", json!({"activities": [{"name": "a"}]}), 422, "/job"),
        ("Bad_Name", pool(json!({"activities": [{"name": "a"}]})), 400, "lower-case"),
    ] {
        let (answered, problem) = put(&bench, name, &body).await;
        assert_eq!(answered, status, "{body}: {problem}");
        assert!(problem.to_string().contains(told), "{body}: {problem}");
    }
    for method in [Method::GET, Method::DELETE] {
        let answer = bench.request(method.clone(), "/v1/pools/nothing").send().await.unwrap();
        assert_eq!(answer.status(), 404, "{method}");
    }
    let gone = bench.request(Method::DELETE, "/v1/pools/shouting").send().await.unwrap();
    assert_eq!(gone.status(), 204, "without an instance it goes at once");
}
