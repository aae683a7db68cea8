//! The real binary as a server on a directory of its own, driven over HTTP.
//!
//! Not responsible for: what is asserted. Invariant: dropped, the server is gone and so is every container
//! that it started; every wait has a deadline, and what failed shows the server's log.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dogwatch::serve::addresses::Addresses;
use futures_util::StreamExt as _;
use reqwest::{Method, RequestBuilder, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cli_run::data_dir;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// The image of the tests; `cargo xtask prepare` makes it.
pub(crate) const IMAGE: &str = "dogwatch-test";

/// A file of this name in the directory that a server is started in is its configuration.
pub(crate) const CONFIG: &str = "bench.toml";

/// The engine of this host.
const ENGINE: &str = "unix:///var/run/docker.sock";

/// What attempts run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Process,
    Docker,
}

/// A shell function that makes a callback with what an attempt finds in its environment.
const CALL_IN_CONTAINER: &str = r#"call() { timeout 5 wget -q -O /dev/null --header "Authorization: Bearer $DOGWATCH_CALLBACK_TOKEN" --post-data "$1" "$DOGWATCH_CALLBACK_URL"; }"#;
// A server that is killed in the middle must not be the end of the shell: a write to it is a signal otherwise.
const CALL_IN_PROCESS: &str = r#"trap '' PIPE
call() {
  rest=${DOGWATCH_CALLBACK_URL#http://}; host=${rest%%/*}
  exec 3<>"/dev/tcp/${host%:*}/${host##*:}" || return 1
  printf 'POST /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' \
    "${rest#*/}" "$host" "$DOGWATCH_CALLBACK_TOKEN" "${#1}" "$1" >&3 || { exec 3>&-; return 1; }
  IFS= read -r status <&3; exec 3>&-
  case $status in *' 2'*) ;; *) return 1 ;; esac
}"#;

impl On {
    /// A job that runs this script, with `call JSON` for callbacks.
    pub(crate) fn script(self, script: &str) -> Value {
        match self {
            Self::Docker => {
                json!({"image": IMAGE, "args": ["sh", "-c", format!("{CALL_IN_CONTAINER}\n{script}")]})
            }
            Self::Process => json!({"args": ["bash", "-c", format!("{CALL_IN_PROCESS}\n{script}")]}),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
        }
    }
}

/// `spec` with the members of `more` over it.
pub(crate) fn with(mut spec: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("{more} is no object") };
    for (key, value) in more {
        spec[key] = value;
    }
    spec
}

/// A server.
pub(crate) struct Bench {
    pub(crate) on: On,
    dir: TempDir,
    env: Vec<(String, String)>,
    child: Option<Child>,
    http: reqwest::Client,
    /// The engine that its containers are on, as the test itself reaches it.
    engine: String,
    /// What is started.
    program: PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        }
        end_processes(self.path());
        for container in self.containers("ps --all") {
            docker_at(&self.engine, &["rm", "--force", "--volumes", &container]);
        }
    }
}

/// Ends the attempts that are left when a test ends, as those do that outlive their server: each has a shim that was told
/// its directory.
fn end_processes(data_dir: &Path) {
    let below = format!("--dogwatch-attempt-shim\0{}/", data_dir.display());
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let Some(shim) = entry.file_name().to_str().filter(|_| command.contains(&below)).map(str::to_owned)
        else {
            continue;
        };
        let children = std::fs::read_to_string(entry.path().join("task").join(&shim).join("children"));
        for pid in children.unwrap_or_default().split_whitespace().chain([shim.as_str()]) {
            if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                // One that is gone by now is what is wanted.
                kill_process(pid, Signal::KILL).ok();
            }
        }
    }
}

/// Runs the engine's own client; its answer, or nothing where it failed.
pub(crate) fn docker(args: &[&str]) -> Option<String> {
    docker_at(ENGINE, args)
}

/// The same on another engine.
pub(crate) fn docker_at(engine: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new("docker");
    let done = command.args(["--host", engine]).args(args).stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

impl Bench {
    pub(crate) async fn start(on: On) -> Self {
        Self::start_with(on, &[]).await
    }

    /// One with more in its environment.
    pub(crate) async fn start_with(on: On, env: &[(&str, &str)]) -> Self {
        Self::start_in(data_dir(), on, env).await
    }

    /// One on this directory.
    pub(crate) async fn start_in(dir: TempDir, on: On, env: &[(&str, &str)]) -> Self {
        dogwatch::client::install_tls();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let program = PathBuf::from(env!("CARGO_BIN_EXE_dogwatch"));
        let mut bench = Self { on, dir, env, child: None, http, engine: ENGINE.to_owned(), program };
        bench.boot().await;
        bench
    }

    /// One whose containers are on this engine; how it gets there is said in the environment.
    pub(crate) async fn start_on(engine: &str, env: &[(&str, &str)]) -> Self {
        let mut bench = Self::start_with(On::Docker, env).await;
        engine.clone_into(&mut bench.engine);
        bench
    }

    /// The engine that its containers are on.
    pub(crate) fn engine(&self) -> &str {
        &self.engine
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where workers connect.
    pub(crate) fn grpc(&self) -> String {
        let addresses = Addresses::read(self.path()).expect("it listens");
        addresses.grpc.expect("workers may connect").trim_start_matches("http://").to_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.path().join("server.log")
    }

    /// What the server wrote to its log, over all its lives.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The command that starts it, ready to be run.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--callback-listen", "127.0.0.1:0"]);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("DOGWATCH_DATA_DIR", self.path());
        command.env("DOGWATCH_RUNTIME", self.on.name()).envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let config = self.config();
        if config.exists() {
            command.arg("--config").arg(config);
        }
        command
    }

    /// The file of its configuration, for a test that writes one.
    pub(crate) fn config(&self) -> PathBuf {
        self.path().join(CONFIG)
    }

    /// Starts it on its directory.
    pub(crate) async fn boot(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let child = self.child.insert(self.command().stderr(log).spawn().unwrap());
        let pid = child.id();
        self.eventually("the server listens", async || {
            let addresses = Addresses::read(self.path()).filter(|addresses| addresses.pid == pid)?;
            self.http.get(format!("{}/livez", addresses.api)).send().await.ok()
        })
        .await;
    }

    /// Starts it with this fault armed. Should it crash before it listens, it is started again without.
    pub(crate) async fn boot_with(&mut self, fault: &str) {
        assert!(self.child.is_none(), "it runs already");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let child = self.command().env("DOGWATCH_FAULT", fault).stderr(log).spawn().unwrap();
        let (pid, child) = (child.id(), std::cell::RefCell::new(child));
        let listens = self
            .eventually("the server listens or has crashed", async || {
                if child.borrow_mut().try_wait().unwrap().is_some() {
                    return Some(false);
                }
                let addresses = Addresses::read(self.path()).filter(|addresses| addresses.pid == pid)?;
                self.http.get(format!("{}/livez", addresses.api)).send().await.ok().map(|_| true)
            })
            .await;
        if listens {
            self.child = Some(child.into_inner());
        } else {
            self.boot().await;
        }
    }

    /// Ends the server by this signal.
    pub(crate) fn end(&mut self, signal: Signal) {
        let mut child = self.child.take().expect("it runs");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        let log = self.log();
        assert_eq!(status.success(), signal == Signal::TERM, "{status}\n{log}");
        assert!(!log.contains("did not end in time"), "a part of it did not end:\n{log}");
    }

    /// Waits until the server ends by itself, and gives its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let child = std::cell::RefCell::new(self.child.take().expect("it runs"));
        let ended = async || child.borrow_mut().try_wait().unwrap();
        self.eventually("the server ends by itself", ended).await.code()
    }

    /// From now on a copy of the binary is started, from this file of the data directory; what is there is
    /// replaced as an upgrade does it, while it may be running.
    pub(crate) fn install(&mut self, name: &str) {
        let (new, file) = (self.path().join("new"), self.path().join(name));
        std::fs::copy(env!("CARGO_BIN_EXE_dogwatch"), &new).unwrap();
        std::fs::rename(new, &file).unwrap();
        self.program = file;
    }

    /// The process id of the server.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Kills the server while requests are under way; [`Bench::restart`] must follow.
    pub(crate) fn strike(&self) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), Signal::KILL).unwrap();
    }

    /// Ends the server by this signal and starts it again.
    pub(crate) async fn restart(&mut self, signal: Signal) {
        self.end(signal);
        self.boot().await;
    }

    /// Asks until there is an answer.
    pub(crate) async fn eventually<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut pace = interval(Duration::from_millis(25));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
            pace.tick().await;
        }
    }

    /// The root key of the API.
    pub(crate) fn key(&self) -> String {
        std::fs::read_to_string(self.path().join("root.key")).unwrap().trim().to_owned()
    }

    /// A request to the API with the root key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let addresses = Addresses::read(self.path()).expect("the server has told its addresses");
        self.http.request(method, format!("{}{path}", addresses.api)).bearer_auth(self.key())
    }

    /// Where the API is.
    pub(crate) fn url(&self) -> String {
        Addresses::read(self.path()).expect("the server has told its addresses").api
    }

    /// Where callbacks go.
    pub(crate) fn callback_url(&self) -> String {
        Addresses::read(self.path()).expect("the server has told its addresses").callback
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "GET {path}");
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// What the server says of its readiness, also while it is not ready.
    pub(crate) async fn readiness(&self) -> Value {
        let answer = self.request(Method::GET, "/readyz").send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// Posts, and gives status and answer.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.request(Method::POST, path);
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    /// Submits a job and gives its id.
    pub(crate) async fn submit(&self, spec: &Value) -> String {
        let (status, job) = self.post("/v1/jobs", spec).await;
        assert_eq!(status, 202, "{job}");
        job["id"].as_str().unwrap().to_owned()
    }

    /// Asks something of a job that must be accepted.
    pub(crate) async fn ask(&self, id: &str, verb: &str) -> Value {
        let (status, job) = self.post(&format!("/v1/jobs/{id}/{verb}"), &Value::Null).await;
        assert_eq!(status, 202, "{verb}: {job}");
        job
    }

    pub(crate) async fn job(&self, id: &str) -> Value {
        self.get(&format!("/v1/jobs/{id}")).await
    }

    /// The job once it is over.
    pub(crate) async fn over(&self, id: &str) -> Value {
        let job = self.get(&format!("/v1/jobs/{id}?wait=30s")).await;
        let state = job["state"].as_str().unwrap();
        assert!(matches!(state, "succeeded" | "failed" | "cancelled"), "not over: {job}");
        job
    }

    /// The job once this holds of it.
    pub(crate) async fn until(&self, id: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.eventually(what, async || Some(self.job(id).await).filter(&holds)).await
    }

    pub(crate) async fn in_state(&self, id: &str, state: &str) -> Value {
        self.until(id, state, |job| job["state"] == state).await
    }

    /// What the newest attempt wrote.
    pub(crate) async fn logs(&self, id: &str, query: &str) -> String {
        let answer = self.request(Method::GET, &format!("/v1/jobs/{id}/logs{query}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let mut text = Vec::new();
        let mut parts = answer.bytes_stream();
        while let Some(part) = parts.next().await {
            text.extend_from_slice(&part.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    /// The kinds of the entries of a job's history.
    pub(crate) async fn history(&self, id: &str) -> Vec<String> {
        let page = self.get(&format!("/v1/jobs/{id}/history")).await;
        let entries = page["entries"].as_array().unwrap().clone();
        for (index, entry) in entries.iter().enumerate() {
            assert_eq!(entry["seq"], index as u64 + 1, "{entries:?}");
        }
        entries.iter().map(|entry| entry["type"].as_str().unwrap().to_owned()).collect()
    }

    /// How many jobs there are.
    pub(crate) async fn count_jobs(&self) -> usize {
        let (mut found, mut path) = (0, "/v1/jobs?limit=100".to_owned());
        loop {
            let page = self.get(&path).await;
            found += page["jobs"].as_array().unwrap().len();
            let Some(cursor) = page["next_cursor"].as_str() else { return found };
            path = format!("/v1/jobs?limit=100&cursor={cursor}");
        }
    }

    /// Who this installation is.
    pub(crate) fn installation(&self) -> String {
        let mut text = String::new();
        let file = std::fs::File::open(self.path().join("installation"));
        drop(file.and_then(|mut file| file.read_to_string(&mut text)));
        text.trim().to_owned()
    }

    /// The ids of this installation's containers, as the engine lists them.
    pub(crate) fn containers(&self, list: &str) -> Vec<String> {
        if self.on == On::Process {
            return vec![];
        }
        let label = format!("label=dev.dogwatch.installation={}", self.installation());
        let mut args: Vec<&str> = list.split(' ').collect();
        args.extend(["--quiet", "--no-trunc", "--filter", &label]);
        docker_at(&self.engine, &args).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Waits until nothing is left of any attempt.
    pub(crate) async fn cleared(&self) {
        self.eventually("nothing is left over", async || {
            self.containers("ps --all").is_empty().then_some(())
        })
        .await;
    }
}
