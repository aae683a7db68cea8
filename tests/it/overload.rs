//! More than the real binary can take at once: it refuses and says when to come back, stays small, and keeps what
//! it accepted.
//!
//! `DOGWATCH_PROVE_OVERLOAD` sets the clients at once (default 400; the long form has 10,000). Not responsible for
//! how quick it is: that is measured in release, by the benchmarks.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use reqwest::Method;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::bench::{Bench, On, with};
use crate::cli_run::data_dir;
use crate::faultfs;
use crate::random::setting;

/// What the server may hold resident in all this, in KiB; a debug build holds more than a release.
const RESIDENT_KIB_MAX: u64 = 512 * 1024;

/// How long anything may take that is not refused: far above what it takes, below what a client waits.
const PATIENCE: Duration = Duration::from_secs(120);

fn clients() -> usize {
    // Every client is a socket here.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum }).unwrap();
    usize::try_from(setting("DOGWATCH_PROVE_OVERLOAD", 400)).unwrap()
}

/// The most that a server was resident, in KiB.
fn resident_max(bench: &Bench) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bench.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

/// One request on a connection of its own; status and whether the answer says when to come back.
async fn exchange(authority: &str, request: &str) -> std::io::Result<(u16, bool)> {
    let mut connection = TcpStream::connect(authority).await?;
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status =
        status.ok_or_else(|| std::io::Error::other("the connection was closed without an answer"))?;
    Ok((status, answer.contains("\r\nretry-after: ")))
}

/// The longest time that reading a job takes while `work` goes on.
async fn reading_meanwhile<T>(bench: &Bench, id: &str, work: impl Future<Output = T>) -> (T, Duration) {
    let mut longest = Duration::ZERO;
    let reading = async {
        loop {
            let began = Instant::now();
            bench.job(id).await;
            longest = longest.max(began.elapsed());
            tokio::task::yield_now().await;
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = reading => unreachable!("it reads for ever"),
    };
    (done, longest)
}

#[tokio::test]
async fn callbacks_from_everybody_at_once_are_each_applied_once_or_refused() {
    const JOBS: usize = 10;
    let (clients, bench) = (clients(), Bench::start(On::Process).await);
    let script = r#"printf '%s %s' "$DOGWATCH_CALLBACK_URL" "$DOGWATCH_CALLBACK_TOKEN" > "$DIR/$DOGWATCH_JOB_ID.new"
        mv "$DIR/$DOGWATCH_JOB_ID.new" "$DIR/$DOGWATCH_JOB_ID"; sleep 300 & wait"#;
    let spec = with(On::Process.script(script), json!({"env": {"DIR": bench.path()}, "stop_grace": "1s"}));
    let ids = join_all((0..JOBS).map(|_| bench.submit(&spec))).await;
    let mut told = Vec::new();
    for id in &ids {
        let file = bench.path().join(id);
        let text = bench.eventually("it runs", async || std::fs::read_to_string(&file).ok()).await;
        told.push(text);
    }
    let call = async |number: usize| {
        let (url, token) = told[number % JOBS].split_once(' ').unwrap();
        let (authority, path) = url.trim_start_matches("http://").split_once('/').unwrap();
        let body = json!({"event": "tick", "id": number.to_string(), "data": number}).to_string();
        let request = format!(
            "POST /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut refused = 0;
        loop {
            match exchange(authority, &request).await {
                Ok((200..=299, _)) => return refused,
                Ok((429 | 503, true)) | Err(_) => refused += 1,
                Ok(other) => panic!("answered {other:?}"),
            }
            tokio::task::yield_now().await;
        }
    };
    let began = Instant::now();
    let all = tokio::time::timeout(PATIENCE, join_all((0..clients).map(call)));
    let (refused, longest) = reading_meanwhile(&bench, &ids[0], all).await;
    let refused: usize = refused.expect("every callback is answered in time").into_iter().sum();
    let took = began.elapsed();
    for (index, id) in ids.iter().enumerate() {
        let mut applied: BTreeMap<u64, usize> = BTreeMap::new();
        let mut after = 0;
        loop {
            let page = bench.get(&format!("/v1/jobs/{id}/history?limit=1000&after={after}")).await;
            let entries = page["entries"].as_array().unwrap();
            let Some(last) = entries.last() else { break };
            after = last["seq"].as_u64().unwrap();
            for entry in entries.iter().filter(|entry| entry["type"] == "callback_received") {
                *applied.entry(entry["data"]["data"].as_u64().unwrap()).or_default() += 1;
            }
        }
        let wanted: BTreeMap<u64, usize> =
            (index..clients).step_by(JOBS).map(|number| (number as u64, 1)).collect();
        assert_eq!(applied, wanted, "each is applied once");
        bench.ask(id, "cancel").await;
    }
    let resident = resident_max(&bench);
    println!(
        "{clients} callbacks at once in {took:?}: 0 lost, 0 doubled, {refused} refused and repeated; a read took at most {longest:?}; {resident} KiB resident"
    );
    assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB");
}

#[tokio::test]
async fn submissions_beyond_capacity_are_refused_on_a_slow_disk_and_what_was_accepted_stays() {
    const QUEUED_MAX: usize = 100;
    const WORKERS: usize = 64;
    let submissions = clients() * 2;
    let dir = data_dir();
    let library = faultfs::compile(dir.path());
    let env = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAULTFS_UNDER", "/store/"),
        ("FAULTFS_CALL", "fdatasync"),
        ("FAULTFS_DELAY_MS", "200"),
        ("DOGWATCH_FLEET__ATTEMPTS_MAX", "1"),
        ("DOGWATCH_FLEET__QUEUED_MAX", "100"),
    ];
    let bench = Bench::start_in(dir, On::Process, &env).await;
    let spec = with(On::Process.script("sleep 300 & wait"), json!({"stop_grace": "0s"}));
    let first = bench.submit(&spec).await;
    let submit = async |_: usize| {
        let answer = bench.request(Method::POST, "/v1/jobs").json(&spec).send().await.unwrap();
        let (status, again) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        assert!(status == 202 || (matches!(status, 429 | 503) && again), "{status}, Retry-After: {again}");
        status == 202
    };
    let all = stream::iter(0..submissions).map(submit).buffer_unordered(WORKERS).filter(|accepted| {
        let accepted = *accepted;
        async move { accepted }
    });
    let (accepted, longest) = reading_meanwhile(&bench, &first, all.count()).await;
    assert!(accepted >= QUEUED_MAX, "{accepted} of {submissions} were accepted before it was full");
    // Those on their way when it became full, and the one that runs.
    assert!(accepted <= QUEUED_MAX + 2 * WORKERS, "{accepted} of {submissions} were accepted");
    assert_eq!(bench.count_jobs().await, accepted + 1, "what was accepted is there, and nothing else");
    assert_eq!(bench.ask(&first, "cancel").await["id"], first.as_str(), "commands go on");
    let resident = resident_max(&bench);
    println!(
        "{submissions} submissions, each sync 200 ms: {accepted} accepted, the others refused; a read took at most {longest:?}; {resident} KiB resident"
    );
    assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB");
}

#[tokio::test]
async fn clients_that_send_slowly_keep_nobody_out_and_are_shown_the_door() {
    let (slow, bench) = (clients() / 2, Bench::start(On::Process).await);
    let authority = bench.url().trim_start_matches("http://").to_owned();
    let connect = async |_: usize| {
        let mut connection = TcpStream::connect(&authority).await.unwrap();
        connection.write_all(b"POST /v1/jobs HTTP/1.1\r\nhost: x\r\nauthor").await.unwrap();
        connection
    };
    let held: Vec<TcpStream> = stream::iter(0..slow).map(connect).buffer_unordered(64).collect().await;
    let began = Instant::now();
    let id = bench.submit(&On::Process.script("true")).await;
    assert_eq!(bench.over(&id).await["state"], "succeeded");
    let served = began.elapsed();
    let end = async |mut connection: TcpStream| {
        let mut answer = Vec::new();
        // Told what is wrong, or just closed.
        drop(connection.read_to_end(&mut answer).await);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
    };
    tokio::time::timeout(PATIENCE, join_all(held.into_iter().map(end))).await.expect("none is kept for ever");
    let resident = resident_max(&bench);
    println!("{slow} slow clients: a job was submitted and done in {served:?}; {resident} KiB resident");
    assert!(resident < RESIDENT_KIB_MAX, "{resident} KiB");
}
