//! Admission, end to end: the real binary, processes, kill -9.

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On, with};
use crate::cli_binary::{program, text};
use crate::schedules::{kill, serve};

/// A job that notes its name when it starts, and runs until it is told otherwise.
fn runs(bench: &Bench, name: &str, more: Value) -> Value {
    noting(bench, name, "exec sleep 600", more)
}

/// A job that notes its name when it starts.
fn noting(bench: &Bench, name: &str, then: &str, more: Value) -> Value {
    let script = format!("echo {name} >> {}; {then}", bench.path().join("starts").display());
    with(json!({"name": name, "args": ["sh", "-c", script], "stop_grace": "1s"}), more)
}

/// The names in the order of their starts.
fn starts(bench: &Bench) -> Vec<String> {
    let text = std::fs::read_to_string(bench.path().join("starts")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

async fn have_started(bench: &Bench, many: usize) -> Vec<String> {
    bench.eventually("they start", async || Some(starts(bench)).filter(|starts| starts.len() >= many)).await
}

async fn explained(bench: &Bench, id: &str, kind: &str) -> Value {
    let path = format!("/v1/jobs/{id}/explain");
    bench
        .eventually(kind, async || {
            Some(bench.get(&path).await).filter(|it| it["waits_for"][0]["kind"] == kind)
        })
        .await
}

#[actix_web::test]
async fn a_killed_server_keeps_to_the_limit_of_a_key() {
    let mut bench = Bench::start(On::Process).await;
    let mut ids = vec![];
    for name in ["a", "b", "c", "d"] {
        let more = json!({"concurrency": {"key": "db", "limit": 2}, "max_attempts": 1});
        ids.push(bench.submit(&runs(&bench, name, more)).await);
    }
    bench.in_state(&ids[0], "running").await;
    bench.in_state(&ids[1], "running").await;
    for _ in 0..2 {
        bench.restart(Signal::KILL).await;
        let said = explained(&bench, &ids[3], "concurrency").await;
        let sentence = said["sentence"].as_str().unwrap();
        assert!(
            sentence.contains("`db`") && sentence.contains(&ids[0]) && sentence.contains("1 before it"),
            "{said}"
        );
    }
    // The two began together, in whatever order.
    let mut first = have_started(&bench, 2).await;
    first.sort_unstable();
    assert_eq!(first, ["a", "b"]);
    let view = bench.get("/v1/admission").await;
    let key = &view["keys"][0];
    assert_eq!((&key["key"], &key["limit"], &key["holding"]), (&json!("db"), &json!(2), &json!(2)), "{view}");
    assert_eq!((&key["waiting"], &view["tenants"][0]["waiting"]), (&json!(2), &json!(2)), "{view}");

    bench.ask(&ids[1], "cancel").await;
    assert_eq!(have_started(&bench, 3).await[2..], ["c"]);
    // One that waits and is cancelled takes nobody's place with it.
    bench.ask(&ids[3], "cancel").await;
    let last = runs(&bench, "e", json!({"concurrency": {"key": "db", "limit": 2}}));
    let last = bench.submit(&last).await;
    explained(&bench, &last, "concurrency").await;
    bench.ask(&ids[0], "suspend").await;
    assert_eq!(have_started(&bench, 4).await[3..], ["e"], "a job that is suspended gives its place back");
}

#[actix_web::test]
async fn a_pause_between_attempts_keeps_the_place_through_a_kill() {
    let mut bench = Bench::start(On::Process).await;
    let key = json!({"key": "one at a time", "limit": 1});
    let failing = noting(
        &bench,
        "first",
        "exit 1",
        json!({"concurrency": key, "backoff": {"initial": "1h", "max": "1h"}, "max_attempts": 2}),
    );
    let first = bench.submit(&failing).await;
    bench.in_state(&first, "backing_off").await;
    let second = bench.submit(&runs(&bench, "second", json!({"concurrency": key}))).await;
    explained(&bench, &second, "concurrency").await;
    bench.restart(Signal::KILL).await;
    let said = explained(&bench, &second, "concurrency").await;
    assert!(said["sentence"].as_str().unwrap().contains(&first), "{said}");
    bench.ask(&first, "cancel").await;
    bench.in_state(&second, "running").await;
    assert_eq!(have_started(&bench, 2).await, ["first", "second"]);
}

#[actix_web::test]
async fn a_conflict_skips_or_replaces() {
    let bench = Bench::start(On::Process).await;
    let key = |what: &str| json!({"concurrency": {"key": "site", "limit": 1, "on_conflict": what}});
    let first = bench.submit(&runs(&bench, "first", key("skip"))).await;
    bench.in_state(&first, "running").await;
    let skipped = bench.submit(&runs(&bench, "skipped", key("skip"))).await;
    let skipped = bench.over(&skipped).await;
    assert_eq!((&skipped["state"], &skipped["cause"]), (&json!("cancelled"), &json!("skipped")), "{skipped}");
    assert!(skipped["message"].as_str().unwrap().contains("`site`"), "{skipped}");

    let waiting = bench.submit(&runs(&bench, "waiting", key("queue"))).await;
    explained(&bench, &waiting, "concurrency").await;
    let newest = bench.submit(&runs(&bench, "newest", key("replace"))).await;
    for old in [&first, &waiting] {
        let over = bench.over(old).await;
        assert_eq!((&over["state"], &over["cause"]), (&json!("cancelled"), &json!("preempted")), "{over}");
        assert!(over["message"].as_str().unwrap().contains(&newest), "{over}");
    }
    bench.in_state(&newest, "running").await;
    assert_eq!(have_started(&bench, 2).await, ["first", "newest"]);
}

#[actix_web::test]
async fn with_one_slot_the_urgent_go_first_and_tenants_take_turns() {
    let bench = Bench::start_with(On::Process, &[("DOGWATCH_FLEET__ATTEMPTS_MAX", "1")]).await;
    let blocker = bench.submit(&runs(&bench, "blocker", json!({"tenant": "ops"}))).await;
    bench.in_state(&blocker, "running").await;
    for (name, tenant, priority) in
        [("a1", "a", 0), ("a2", "a", 0), ("a3", "a", 0), ("a-urgent", "a", 9), ("b1", "b", 0), ("b2", "b", 0)]
    {
        // With a limit of the time in the queue none is prepared ahead, and so all of them wait.
        let more = json!({"tenant": tenant, "priority": priority, "queue_timeout": "10m"});
        bench.submit(&noting(&bench, name, "true", more)).await;
    }
    let waits = async || {
        let tenants = bench.get("/v1/admission").await["tenants"].clone();
        let waiting = |it: &Value| it["waiting"].as_u64().unwrap();
        (tenants.as_array().unwrap().iter().map(waiting).sum::<u64>() == 6).then_some(())
    };
    bench.eventually("all of them wait", waits).await;
    bench.ask(&blocker, "cancel").await;
    let order = have_started(&bench, 7).await;
    let place = |name: &str| order.iter().position(|other| other == name).unwrap();
    assert!(
        place("a-urgent") < place("a1") && place("a1") < place("a2") && place("a2") < place("a3"),
        "{order:?}"
    );
    assert!(place("b1") < place("a2") && place("b2") < place("a3"), "{order:?}");
}

#[actix_web::test]
async fn what_the_configuration_declares_holds() {
    let mut bench = Bench::start(On::Process).await;
    bench.end(Signal::TERM);
    let config = bench.path().join("dogwatch.toml");
    let declared = "[admission]\ntenant_label = \"team\"\n[tenants.red]\nweight = 3\nmax_running = 1\n\
                    [concurrency.api]\nrate = { limit = 1, per = \"1h\" }\n[concurrency.db]\nlimit = 1\n";
    std::fs::write(&config, declared).unwrap();
    let server = serve(&bench, &config).await;
    let first = bench.submit(&runs(&bench, "r1", json!({"labels": {"team": "red"}}))).await;
    bench.in_state(&first, "running").await;
    let second = bench.submit(&runs(&bench, "r2", json!({"tenant": "red"}))).await;
    let said = explained(&bench, &second, "tenant").await;
    assert!(said["sentence"].as_str().unwrap().contains("`red`"), "{said}");
    for key in ["api", "db"] {
        let one = bench.submit(&runs(&bench, key, json!({"concurrency": {"key": key}}))).await;
        bench.in_state(&one, "running").await;
    }
    // The limit of a spec is not the operator's.
    let third = bench.submit(&runs(&bench, "x", json!({"concurrency": {"key": "db", "limit": 9}}))).await;
    explained(&bench, &third, "concurrency").await;
    let fourth = bench.submit(&runs(&bench, "y", json!({"concurrency": {"key": "api"}}))).await;
    let said = explained(&bench, &fourth, "rate").await;
    assert!(said["waits_for"][0]["due"].is_string(), "{said}");

    let output = program(bench.path()).arg("admission").output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains("red") && shown.contains("1/1h") && shown.starts_with("TENANT"), "{shown}");
    let output = program(bench.path()).args(["--json", "admission"]).output().unwrap();
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(view["tenants"].as_array().unwrap().len(), 2, "{view}");
    let flags =
        ["submit", "--tenant", "blue", "--priority", "-7", "--concurrency", "db=2", "--on-conflict", "skip"];
    let output = program(bench.path()).args(flags).args(["--", "true"]).output().unwrap();
    let id = text(&output.stdout).trim().to_owned();
    let job = bench.over(&id).await;
    assert_eq!((&job["cause"], &job["spec"]["priority"]), (&json!("skipped"), &json!(-7)), "{job}");
    kill(server);

    for (text, expected) in [
        ("tenants = 5\n", "[tenants.<name>]"),
        ("[tenants.\"a b\"]\nweight = 2\n", "not the name of a tenant"),
        ("[tenants.a]\nwieght = 2\n", "tenants.a.wieght"),
        ("[tenants.a]\nweight = 0\n", "between 1 and"),
        ("[tenants.a]\nmax_running = 0\n", "at least 1"),
        ("[tenants.a]\nrate = { limit = 0, per = \"1s\" }\n", "tenants.a.rate.limit"),
        ("[concurrency.k]\n", "`limit`"),
        ("[concurrency.k]\nlimit = 0\n", "concurrency.k.limit"),
        ("[concurrency.k]\nrate = { limit = 1, per = \"0s\" }\n", "concurrency.k.rate.per"),
        ("[admission]\nrate_limit = 5\n", "admission.rate_per"),
        ("[admission]\nrate_limit = 0\nrate_per = \"1s\"\n", "admission.rate_limit"),
    ] {
        std::fs::write(&config, text).unwrap();
        let output = bench.command().arg("--config").arg(&config).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}: {said}");
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[actix_web::test]
async fn what_cannot_be_admitted_is_refused_with_what_to_do() {
    let bench = Bench::start(On::Process).await;
    let rate = |rate: Value| json!({"concurrency": {"key": "k", "rate": rate}});
    for (more, pointer, message) in [
        (json!({"priority": 101}), "/priority", "between -100 and 100"),
        (json!({"priority": "high"}), "/priority", "expected a whole number"),
        (json!({"tenant": ""}), "/tenant", "1 to 63"),
        (json!({"tenant": "a b"}), "/tenant", "letters"),
        (json!({"concurrency": "db"}), "/concurrency", "expected a JSON object"),
        (json!({"concurrency": {"limit": 1}}), "/concurrency/key", "is missing"),
        (json!({"concurrency": {"key": "k"}}), "/concurrency/limit", "is missing"),
        (json!({"concurrency": {"key": "", "limit": 1}}), "/concurrency/key", "1 to 200"),
        (json!({"concurrency": {"key": "a\nb", "limit": 1}}), "/concurrency/key", "control character"),
        (json!({"concurrency": {"key": "k", "limit": 0}}), "/concurrency/limit", "between 1 and"),
        (json!({"concurrency": {"key": "k", "limit": -1}}), "/concurrency/limit", "out of its range"),
        (
            json!({"concurrency": {"key": "k", "limit": 1, "on_conflict": "cancel"}}),
            "/concurrency/on_conflict",
            "`skip`",
        ),
        (json!({"concurrency": {"key": "k", "limti": 1}}), "/concurrency/limti", "did you mean `limit`"),
        (rate(json!({"limit": 0, "per": "1s"})), "/concurrency/rate/limit", "between 1 and"),
        (rate(json!({"limit": 1, "per": "0s"})), "/concurrency/rate/per", "longer than 0"),
        (rate(json!({"limit": 1, "per": "1s", "burst": 0})), "/concurrency/rate/burst", "between 1 and"),
        (rate(json!({"limit": 1})), "/concurrency/rate/per", "is missing"),
    ] {
        let (status, problem) = bench.post("/v1/jobs", &with(json!({"args": ["true"]}), more.clone())).await;
        assert!(matches!(status, 400 | 422), "{more}: {status} {problem}");
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("{more}: {problem}"));
        let hit = errors.iter().any(|error| {
            error["pointer"] == pointer
                && error["message"].as_str().is_some_and(|text| text.contains(message))
        });
        assert!(hit, "{more} should have said {message:?} at {pointer}, but said {problem}");
    }
    let answer = bench.request(Method::GET, "/v1/admission?x=1").send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let answer = bench.http().get(format!("{}/v1/admission", bench.url())).send().await.unwrap();
    assert_eq!(answer.status(), 401);
}
