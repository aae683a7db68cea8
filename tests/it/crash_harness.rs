//! The real binary under load, killed again and again, and then everything that was recorded is checked.
//!
//! Submissions (some sent twice with one key), callbacks (each sent three times), cancels and reads go on while
//! the server is killed at random moments, or crashes at a random named point (`dogwatch_actors::fault`). An answer
//! that never came may go either way, but not both. At the end everything acknowledged must come to its end.
//!
//! `DOGWATCH_PROVE_CYCLES` sets the number of kills with processes (default 8), `DOGWATCH_PROVE_DOCKER_CYCLES`
//! that with containers (default 2), `DOGWATCH_PROVE_SEED` the seed. Not responsible for power loss: the
//! operating system lives on, the stores' own tests drop what was not synced.

use std::cell::Cell;
use std::collections::BTreeSet;

use dogwatch_actors::fault::ALL;
use futures_util::future::join_all;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On, with};
use crate::ledger::Ledger;
use crate::random::{Random, setting};

/// The most answers in one life of the server: an engine runs some four containers in a second.
const fn answers_max(on: On) -> u64 {
    match on {
        On::Process => 200,
        On::Docker => 15,
    }
}

/// Clients at the same time.
const CLIENTS: usize = 6;

/// What a job is to do, and so how it must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It exits.
    Exits,
    /// It calls back until it is heard, and twice more.
    Calls,
    /// It sleeps until it is cancelled.
    Sleeps,
}

impl Kind {
    fn pick(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Self::Calls,
            1 => Self::Sleeps,
            _ => Self::Exits,
        }
    }

    fn spec(self, on: On, ledger: &Ledger) -> Value {
        let mark = ledger.mark();
        let script = match self {
            Self::Exits => mark,
            Self::Calls => format!(
                "{mark}\nsaid='{{\"event\": \"completed\", \"id\": \"done\", \"data\": '$DOGWATCH_ATTEMPT'}}'\n\
                 until call \"$said\"; do sleep 0.1; done; call \"$said\"; call \"$said\"; exit 0"
            ),
            Self::Sleeps => format!("{mark}\nsleep 864000 & wait"),
        };
        with(on.script(&script), json!({"stop_grace": "1s", "max_attempts": 1}))
    }

    const fn end(self) -> &'static str {
        if matches!(self, Self::Sleeps) { "cancelled" } else { "succeeded" }
    }
}

/// What is known of one submission.
#[derive(Debug, Clone)]
struct Submission {
    key: String,
    kind: Kind,
    /// Every id that an answer named. There must be one.
    ids: BTreeSet<String>,
    /// A cancel was answered.
    cancelled: bool,
    /// The last end that was read.
    end: Option<String>,
}

/// One client for one life of the server: submits, reads and cancels until the server dies.
async fn client(
    bench: &Bench,
    ledger: &Ledger,
    last: &Cell<u64>,
    name: String,
    seed: u64,
    old: Vec<Submission>,
) -> Vec<Submission> {
    let mut random = Random::new(seed);
    let mut all = old;
    for number in 0.. {
        let kind = Kind::pick(&mut random);
        let key = format!("{name}-{number}");
        all.push(Submission { key, kind, ids: BTreeSet::new(), cancelled: false, end: None });
        let newest = all.len() - 1;
        if submit(bench, ledger, &mut all[newest]).await.is_none() {
            return all;
        }
        last.set(last.get().saturating_sub(1));
        if last.get() == 0 {
            bench.strike();
        }
        let index = usize::try_from(random.below(all.len() as u64)).unwrap();
        let done = match random.below(4) {
            0 => submit(bench, ledger, &mut all[index]).await,
            1 => cancel(bench, &mut all[index]).await,
            2 => read(bench, &mut all[index]).await,
            _ => Some(()),
        };
        if done.is_none() {
            return all;
        }
    }
    all
}

async fn submit(bench: &Bench, ledger: &Ledger, submission: &mut Submission) -> Option<()> {
    let request = bench.request(Method::POST, "/v1/jobs").json(&submission.kind.spec(bench.on, ledger));
    let answer = request.header("idempotency-key", &submission.key).send().await.ok()?;
    let status = answer.status();
    let job: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
    assert_eq!(status, 202, "{job}");
    submission.ids.insert(job["id"].as_str().unwrap().to_owned());
    assert_eq!(submission.ids.len(), 1, "one key, several jobs: {submission:?}");
    Some(())
}

async fn cancel(bench: &Bench, submission: &mut Submission) -> Option<()> {
    let Some(id) = submission.ids.first().filter(|_| submission.kind == Kind::Sleeps) else {
        return Some(());
    };
    let answer = bench.request(Method::POST, &format!("/v1/jobs/{id}/cancel")).send().await.ok()?;
    assert!(matches!(answer.status().as_u16(), 202 | 409), "{}", answer.status());
    submission.cancelled = true;
    Some(())
}

async fn read(bench: &Bench, submission: &mut Submission) -> Option<()> {
    let Some(id) = submission.ids.first() else { return Some(()) };
    let answer = bench.request(Method::GET, &format!("/v1/jobs/{id}")).send().await.ok()?;
    let status = answer.status();
    let job: Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
    assert_eq!(status, 200, "an acknowledged job is lost: {submission:?}");
    let state = job["state"].as_str().unwrap();
    if let Some(end) = &submission.end {
        assert_eq!(state, end, "an end changed: {job}");
    }
    if matches!(state, "succeeded" | "failed" | "cancelled") {
        assert!(submission.kind != Kind::Sleeps || state == "cancelled", "{job}");
        submission.end = Some(state.to_owned());
    }
    Some(())
}

/// Where the next life of the server ends, if it comes there; in every other one nowhere.
fn fault(random: &mut Random) -> String {
    let points = ALL.len() as u64;
    let (at_all, point, nth) = (random.below(2), random.below(points), 1 + random.below(15));
    let point = ALL[usize::try_from(point).unwrap()].name();
    if cfg!(feature = "fault-points") && at_all == 1 { format!("{point}=crash@{nth}") } else { String::new() }
}

#[tokio::test]
async fn killed_under_load_nothing_is_lost_doubled_or_stuck() {
    killed_under_load(On::Process, setting("DOGWATCH_PROVE_CYCLES", 8)).await;
}

mod docker {
    //! The same with containers.

    #[tokio::test]
    async fn killed_under_load_nothing_is_lost_doubled_or_stuck() {
        let cycles = crate::random::setting("DOGWATCH_PROVE_DOCKER_CYCLES", 2);
        super::killed_under_load(super::On::Docker, cycles).await;
    }
}

async fn killed_under_load(on: On, cycles: u64) {
    let seed = setting("DOGWATCH_PROVE_SEED", 20_261_121);
    println!("{on:?}: cycles {cycles}, seed {seed}");
    let mut random = Random::new(seed);
    let mut bench = Bench::start(on).await;
    let ledger = Ledger::open(&bench);
    let mut clients: Vec<Vec<Submission>> = vec![Vec::new(); CLIENTS];
    for cycle in 0..cycles {
        // The answer after which it is killed, while the other clients wait for theirs.
        let last = Cell::new(5 + random.below(answers_max(on)));
        let work = clients.drain(..).enumerate().map(|(index, old)| {
            client(&bench, &ledger, &last, format!("{cycle}-{index}"), random.below(u64::MAX), old)
        });
        clients = join_all(work.collect::<Vec<_>>()).await;
        bench.end(Signal::KILL);
        bench.boot_with(&fault(&mut random)).await;
    }
    // The last life is one without faults.
    bench.restart(Signal::KILL).await;
    let mut all: Vec<Submission> = clients.into_iter().flatten().collect();
    for submission in &mut all {
        // Sent until it is answered; what was recorded without an answer is found by its key.
        submit(&bench, &ledger, submission).await.expect("the server lives on");
        if submission.kind == Kind::Sleeps {
            cancel(&bench, submission).await.expect("the server lives on");
        }
    }
    check(&bench, &ledger, &all).await;
    let crashes = bench.log().lines().filter(|line| line.contains("fault point hit")).count();
    println!(
        "{} submissions over {cycles} kills and crashes ({crashes} at named points): 0 lost, 0 doubled, 0 run twice, 0 stuck",
        all.len()
    );
}

/// The job once it is over. However busy the machine is, at least ten processes or one container end in a second, and
/// all that were submitted may be before this one.
async fn over(bench: &Bench, id: &str, all: usize) -> Value {
    let waits = if bench.on == On::Docker { all / 30 } else { all / 300 };
    for _ in 0..waits {
        let job = bench.get(&format!("/v1/jobs/{id}?wait=30s")).await;
        if job["finished_at"].is_string() {
            break;
        }
    }
    bench.over(id).await
}

async fn check(bench: &Bench, ledger: &Ledger, all: &[Submission]) {
    for submission in all {
        let id = submission.ids.first().unwrap();
        let job = over(bench, id, all.len()).await;
        assert_eq!(job["state"], submission.kind.end(), "{submission:?}: {job}");
        if let Some(end) = &submission.end {
            assert_eq!(job["state"], end.as_str(), "an end changed: {job}");
        }
        if submission.kind == Kind::Calls {
            assert_eq!(job["output"], 1, "the callback of the first attempt counts: {job}");
            let history = bench.history(id).await;
            let heard = history.iter().filter(|kind| *kind == "callback_received").count();
            assert_eq!(heard, 1, "a callback was applied {heard} times: {history:?}");
        }
    }
    let ids: BTreeSet<&String> = all.iter().filter_map(|submission| submission.ids.first()).collect();
    assert_eq!(ids.len(), all.len(), "two keys share a job");
    assert_eq!(bench.count_jobs().await, all.len(), "there are jobs that nobody submitted");
    ledger.nothing_is_left(bench).await;
    let twice: Vec<_> = ledger.starts().into_iter().filter(|(_, starts)| *starts > 1).collect();
    assert!(twice.is_empty(), "attempts ran twice: {twice:?}");
}
