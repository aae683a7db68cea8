//! A misbehaving engine: whatever it loses, delays, repeats or refuses, every job comes to its right end, no
//! attempt is started twice, and nothing foreign is touched.
//!
//! `DOGWATCH_PROVE_FAULTS` sets the number of jobs of the random run (default 8), `DOGWATCH_PROVE_SEED` its
//! seed. What ran is told by the engine itself, beside the faults (`ledger.rs`).

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On, docker, with};
use crate::engine_proxy::{Behind, EngineProxy, Fault};
use crate::engine_request::{Kind, Request};
use crate::foreign::Foreign;
use crate::ledger::Ledger;
use crate::random::{Random, setting};

/// A job that runs until the test lets it end, and then with code 5.
fn patient() -> Value {
    let script = "trap 'exit 5' USR1; echo hello; while :; do sleep 0.2 & wait $!; done";
    with(On::Docker.script(script), json!({"max_attempts": 1}))
}

async fn behind(proxy: &EngineProxy) -> Bench {
    Bench::start_with(On::Docker, &[("DOGWATCH_DOCKER__HOST", &proxy.host())]).await
}

/// The container of a job that runs.
async fn container(bench: &Bench, id: &str) -> String {
    bench.in_state(id, "running").await["attempts"][0]["runtime_id"].as_str().unwrap().to_owned()
}

/// What may go wrong with a request. Not twice: a start, which an engine obeys as often as it gets it; no
/// client sends it so, and ours asks again only after a look.
fn any_fault(random: &mut Random, request: &Request) -> Fault {
    if random.below(6) > 0 {
        return Fault::None;
    }
    let late = Fault::Late(Duration::from_millis(random.below(500)));
    let refused = Fault::Refused(if random.below(2) == 0 { 500 } else { 503 });
    let cut = Fault::CutAfter(usize::try_from(random.below(600)).unwrap());
    let of_kind = match request.kind {
        Kind::Create | Kind::Kill | Kind::Remove => vec![Fault::Unheard, Fault::Twice],
        Kind::Events => vec![Fault::Shuffled, cut.clone(), Fault::Shuffled],
        Kind::Wait | Kind::Logs | Kind::Start | Kind::Inspect | Kind::List => vec![Fault::Unheard, cut],
        Kind::Other => vec![],
    };
    let mut all = vec![late, refused, Fault::Lost];
    all.extend(of_kind);
    all.swap_remove(usize::try_from(random.below(all.len() as u64)).unwrap())
}

/// The jobs of the random run, with how they must end: state and exit codes.
fn mixed(number: usize) -> (Value, &'static str, Value) {
    let (script, state, codes) = match number % 4 {
        0 => ("exit 0", "succeeded", json!([0])),
        1 => ("[ $DOGWATCH_ATTEMPT = 3 ] || exit 7", "succeeded", json!([7, 7, 0])),
        2 => ("trap 'exit 9' TERM; sleep 300 & wait", "cancelled", Value::Null),
        _ => {
            let call = r#"until call '{"event": "completed", "id": "x", "data": 7}'; do sleep 0.1; done; sleep 300 & wait"#;
            (call, "succeeded", Value::Null)
        }
    };
    let quick =
        json!({"backoff": {"initial": "50ms", "max": "50ms"}, "stop_grace": "5s", "network": "default"});
    (with(On::Docker.script(script), quick), state, codes)
}

async fn all_over(bench: &Bench) -> bool {
    let page = bench.get("/v1/jobs?limit=100").await;
    page["jobs"].as_array().unwrap().iter().all(|job| job["finished_at"].is_string())
}

#[tokio::test]
async fn under_random_faults_every_job_comes_to_its_right_end() {
    let jobs = usize::try_from(setting("DOGWATCH_PROVE_FAULTS", 8)).unwrap();
    let seed = setting("DOGWATCH_PROVE_SEED", 20_261_121);
    println!("jobs {jobs}, seed {seed}");
    let proxy = EngineProxy::open();
    let mut bench = behind(&proxy).await;
    let ledger = Ledger::open(&bench);
    let mut random = Random::new(seed);
    proxy.fault(move |request| any_fault(&mut random, request));
    let mut submitted = Vec::new();
    for number in 0..jobs {
        let (spec, state, codes) = mixed(number);
        let id = bench.submit(&spec).await;
        submitted.push((id, state, codes));
        if number % 8 == 5 {
            bench.restart(Signal::KILL).await;
        }
        if number % 8 == 7 {
            proxy.put(Behind::Nothing);
            proxy.put(Behind::Engine);
        }
    }
    for (id, state, _) in &submitted {
        if *state == "cancelled" {
            // Some before their start, most while they run.
            bench.until(id, "it is on its way", |job| job["attempt"] == 1).await;
            bench.ask(id, "cancel").await;
        }
    }
    bench
        .eventually("a lot went wrong", async || {
            (proxy.faults() > 5 * jobs || all_over(&bench).await).then_some(())
        })
        .await;
    proxy.mend();
    // As after an outage: whatever pauses looks again.
    proxy.put(Behind::Nothing);
    proxy.put(Behind::Engine);
    let mut ended = Vec::new();
    for (id, state, codes) in &submitted {
        let job = bench.over(id).await;
        assert_eq!(job["state"], *state, "{job}");
        let attempts = job["attempts"].as_array().unwrap();
        if let Some(codes) = codes.as_array() {
            let seen: Vec<&Value> = attempts.iter().map(|attempt| &attempt["exit_code"]).collect();
            assert_eq!(seen, codes.iter().collect::<Vec<_>>(), "{job}");
        }
        ended.push(job);
    }
    let attempts = ledger.agrees_with(&bench, &ended).await;
    let faults = proxy.faults();
    assert!(faults > jobs, "hardly anything went wrong: {faults}");
    println!("{jobs} jobs, {attempts} attempts, {faults} faults: 0 started twice, 0 left over, 0 wrong ends");
}

#[tokio::test]
async fn a_create_that_is_done_and_not_answered_is_found_and_started_once() {
    for fault in [Fault::Unheard, Fault::CutAfter(20), Fault::Twice] {
        let proxy = EngineProxy::open();
        let bench = behind(&proxy).await;
        let ledger = Ledger::open(&bench);
        proxy.fault(move |request| if request.kind == Kind::Create { fault.clone() } else { Fault::None });
        let id = bench.submit(&On::Docker.script("exit 0")).await;
        let job = bench.over(&id).await;
        assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{job}");
        assert_eq!(ledger.agrees_with(&bench, &[job]).await, 1);
        assert!(proxy.faults() > 0, "no create was seen");
    }
}

#[tokio::test]
async fn a_start_that_is_done_and_not_answered_is_not_made_again() {
    let proxy = EngineProxy::open();
    let bench = behind(&proxy).await;
    let ledger = Ledger::open(&bench);
    proxy.fault(|request| if request.kind == Kind::Start { Fault::Unheard } else { Fault::None });
    // Over before anybody looks again: an engine would run it once more.
    let ids = [bench.submit(&On::Docker.script("exit 0")).await, bench.submit(&patient()).await];
    docker(&["kill", "--signal", "USR1", &container(&bench, &ids[1]).await]).unwrap();
    let jobs = [bench.over(&ids[0]).await, bench.over(&ids[1]).await];
    assert_eq!((&jobs[0]["state"], &jobs[0]["attempt"]), (&json!("succeeded"), &json!(1)), "{jobs:?}");
    assert_eq!(ledger.agrees_with(&bench, &jobs).await, 2);
    assert_eq!(proxy.faults(), 2, "each is started once");
}

#[tokio::test]
async fn a_container_that_cannot_be_looked_at_harms_no_other() {
    let proxy = EngineProxy::open();
    let mut bench = behind(&proxy).await;
    let ledger = Ledger::open(&bench);
    let (sick, well) = (bench.submit(&patient()).await, bench.submit(&patient()).await);
    let (sick_one, well_one) = (container(&bench, &sick).await, container(&bench, &well).await);
    let name = format!("dogwatch-{sick}-1");
    proxy.fault(move |request| {
        let hangs = request.kind == Kind::Inspect && request.about == name;
        if hangs { Fault::Mute } else { Fault::None }
    });
    // Over while it cannot be looked at: the list of all containers meets it too.
    docker(&["kill", "--signal", "USR1", &sick_one]).unwrap();
    let others = [bench.submit(&On::Docker.script("exit 0")).await, bench.submit(&patient()).await];
    docker(&["kill", "--signal", "USR1", &container(&bench, &others[1]).await]).unwrap();
    docker(&["kill", "--signal", "USR1", &well_one]).unwrap();
    let began = tokio::time::Instant::now();
    for (id, code) in [(&well, 5), (&others[0], 0), (&others[1], 5)] {
        let job = bench.over(id).await;
        assert_eq!((&job["attempts"][0]["exit_code"], &job["attempt"]), (&json!(code), &json!(1)), "{job}");
    }
    assert!(began.elapsed() < Duration::from_secs(8), "one sick container held the others up");
    let job = bench.job(&sick).await;
    assert_eq!(
        (&job["state"], &job["attempt"]),
        (&json!("running"), &json!(1)),
        "unknown is not exited: {job}"
    );
    assert_eq!(bench.readiness().await["runtimes"]["docker"], true);
    assert!(proxy.faults() > 0, "nobody looked");
    // Nor after a restart, which takes stock of them all.
    let name = format!("dogwatch-{sick}-1");
    proxy.fault(move |request| {
        let fails = request.kind == Kind::Inspect && request.about == name;
        if fails { Fault::Refused(500) } else { Fault::None }
    });
    bench.restart(Signal::KILL).await;
    bench
        .eventually("the others are taken stock of", async || {
            (bench.readiness().await["runtimes"]["docker"] == true).then_some(())
        })
        .await;
    assert_eq!(bench.job(&sick).await["state"], "running");
    proxy.mend();
    let job = bench.over(&sick).await;
    assert_eq!((&job["cause"], &job["attempts"][0]["exit_code"]), (&json!("exit_code"), &json!(5)), "{job}");
    let mut jobs = vec![job, bench.job(&well).await];
    for id in &others {
        jobs.push(bench.job(id).await);
    }
    assert_eq!(ledger.agrees_with(&bench, &jobs).await, 4);
}

#[tokio::test]
async fn what_looks_like_ours_and_is_not_is_left_alone() {
    let mut bench = Bench::start(On::Docker).await;
    let ours = bench.installation();
    let waits = with(On::Docker.script("exit 0"), json!({"suspended": true}));
    let ids = [bench.submit(&waits).await, bench.submit(&waits).await];
    let other = "00000000-0000-4000-8000-00000000000f";
    let foreign = [
        // Of another installation, with the name that an attempt of ours wants.
        Foreign::run(
            &format!("dogwatch-{}-1", ids[0]),
            &[("installation", other), ("job", &ids[0]), ("attempt", "1")],
        ),
        // Of nobody, with such a name.
        Foreign::run(&format!("dogwatch-{}-1", ids[1]), &[]),
        // With labels copied from us, for a job that we have and for one that we have not, under another name.
        Foreign::run(
            &format!("copied-{}", ids[0]),
            &[("installation", &ours), ("job", &ids[0]), ("attempt", "1")],
        ),
        Foreign::run(
            &format!("copied-{}", ids[1]),
            &[("installation", &ours), ("job", other), ("attempt", "7")],
        ),
    ];
    let before: Vec<Option<String>> = foreign.iter().map(Foreign::state).collect();
    for id in &ids {
        bench.ask(id, "resume").await;
        let job = bench.over(id).await;
        assert_eq!((&job["state"], &job["cause"]), (&json!("failed"), &json!("start_error")), "{job}");
        assert!(job["message"].as_str().unwrap().contains(&format!("dogwatch-{id}-1")), "{job}");
    }
    bench.restart(Signal::KILL).await;
    let id = bench.submit(&On::Docker.script("exit 0")).await;
    assert_eq!(bench.over(&id).await["state"], "succeeded");
    bench
        .eventually("only the copies are left", async || {
            (bench.containers("ps --all").len() == 2).then_some(())
        })
        .await;
    let after: Vec<Option<String>> = foreign.iter().map(Foreign::state).collect();
    assert_eq!(after, before, "something foreign was touched");
    assert!(before.iter().all(|state| state.as_ref().is_some_and(|state| state.starts_with("true"))));
}
