//! Schedules, end to end: the real binary, over REST, by the command line, from the configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};

use dogwatch::serve::addresses::Addresses;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On};
use crate::cli_binary::{program, text};

/// A schedule whose jobs write down what they find in their environment.
fn writing(bench: &Bench, more: Value) -> Value {
    let file = bench.path().join("fires");
    let script = format!(
        "echo \"$DOGWATCH_SCHEDULED_AT $DOGWATCH_SCHEDULE $DOGWATCH_PAST_DUE $DOGWATCH_JOB_ID\" >> {}",
        file.display()
    );
    let mut schedule = json!({"cron": "@every 1s", "job": {"args": ["sh", "-c", script]}});
    for (key, value) in more.as_object().unwrap() {
        schedule[key] = value.clone();
    }
    schedule
}

/// What the jobs wrote: by the time, the other words.
fn written(bench: &Bench) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(bench.path().join("fires")).unwrap_or_default();
    text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

async fn ask(bench: &Bench, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
    let mut request = bench.request(method, path);
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

async fn put(bench: &Bench, name: &str, schedule: &Value) -> Value {
    let (status, answer) = ask(bench, Method::PUT, &format!("/v1/schedules/{name}"), Some(schedule)).await;
    assert!(matches!(status, 200 | 201), "{answer}");
    answer
}

async fn until(bench: &Bench, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/v1/schedules/{name}");
    bench.eventually(what, async || Some(bench.get(&path).await).filter(&holds)).await
}

#[actix_web::test]
async fn a_killed_server_fires_for_every_second_once() {
    let mut bench = Bench::start(On::Process).await;
    let schedule = writing(&bench, json!({"overlap": "allow", "catch_up": {"max": 100}}));
    put(&bench, "seconds", &schedule).await;
    for round in 1..=3 {
        bench.eventually("it fires", async || (written(&bench).len() >= round * 3).then_some(())).await;
        bench.restart(Signal::KILL).await;
    }
    let before = written(&bench).len();
    bench.eventually("it goes on", async || (written(&bench).len() >= before + 3).then_some(())).await;
    assert_eq!(ask(&bench, Method::POST, "/v1/schedules/seconds/pause", None).await.0, 200);
    let rested = until(&bench, "seconds", "all of it is over", |schedule| schedule["running"] == 0).await;
    assert_eq!(rested["state"], "paused", "{rested}");

    let mut times: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for line in written(&bench) {
        times.entry(line[0].clone()).or_default().push(line);
    }
    let twice: Vec<_> = times.values().filter(|lines| lines.len() > 1).collect();
    assert!(twice.is_empty(), "fired twice: {twice:?}");
    let seconds: Vec<i64> = times
        .keys()
        .map(|time| time.parse::<dogwatch_actors::clock::Timestamp>().unwrap().as_millis())
        .collect();
    let lost = seconds.windows(2).find(|pair| pair[1] - pair[0] != 1_000);
    assert!(lost.is_none(), "lost between {lost:?} of {seconds:?}");
    assert_eq!(rested["started"], json!(seconds.len()), "{rested}");
    assert_eq!((&rested["missed"], &rested["skipped"]), (&json!(0), &json!(0)), "{rested}");
    let fire = &rested["fires"][0];
    assert_eq!(fire["state"], "succeeded", "{rested}");
    let job = bench.job(fire["job"].as_str().unwrap()).await;
    assert_eq!((&job["name"], &job["labels"]["dogwatch.schedule"]), (&json!("seconds"), &json!("seconds")));
    let line = &times[fire["scheduled_at"].as_str().unwrap()][0];
    assert_eq!((line[1].as_str(), line[3].as_str()), ("seconds", fire["job"].as_str().unwrap()));
}

#[actix_web::test]
async fn what_is_triggered_runs_by_the_rules_and_its_end_is_shown() {
    let bench = Bench::start(On::Process).await;
    let waits = json!({
        "cron": "0 0 1 1 *", "overlap": "replace",
        "job": {"args": ["sleep", "600"], "secrets": {"TOKEN": "s3cret"}, "stop_grace": "1s"},
    });
    let declared = put(&bench, "yearly", &waits).await;
    assert_eq!(declared["spec"]["job"]["secrets"], json!({"TOKEN": null}), "{declared}");
    assert_eq!((declared["next"].as_array().unwrap().len(), &declared["origin"]), (10, &json!("api")));
    let (status, first) = ask(&bench, Method::POST, "/v1/schedules/yearly/trigger", None).await;
    assert_eq!(
        (status, &first["fire"]["state"], &first["fire"]["triggered"]),
        (202, &json!("running"), &json!(true))
    );
    let job = first["fire"]["job"].as_str().unwrap().to_owned();
    bench.in_state(&job, "running").await;
    // The secret stays what it was, and with it the declaration.
    let again = json!({
        "cron": "0 0 1 1 *", "overlap": "replace",
        "job": {"args": ["sleep", "600"], "secrets": {"TOKEN": null}, "stop_grace": "1s"},
    });
    assert_eq!(put(&bench, "yearly", &again).await["generation"], 1);

    let (_, second) = ask(&bench, Method::POST, "/v1/schedules/yearly/trigger", None).await;
    assert_eq!(second["fire"]["state"], "queued", "{second}");
    let replaced =
        until(&bench, "yearly", "the second one runs", |it| it["fires"][0]["state"] == "running").await;
    assert_eq!(replaced["fires"][1]["state"], "cancelled", "{replaced}");
    assert_eq!(bench.job(&job).await["state"], "cancelled");
    let newest = replaced["fires"][0]["job"].as_str().unwrap().to_owned();
    // It is on its way durably: the schedule has sent it, and nobody was told its id who asked for it.
    let path = format!("/v1/jobs/{newest}");
    bench
        .eventually("the second one is there", async || {
            let answer = bench.request(Method::GET, &path).send().await.unwrap();
            answer.status().is_success().then_some(())
        })
        .await;
    bench.in_state(&newest, "running").await;

    // Deleted, it leaves alone what it started.
    assert_eq!(ask(&bench, Method::DELETE, "/v1/schedules/yearly", None).await.0, 204);
    assert_eq!(ask(&bench, Method::GET, "/v1/schedules/yearly", None).await.0, 404);
    assert_eq!(bench.job(&newest).await["state"], "running");
    bench.ask(&newest, "cancel").await;
    bench.in_state(&newest, "cancelled").await;
}

#[actix_web::test]
async fn an_array_is_one_fire_and_its_children_know_the_time_they_are_for() {
    let bench = Bench::start(On::Process).await;
    let mut array = writing(&bench, json!({"cron": "0 0 1 1 *"}));
    let script =
        array["job"]["args"][2].as_str().unwrap().replace("$DOGWATCH_JOB_ID", "$DOGWATCH_INDEX $TOKEN");
    array["job"] = json!({
        "args": ["sh", "-c", script], "secrets": {"TOKEN": "s3cret"}, "array": {"size": 3, "parallelism": 2},
    });
    put(&bench, "parts", &array).await;
    let (status, fired) = ask(&bench, Method::POST, "/v1/schedules/parts/trigger", None).await;
    assert_eq!(status, 202, "{fired}");
    let id = fired["fire"]["array"].as_str().unwrap().to_owned();
    let over = |it: &Value| it["fires"][0]["state"] == "succeeded";
    let schedule = until(&bench, "parts", "the array is over", over).await;
    assert_eq!(schedule["fires"][0]["message"], "over: 3 succeeded, 0 failed, 0 cancelled");
    assert_eq!(bench.get(&format!("/v1/arrays/{id}")).await["state"], "succeeded");
    let mut found = written(&bench);
    found.sort_by_key(|words| words[3].clone());
    let at = fired["fire"]["scheduled_at"].as_str().unwrap();
    let expected = ["0", "1", "2"].map(|index| [at, "parts", "false", index, "s3cret"].map(str::to_owned));
    assert_eq!(found, expected);
}

#[actix_web::test]
async fn what_is_malformed_is_refused_at_once_and_it_is_said_where() {
    let bench = Bench::start(On::Process).await;
    let job = json!({"args": ["true"]});
    let with = |more: Value| {
        let mut schedule = json!({"cron": "0 * * * *", "job": job});
        for (key, value) in more.as_object().unwrap() {
            schedule[key] = value.clone();
        }
        schedule
    };
    for (more, pointer, message) in [
        (json!({"cron": 5}), "/cron", "string"),
        (json!({"cron": "every day"}), "/cron", "fields"),
        (json!({"crom": "x"}), "/crom", "did you mean `cron`"),
        (json!({"timezone": "UTC"}), "/timezone", "use `time_zone`"),
        (json!({"args": ["x"]}), "/args", "belongs into `job`"),
        (json!({"suspend": true}), "/suspend", "pause"),
        (json!({"overlap": "forbid"}), "/overlap", "skip"),
        (json!({"catch_up": {"max": -1}}), "/catch_up/max", ""),
        (json!({"time_zone": "Mars/Olympus"}), "/time_zone", "IANA"),
        (json!({"end_at": "2020-01-01T00:00:00Z"}), "/end_at", "no time lies before it"),
        (json!({"job": {"image": "x", "runtime": "swarm"}}), "/job/runtime", ""),
        (json!({"job": {"command": ["x"]}}), "/job/command", "use `args`"),
        (
            json!({"job": null, "orchestration": {"name": "x", "task_hub": "nowhere"}}),
            "/orchestration/task_hub",
            "create it first",
        ),
    ] {
        let (status, problem) =
            ask(&bench, Method::PUT, "/v1/schedules/bad", Some(&with(more.clone()))).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_spec")), "{more}: {problem}");
        let errors = problem["errors"].as_array().unwrap();
        let found = errors
            .iter()
            .any(|error| error["pointer"] == pointer && error["message"].as_str().unwrap().contains(message));
        assert!(found, "{more}: {problem}");
    }
    let good = with(json!({}));
    for (method, path, body, status, code) in [
        (Method::PUT, "/v1/schedules/Bad", Some(&good), 400, "invalid_request"),
        (Method::PUT, "/v1/schedules/preview", Some(&good), 405, "method_not_allowed"),
        (Method::PUT, "/v1/schedules/a?x=1", Some(&good), 400, "invalid_request"),
        (Method::PUT, "/v1/schedules/a", None, 400, "malformed_json"),
        (Method::GET, "/v1/schedules/nowhere", None, 404, "schedule_not_found"),
        (Method::DELETE, "/v1/schedules/nowhere", None, 404, "schedule_not_found"),
        (Method::POST, "/v1/schedules/nowhere/pause", None, 404, "schedule_not_found"),
        (Method::POST, "/v1/schedules/nowhere/trigger", None, 404, "schedule_not_found"),
        (Method::POST, "/v1/schedules/preview?count=1000", Some(&good), 400, "invalid_request"),
        (Method::POST, "/v1/schedules/preview?after=soon", Some(&good), 400, "invalid_request"),
    ] {
        let (found, problem) = ask(&bench, method, path, body).await;
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{path}: {problem}");
    }
    assert_eq!(bench.get("/v1/schedules").await, json!({"schedules": []}), "nothing of that is there");

    let night = json!({"cron": "30 2 * * *", "time_zone": "Europe/Berlin"});
    let path = "/v1/schedules/preview?count=2&after=2027-03-27T12:00:00Z";
    let (status, preview) = ask(&bench, Method::POST, path, Some(&night)).await;
    assert_eq!((status, preview["next"].as_array().unwrap().len()), (200, 2), "{preview}");
    assert_eq!(preview["next"][0]["scheduled_at"], "2027-03-28T01:00:00.000Z", "{preview}");
    assert_eq!(preview["next"][0]["local"], "2027-03-28T03:00:00+02:00", "{preview}");
}

#[actix_web::test]
async fn the_command_line_declares_shows_and_removes() {
    let bench = Bench::start(On::Process).await;
    let file = bench.path().join("nightly.toml");
    let toml = "cron = \"30 2 * * *\"\ntime_zone = \"Europe/Berlin\"\n[job]\nargs = [\"true\"]\n";
    std::fs::write(&file, toml).unwrap();
    let file = file.to_str().unwrap();
    let run = |args: &[&str]| {
        let output = program(bench.path()).arg("schedule").args(args).output().unwrap();
        (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    };
    for (args, code, expected) in [
        (&["put", "nightly", file][..], 0, "state      active"),
        (&["ls"][..], 0, "nightly  active  30 2 * * *  Europe/Berlin"),
        (&["show", "nightly"][..], 0, "job true"),
        (&["pause", "nightly"][..], 0, "nightly"),
        (&["ls"][..], 0, "paused"),
        (&["resume", "nightly"][..], 0, "nightly"),
        (
            &["preview", "30 2 * * *", "-z", "Europe/Berlin", "-n", "1", "--after", "2027-03-27T12:00:00Z"][..],
            0,
            "2027-03-28T03:00:00+02:00",
        ),
        (&["preview", "-f", file][..], 0, "NEXT"),
        (&["preview", "30 2 * *"][..], 2, "has 4 fields"),
        (&["preview"][..], 2, "required"),
        (&["show", "nowhere"][..], 3, "there is no schedule `nowhere`"),
        (&["rm", "nightly"][..], 0, "nightly"),
        (&["show", "nightly"][..], 3, "there is no schedule `nightly`"),
    ] {
        let (found, said) = run(args);
        assert_eq!(found, Some(code), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    run(&["put", "nightly", file]);
    let (code, said) = run(&["trigger", "nightly"]);
    assert_eq!(code, Some(0), "{said}");
    bench.over(said.trim()).await;
    let (_, shown) = run(&["--json", "show", "nightly"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["fires"][0]["job"], said.trim(), "{shown}");
    let metrics = bench.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "dogwatch_schedule_fires_total{schedule=\"nightly\"} 1",
        "dogwatch_schedule_next_fire_seconds{schedule=\"nightly\"} ",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

/// The server on the directory of a bench, with this configuration.
pub(crate) async fn serve(bench: &Bench, config: &Path) -> Child {
    let log = std::fs::File::create(bench.path().join("configured.log")).unwrap();
    let mut command = bench.command();
    let child = command.arg("--config").arg(config).stderr(Stdio::from(log)).spawn().unwrap();
    let pid = child.id();
    bench
        .eventually("the server listens", async || {
            let addresses = Addresses::read(bench.path()).filter(|addresses| addresses.pid == pid)?;
            bench.http().get(format!("{}/livez", addresses.api)).send().await.ok()
        })
        .await;
    child
}

pub(crate) fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[actix_web::test]
async fn the_configuration_declares_its_schedules_and_touches_no_others() {
    let mut bench = Bench::start(On::Process).await;
    let own = json!({"cron": "@daily", "job": {"args": ["true"]}});
    put(&bench, "by-hand", &own).await;
    bench.end(Signal::TERM);
    let config = bench.path().join("dogwatch.toml");
    let declares = |names: &[&str], cron: &str| {
        let one =
            |name: &&str| format!("[schedules.{name}]\ncron = \"{cron}\"\njob = {{ args = [\"true\"] }}\n");
        std::fs::write(&config, names.iter().map(one).collect::<String>()).unwrap();
    };
    let names = async |bench: &Bench| {
        let all = bench.get("/v1/schedules").await;
        let one = |it: &Value| {
            format!(
                "{} {} {}",
                it["name"].as_str().unwrap(),
                it["origin"].as_str().unwrap(),
                it["generation"]
            )
        };
        all["schedules"].as_array().unwrap().iter().map(one).collect::<Vec<_>>()
    };
    declares(&["one", "two"], "0 3 * * *");
    let server = serve(&bench, &config).await;
    assert_eq!(names(&bench).await, ["by-hand api 1", "one config 1", "two config 1"]);
    for (method, path) in [(Method::PUT, "/v1/schedules/one"), (Method::DELETE, "/v1/schedules/one")] {
        let body = (method == Method::PUT).then_some(&own);
        let (status, problem) = ask(&bench, method, path, body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("schedule_conflict")), "{problem}");
    }
    assert_eq!(ask(&bench, Method::POST, "/v1/schedules/one/pause", None).await.0, 200);
    kill(server);

    declares(&["one", "three"], "0 3 * * *");
    let server = serve(&bench, &config).await;
    assert_eq!(
        names(&bench).await,
        ["by-hand api 1", "one config 1", "three config 1"],
        "unchanged it is the same"
    );
    assert_eq!(bench.get("/v1/schedules/one").await["state"], "paused");
    kill(server);

    declares(&["three"], "0 4 * * *");
    let server = serve(&bench, &config).await;
    assert_eq!(names(&bench).await, ["by-hand api 1", "three config 2"]);
    kill(server);

    for (text, expected) in [
        (
            "[schedules.by-hand]\ncron = \"@daily\"\njob = { args = [\"true\"] }\n",
            "declared by a client before",
        ),
        ("[schedules.bad]\ncron = \"@daily\"\n", "one thing"),
        ("[schedules.bad]\ncrom = \"@daily\"\n", "schedules.bad.crom"),
        ("[schedules.Bad]\ncron = \"@daily\"\n", "not the name of a schedule"),
        (
            "[schedules.bad]\ncron = \"@daily\"\njob = { args = [\"x\"], secrets = { A = \"s3cret\" } }\n",
            "a secret",
        ),
        ("schedules = 5\n", "[schedules.<name>]"),
    ] {
        std::fs::write(&config, text).unwrap();
        let output = bench.command().arg("--config").arg(&config).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}: {said}");
        assert!(said.contains(expected), "{text}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}
