//! A little of everything that was promised, and the checks that it was kept.
//!
//! Not responsible for: what happens to the server meanwhile. Every request is repeated until it is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dogwatch_actors::clock::{Clock as _, SystemClock, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::site::Site;
use crate::bench::{On, with};
use crate::webhook_delivery::Receiver;

/// How far ahead the job with a start time starts.
const AHEAD: Duration = Duration::from_millis(300);

/// What was submitted.
pub(super) struct Workload {
    receiver: Receiver,
    exits: String,
    calls: String,
    sleeps: String,
    flaky: String,
    later: String,
    /// Before this the last one must not start.
    later_at: Timestamp,
}

impl Workload {
    /// Submits everything, most of it twice, and cancels what only ends by that. Tells when something runs.
    pub(super) async fn run(site: &Site, running: &Notify) -> Self {
        let receiver = Receiver::start(&[]).await;
        let mark = format!("echo $DOGWATCH_JOB_ID $DOGWATCH_ATTEMPT $$ >> {}/ledger", site.path().display());
        let spec = |script: &str, more: Value| with(On::Process.script(&format!("{mark}\n{script}")), more);
        let sleeps = spec("sleep 300 & wait", json!({"stop_grace": "2s"}));
        // A server that goes away in the middle of an answer must not end it, nor leave the status of the last one.
        let calls = "trap '' PIPE\n\
             say() { until status=; call \"$1\"; do sleep 0.05; done; call \"$1\"; }\n\
             say '{\"event\": \"progress\", \"data\": 1}'\n\
             say '{\"event\": \"completed\", \"id\": \"done\", \"data\": '$DOGWATCH_ATTEMPT'}'; exit 0";
        let calls = spec(calls, json!({}));
        let files = json!({
            "on_complete": [{"url": receiver.url}],
            "inputs": [{"path": "in.txt", "content": "from me"}], "outputs": ["out.txt"],
        });
        let exits = spec("cat in.txt > out.txt", files);
        let flaky =
            spec("[ $DOGWATCH_ATTEMPT -ge 2 ]", json!({"backoff": {"initial": "50ms", "jitter": 0.0}}));
        let later_at = SystemClock.now().after(AHEAD);
        let later = spec("exit 0", json!({"start_at": later_at}));
        let (exits_id, sleeps, calls, flaky, later) = tokio::join!(
            site.submit(&exits, "exits"),
            site.submit(&sleeps, "sleeps"),
            site.submit(&calls, "calls"),
            site.submit(&flaky, "flaky"),
            site.submit(&later, "later"),
        );
        assert_eq!(site.submit(&exits, "exits").await, exits_id, "one key, two jobs");
        let exits = exits_id;
        site.until(&sleeps, "it runs", |job| job["state"] == "running").await;
        // Its process is there before its script has said so; who is stopped in between would seem never to have run.
        let ledger = site.path().join("ledger");
        let said = async || std::fs::read_to_string(&ledger).ok().filter(|text| text.contains(&sleeps));
        site.eventually("it has said so", said).await;
        running.notify_one();
        let (status, job) =
            site.ask(Method::POST, &format!("/v1/jobs/{sleeps}/cancel"), &Value::Null, "").await;
        // A conflict when the answer to the first one was lost and it has ended since.
        assert!(status == 202 || (status == 409 && job["state"] == "cancelled"), "{status}: {job}");
        Self { receiver, exits, calls, sleeps, flaky, later, later_at }
    }

    fn all(&self) -> [&String; 5] {
        [&self.exits, &self.calls, &self.sleeps, &self.flaky, &self.later]
    }

    /// Everything comes to the end that was promised, and nothing was lost, done twice or left over.
    pub(super) async fn check(&self, site: &Site) {
        for id in self.all() {
            let (job, is_cancelled) = (site.over(id).await, *id == self.sleeps);
            let state = if is_cancelled { "cancelled" } else { "succeeded" };
            assert_eq!(job["state"], state, "{job}");
            let attempts = if *id == self.flaky { 2 } else { 1 };
            assert_eq!(job["attempts"].as_array().unwrap().len(), attempts, "{job}");
        }
        let later: Timestamp = site.over(&self.later).await["started_at"].as_str().unwrap().parse().unwrap();
        assert!(later >= self.later_at, "it started {} ms early", self.later_at.since(later).as_millis());
        self.check_histories(site).await;
        self.check_ledger(site);
        let listed = site.get("/v1/jobs?limit=100").await["jobs"].as_array().unwrap().len();
        assert_eq!(listed, self.all().len(), "there are jobs that nobody submitted");
        site.cleared().await;
        self.check_webhook(site).await;
        let left = site.get(&format!("/v1/jobs/{}/artifacts", self.exits)).await;
        let left = left["artifacts"].as_array().unwrap();
        assert!(left.len() == 1 && left[0]["bytes"] == 7, "{left:?}");
        let ready = site.get("/readyz").await;
        assert_eq!(ready["ready"], true, "{ready}");
        // After the faults everything goes on.
        let id = site.submit(&On::Process.script("exit 0"), "afterwards").await;
        assert_eq!(site.over(&id).await["state"], "succeeded");
    }

    async fn check_histories(&self, site: &Site) {
        for id in self.all() {
            let history = site.history(id).await;
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for entry in &history {
                *counts.entry(entry["type"].as_str().unwrap()).or_default() += 1;
            }
            let count = |kind: &str| counts.get(kind).copied().unwrap_or(0);
            let attempts = if *id == self.flaky { 2 } else { 1 };
            assert_eq!(
                (count("submitted"), count("slot_granted"), count("attempt_exited")),
                (1, attempts, attempts),
                "{history:?}"
            );
            assert_eq!(count("cancel_requested"), usize::from(*id == self.sleeps), "{history:?}");
            let heard = if *id == self.calls { 2 } else { 0 };
            assert_eq!(count("callback_received"), heard, "a callback counts once: {history:?}");
        }
        let job = site.over(&self.calls).await;
        assert_eq!((&job["output"], &job["progress"]), (&json!(1), &json!(1)), "{job}");
    }

    /// Each attempt ran exactly once, and none of them still does.
    fn check_ledger(&self, site: &Site) {
        let ledger = std::fs::read_to_string(site.path().join("ledger")).unwrap();
        let mut runs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for line in ledger.lines() {
            let [job, attempt, pid] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            *runs.entry((job, attempt)).or_default() += 1;
            let command = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default();
            assert!(!command.contains(job), "attempt {attempt} of {job} still runs");
        }
        assert!(runs.values().all(|count| *count == 1), "an attempt ran twice: {runs:?}");
        assert_eq!(runs.len(), self.all().len() + 1, "an attempt never ran: {runs:?}");
    }

    async fn check_webhook(&self, site: &Site) {
        let delivered = site
            .eventually("it is delivered", async || {
                let hooks = site.get(&format!("/v1/jobs/{}/webhooks", self.exits)).await;
                let hook = &hooks["webhooks"][0];
                (hook["pending"] == 0 && hook["delivered"] == 1).then(|| self.receiver.all())
            })
            .await;
        assert!(!delivered.is_empty(), "it counts as delivered and never came");
        let ids: BTreeSet<&str> = delivered.iter().map(|request| request.header("webhook-id")).collect();
        assert_eq!(ids.len(), 1, "one message, several ids");
        for request in &delivered {
            assert_eq!(request.json()["data"]["state"], "succeeded");
        }
    }
}
