//! An application with orchestrations in it, killed again and again under load; then everything that was answered is
//! checked: every instance comes to what its code says, every event counts once, and the store is whole.
//!
//! `DOGWATCH_PROVE_CYCLES` sets the number of kills (default 8), `DOGWATCH_PROVE_SEED` the seed. Not responsible for
//! power loss and for the order of things: the simulation of `dogwatch-actors` is.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use actix_web::{App, HttpServer};
use dogwatch::api::{Auth, Mount as _};
use dogwatch_actors::orchestration::{
    ActivityContext, Failure, OrchestrationContext, Registry, Result as CodeResult, try_join_all,
};
use dogwatch_actors::prelude::*;
use dogwatch_actors::secret::Secret;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::api_support::KEY;
use crate::cli_binary::{Guarded, reader};
use crate::random::{Random, setting};

/// Where the program finds its directory. Without it, it does nothing.
const ENV_DIR: &str = "DOGWATCH_TEST_WORKFLOWS";

/// What the program says before its address.
const LISTENING: &str = "listening on ";

/// Events that each instance of `sums` waits for.
const EVENTS: u64 = 5;

/// Clients at the same time.
const CLIENTS: usize = 6;

async fn chain(ctx: OrchestrationContext, mut number: u64) -> CodeResult<u64> {
    for _ in 0..5 {
        number = ctx.activity("add", number).await?;
    }
    Ok(number)
}

async fn sums(ctx: OrchestrationContext, _: u64) -> CodeResult<u64> {
    let mut sum = 0;
    for _ in 0..EVENTS {
        sum += ctx.event::<u64>("number").await?;
    }
    Ok(sum)
}

async fn family(ctx: OrchestrationContext, number: u64) -> CodeResult<u64> {
    let children = (0..3).map(|child| ctx.child::<u64>("chain", number + child));
    Ok(try_join_all(children).await?.into_iter().sum())
}

async fn works(ctx: OrchestrationContext, number: u64) -> CodeResult<u64> {
    ctx.timer(Duration::from_millis(50)).await;
    ctx.job(Spec::process(["/bin/true"])).await?.success()?;
    Ok(number)
}

/// What an instance must come to.
fn worth(kind: &str, number: u64) -> u64 {
    match kind {
        "chain" => number + 5,
        "sums" => EVENTS * (EVENTS + 1) / 2,
        "family" => 3 * number + 3 + 15,
        _ => number,
    }
}

/// Not a test by itself: the application that is killed. Without its environment it does nothing.
#[test]
fn program() {
    let Some(dir) = std::env::var_os(ENV_DIR) else { return };
    actix::System::new().block_on(serve(PathBuf::from(dir)));
}

async fn serve(dir: PathBuf) {
    let ran = dir.join("ran");
    let add = move |ctx: ActivityContext, number: u64| {
        let ran = ran.clone();
        async move {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(ran)?;
            writeln!(file, "{}/{}", ctx.instance_id(), ctx.task_id())?;
            Ok::<u64, Failure>(number + 1)
        }
    };
    let registry = Registry::new()
        .orchestration("chain", chain)
        .orchestration("sums", sums)
        .orchestration("family", family)
        .orchestration("works", works)
        .activity("add", add);
    let home = Home::open(dir.join("data")).await.unwrap();
    let processes = home.processes(Shim::executable(env!("CARGO_BIN_EXE_dogwatch"))).unwrap();
    let builder = home.builder().await.unwrap().runtime(processes);
    let supervisor = builder.orchestrations(registry).start().await.unwrap();
    let routes = supervisor.handle().configure(Auth::keys([&Secret::new(KEY)]).unwrap());
    let server = HttpServer::new(move || App::new().configure(routes.clone())).workers(1);
    let server = server.bind(("127.0.0.1", 0)).unwrap();
    println!("{LISTENING}{}", server.addrs()[0]);
    server.run().await.unwrap();
}

/// One life of the application.
struct Life {
    process: Guarded,
    base: String,
    http: reqwest::Client,
    /// What it prints must be read, or it ends over it.
    _lines: Receiver<String>,
}

impl Life {
    fn begin(dir: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash_orchestrations::program", "--nocapture"]).env(ENV_DIR, dir);
        let mut process = Guarded(command.stdout(Stdio::piped()).spawn().unwrap());
        let lines = reader(process.0.stdout.take().unwrap());
        let said =
            lines.iter().find_map(|line| line.split_once(LISTENING).map(|(_, address)| address.to_owned()));
        let base = format!("http://{}/v1/orchestrations", said.expect("the application starts"));
        dogwatch::client::install_tls();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { process, base, http, _lines: lines }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Option<(u16, Value)> {
        let answer =
            request.bearer_auth(KEY).send().await.inspect_err(|error| eprintln!("{error:?}")).ok()?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    async fn start(&self, id: &str, instance: &mut Instance) {
        let body = json!({"name": instance.kind, "input": instance.number, "id": id});
        let request = self.http.post(&self.base).header("content-type", "application/json");
        if let Some((status, _)) = self.send(request.body(body.to_string())).await {
            // It was started before, and the answer was lost.
            assert!(status == 202 || status == 409, "{status}");
            instance.started = true;
        }
    }

    async fn raise(&self, id: &str, instance: &mut Instance) {
        let number = instance.raised + 1;
        let request = self.http.post(format!("{}/{id}/events/number", self.base));
        let request = request.header("content-type", "application/json").body(number.to_string());
        if let Some((status, _)) = self.send(request.header("Idempotency-Key", number.to_string())).await {
            assert_eq!(status, 202);
            instance.raised = number;
        }
    }

    async fn show(&self, id: &str, query: &str) -> (u16, Value) {
        self.send(self.http.get(format!("{}/{id}{query}", self.base))).await.expect("the application answers")
    }

    fn kill(mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }
}

/// What is known of an instance.
#[derive(Debug)]
struct Instance {
    kind: &'static str,
    number: u64,
    started: bool,
    raised: u64,
}

type Known = BTreeMap<String, Instance>;

/// Requests until it is killed.
async fn load(life: &Life, known: &mut Known, random: &mut Random, client: String) {
    for count in 0.. {
        let waiting =
            known.iter_mut().find(|(_, one)| one.kind == "sums" && one.started && one.raised < EVENTS);
        match waiting {
            Some((id, instance)) if random.below(3) > 0 => life.raise(&id.clone(), instance).await,
            _ => {
                let kind = ["chain", "sums", "family", "works"][random.below(4) as usize];
                let instance = Instance { kind, number: random.below(1_000), started: false, raised: 0 };
                let id = format!("{client}-{count}");
                life.start(&id, known.entry(id.clone()).or_insert(instance)).await;
            }
        }
    }
}

#[actix_web::test]
async fn killed_under_load_every_instance_comes_to_its_end() {
    let cycles = setting("DOGWATCH_PROVE_CYCLES", 8);
    let mut random = Random::new(setting("DOGWATCH_PROVE_SEED", 1));
    let dir = crate::cli_run::data_dir();
    let mut known: Vec<Known> = (0..CLIENTS).map(|_| Known::new()).collect();
    for cycle in 0..cycles {
        let life = Life::begin(dir.path());
        let until = Duration::from_millis(20 + random.below(700));
        let clients = known.iter_mut().enumerate().map(|(client, known)| {
            let mut random = Random::new(random.below(u64::MAX));
            let (life, name) = (&life, format!("i-{cycle}-{client}"));
            async move { load(life, known, &mut random, name).await }
        });
        assert!(tokio::time::timeout(until, join_all(clients)).await.is_err(), "the load has no end");
        life.kill();
    }
    let life = Life::begin(dir.path());
    let (mut ended, mut answered) = (0, 0);
    for (id, instance) in known.iter_mut().flatten() {
        // What was answered is there; what was not may be.
        let (status, _) = life.show(id, "").await;
        assert!(status == 200 || !instance.started, "{id} was answered, and is lost");
        if status == 404 {
            continue;
        }
        answered += u64::from(instance.started);
        while instance.kind == "sums" && instance.raised < EVENTS {
            life.raise(id, instance).await;
        }
        let (_, shown) = life.show(id, "?wait=60s").await;
        let (status, output) = (shown["status"].as_str(), shown["output"].as_u64());
        let expected = worth(instance.kind, instance.number);
        assert_eq!((status, output), (Some("completed"), Some(expected)), "{instance:?}: {shown:#}");
        ended += 1;
    }
    let ran = std::fs::read_to_string(dir.path().join("ran")).unwrap();
    let mut runs: BTreeMap<&str, u64> = BTreeMap::new();
    ran.lines().for_each(|line| *runs.entry(line).or_default() += 1);
    let most = runs.values().max().copied().unwrap_or(0);
    // At least once, and again only where the process ended before the result was recorded.
    assert!(most <= cycles + 1, "an activity ran {most} times");
    let store = life.base.replace("orchestrations", "store");
    let (_, report) = life.send(life.http.get(store)).await.unwrap();
    assert_eq!(report["ok"], true, "{report:#}");
    life.kill();
    let again: u64 = runs.values().map(|count| count - 1).sum();
    println!(
        "{cycles} kills: {ended} instances, {answered} of them answered, {} activities, {again} again",
        runs.len()
    );
}
