//! A server that has several lives, and a client that asks until it is answered.
//!
//! Not responsible for: when a life begins and ends. Invariant: dropped, the server is gone.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dogwatch::serve::addresses::Addresses;
use dogwatch_actors::fault::Point;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cli_run::data_dir;

/// How long anything may take, with several servers on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often is looked whether something came to be.
const PACE: Duration = Duration::from_millis(20);

/// The server and its directory.
pub(crate) struct Site {
    dir: TempDir,
    child: Mutex<Option<Child>>,
    http: reqwest::Client,
    lives: AtomicUsize,
    crashes: AtomicUsize,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let from = log.lines().count().saturating_sub(60);
            let last: Vec<&str> = log.lines().skip(from).collect();
            eprintln!("--- {} lives; the end of the log ---\n{}", self.lives(), last.join("\n"));
        }
    }
}

impl Site {
    pub(crate) fn new() -> Self {
        dogwatch::client::install_tls();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self {
            dir: data_dir(),
            child: Mutex::default(),
            http,
            lives: AtomicUsize::new(0),
            crashes: AtomicUsize::new(0),
        }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Starts a life with these faults.
    pub(crate) fn spawn(&self, faults: &str) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path().join("server.log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_dogwatch"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--callback-listen", "127.0.0.1:0"]);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("DOGWATCH_DATA_DIR", self.path());
        command.env("DOGWATCH_RUNTIME", "process").env("DOGWATCH_WEBHOOKS__ALLOW_PRIVATE_NETWORKS", "true");
        // Two threads each: several servers share the machine.
        command.env("DOGWATCH_SERVER__THREADS", "2").env("DOGWATCH_FAULT", faults);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.unwrap());
        *self.child.lock().unwrap() = Some(command.spawn().unwrap());
        self.lives.fetch_add(1, Ordering::SeqCst);
    }

    /// Kills the server, if it lives.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Whether it ended, by itself or by a kill.
    pub(crate) fn has_ended(&self) -> bool {
        let mut child = self.child.lock().unwrap();
        let Some(living) = child.as_mut() else { return true };
        let Some(status) = living.try_wait().unwrap() else { return false };
        if status.signal() == Some(Signal::ABORT.as_raw()) {
            self.crashes.fetch_add(1, Ordering::SeqCst);
        }
        child.take();
        true
    }

    /// The exit code, once it ended by itself.
    pub(crate) async fn exit_code(&self) -> Option<i32> {
        let ended = async || self.child.lock().unwrap().as_mut().expect("it was started").try_wait().unwrap();
        let status = self.eventually("it ends by itself", ended).await;
        self.child.lock().unwrap().take();
        status.code()
    }

    /// A command line on the directory.
    pub(crate) fn command(&self, args: &[&str]) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dogwatch"));
        command.args(args).env_clear().env("PATH", "/usr/bin:/bin").env("DOGWATCH_DATA_DIR", self.path());
        command.output().unwrap()
    }

    pub(crate) fn lives(&self) -> usize {
        self.lives.load(Ordering::SeqCst)
    }

    /// How many lives ended by a crash.
    pub(crate) fn crashes(&self) -> usize {
        self.crashes.load(Ordering::SeqCst)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("server.log")).unwrap_or_default()
    }

    /// Whether the log says that the point was hit.
    pub(crate) fn was_hit(&self, point: Point) -> bool {
        let name = format!("point=\"{}\"", point.name());
        self.log().lines().any(|line| line.contains("fault point hit") && line.contains(&name))
    }

    /// Lets a moment pass.
    pub(crate) async fn look_again(&self) {
        let mut pace = interval(PACE);
        pace.tick().await;
        pace.tick().await;
    }

    /// Asks until there is an answer.
    pub(crate) async fn eventually<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            pace.tick().await;
        }
    }

    /// The addresses of the life that lives now. Those of an earlier one may be somebody else's by now.
    pub(crate) fn addresses(&self) -> Option<Addresses> {
        let pid = self.child.lock().unwrap().as_ref()?.id();
        Addresses::read(self.path()).filter(|addresses| addresses.pid == pid)
    }

    async fn try_ask(&self, method: Method, path: &str, body: &Value, key: &str) -> Option<(u16, Value)> {
        let api = self.addresses()?.api;
        let root = std::fs::read_to_string(self.path().join("root.key")).ok()?;
        let mut request = self.http.request(method, format!("{api}{path}")).bearer_auth(root.trim());
        if !body.is_null() {
            request = request.json(body);
        }
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.ok()?;
        // Refused for now, or nobody knows whether it was done: asked again.
        let counts = status < 500 && status != 429;
        counts.then(|| (status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    /// Asks until it is answered, over as many lives as it takes.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &Value, key: &str) -> (u16, Value) {
        self.eventually(path, async || self.try_ask(method.clone(), path, body, key).await).await
    }

    /// Makes this callback until it is answered 2xx.
    pub(crate) async fn call(&self, url: &str, token: &str, number: u64) -> Value {
        let body = json!({"event": "note", "id": number.to_string(), "data": number});
        self.eventually("a callback is answered", async || {
            // Its port stays over the lives; while nobody has it, another server may.
            self.addresses().filter(|addresses| url.starts_with(&addresses.callback))?;
            let answer = self.http.post(url).bearer_auth(token).json(&body).send().await.ok()?;
            let counts = answer.status().is_success();
            let bytes = answer.bytes().await.ok()?;
            counts.then(|| serde_json::from_slice(&bytes).unwrap())
        })
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path, &Value::Null, "").await;
        assert_eq!(status, 200, "GET {path}: {answer}");
        answer
    }

    /// Submits with this key until it is answered.
    pub(crate) async fn submit(&self, spec: &Value, key: &str) -> String {
        let (status, job) = self.ask(Method::POST, "/v1/jobs", spec, key).await;
        assert_eq!(status, 202, "{job}");
        job["id"].as_str().unwrap().to_owned()
    }

    /// The job once this holds of it.
    pub(crate) async fn until(&self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let path = format!("/v1/jobs/{id}");
        self.eventually(what, async || Some(self.get(&path).await).filter(&holds)).await
    }

    /// The job once it is over.
    pub(crate) async fn over(&self, id: &str) -> Value {
        let is_over = |job: &Value| {
            matches!(job["state"].as_str().unwrap_or_default(), "succeeded" | "failed" | "cancelled")
        };
        self.until(id, "it is over", is_over).await
    }

    /// The entries of a job's history, which are numbered without a gap.
    pub(crate) async fn history(&self, id: &str) -> Vec<Value> {
        let (mut entries, mut after) = (Vec::new(), Some(0));
        while let Some(last) = after {
            let page = self.get(&format!("/v1/jobs/{id}/history?limit=1000&after={last}")).await;
            entries.extend(page["entries"].as_array().unwrap().iter().cloned());
            after = page["next_after"].as_u64();
        }
        for (index, entry) in entries.iter().enumerate() {
            assert_eq!(entry["seq"], index as u64 + 1, "{entries:?}");
        }
        entries
    }

    /// Waits until nothing is left of any attempt.
    pub(crate) async fn cleared(&self) {
        let processes = self.path().join("processes");
        self.eventually("nothing is left over", async || {
            let mut left = 0;
            for installation in std::fs::read_dir(&processes).ok()? {
                for entry in std::fs::read_dir(installation.ok()?.path()).ok()? {
                    let path = entry.ok()?.path();
                    // The room for files of attempts stays; what is in it does not.
                    let is_room = path.ends_with("files");
                    left += if is_room { std::fs::read_dir(path).ok()?.count() } else { 1 };
                }
            }
            (left == 0).then_some(())
        })
        .await;
    }
}
