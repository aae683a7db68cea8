//! Two promises in figures: one key makes one job, and a callback counts once, however often and over however many
//! lives of the server they are sent.
//!
//! `DOGWATCH_PROVE_KEYS` (default 6) and `DOGWATCH_PROVE_CALLBACKS` (default 30) set how many,
//! `DOGWATCH_PROVE_SEED` the order of things.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::site::Site;
use crate::bench::On;
use crate::random::{Random, setting};

/// Identical requests at the same time.
const TOGETHER: usize = 64;

/// How often a callback is sent at most.
const TIMES_MAX: u64 = 20;

#[tokio::test]
async fn idempotency_one_key_makes_one_job() {
    let (keys, seed) = (setting("DOGWATCH_PROVE_KEYS", 6), setting("DOGWATCH_PROVE_SEED", 20_261_121));
    let mut random = Random::new(seed);
    let site = Site::new();
    let spec = json!({"args": ["true"], "suspended": true});
    for number in 0..keys {
        // Between the commit and the answer: of the first, or of one that finds the key taken.
        let point = ["submit:committed=crash", "submit:replayed=crash", "submit:answering=crash"];
        let point = point[usize::try_from(random.below(3)).unwrap()];
        let nth = if point.contains("committed") { 1 } else { 1 + random.below(20) };
        site.spawn(&format!("{point}@{nth}"));
        let key = format!("key-{number}");
        let asked = join_all((0..TOGETHER).map(|_| site.submit(&spec, &key)));
        let (ids, ()) = tokio::join!(asked, reborn(&site));
        let distinct: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), 1, "one key, several jobs: {distinct:?}");
        site.kill();
    }
    assert_eq!(site.crashes(), usize::try_from(keys).unwrap(), "each key met one crash");
    site.spawn("");
    let mut found = 0;
    let mut path = "/v1/jobs?limit=100".to_owned();
    loop {
        let page = site.get(&path).await;
        found += page["jobs"].as_array().unwrap().len();
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/jobs?limit=100&cursor={cursor}");
    }
    assert_eq!(found, usize::try_from(keys).unwrap(), "a job that nobody was told of");
    println!("seed {seed}: {keys} keys x {TOGETHER} identical submissions, {keys} crashes: 0 duplicates");
}

/// Waits for the crash, and starts the server again.
async fn reborn(site: &Site) {
    let crashes = site.crashes();
    site.eventually("it crashes", async || site.has_ended().then_some(())).await;
    assert_eq!(site.crashes(), crashes + 1, "it ended, but not by the fault");
    site.spawn("");
}

#[tokio::test]
async fn callbacks_each_is_applied_once() {
    let count = setting("DOGWATCH_PROVE_CALLBACKS", 30);
    let seed = setting("DOGWATCH_PROVE_SEED", 20_261_121);
    let mut random = Random::new(seed);
    let site = Site::new();
    site.spawn("");
    let tell = "echo $DOGWATCH_CALLBACK_URL $DOGWATCH_CALLBACK_TOKEN > told.part; mv told.part told; sleep 300 & wait";
    let script = format!("cd {}\n{tell}", site.path().display());
    let id = site.submit(&On::Process.script(&script), "calls").await;
    let told = site
        .eventually("it tells its token", async || std::fs::read_to_string(site.path().join("told")).ok())
        .await;
    let (url, token) = told.trim().split_once(' ').unwrap();

    let mut sent: Vec<u64> = (0..count)
        .flat_map(|number| vec![number; usize::try_from(1 + random.below(TIMES_MAX)).unwrap()])
        .collect();
    for last in (1..sent.len()).rev() {
        sent.swap(last, usize::try_from(random.below(last as u64 + 1)).unwrap());
    }
    let (mut answered, mut duplicates, mut kills) = (BTreeSet::new(), 0, 0);
    for some in sent.chunks(40) {
        let posts = join_all(some.iter().map(|number| site.call(url, token, *number)));
        // Killed while they are under way, or after some of them.
        let strike = async {
            for _ in 0..random.below(4) {
                site.look_again().await;
            }
            site.kill();
            site.spawn("");
        };
        let (answers, ()) = tokio::join!(posts, strike);
        kills += 1;
        for (number, answer) in some.iter().zip(answers) {
            answered.insert(*number);
            duplicates += usize::from(answer["duplicate"] == true);
        }
    }
    assert_eq!(answered.len() as u64, count);
    let history = site.history(&id).await;
    let heard: Vec<u64> = history
        .iter()
        .filter(|entry| entry["type"] == "callback_received")
        .map(|entry| entry["data"]["data"].as_u64().unwrap())
        .collect();
    let distinct: BTreeSet<u64> = heard.iter().copied().collect();
    assert_eq!(distinct, answered, "a callback that was answered 2xx is lost");
    assert_eq!(heard.len(), distinct.len(), "a callback was applied twice: {heard:?}");
    site.ask(Method::POST, &format!("/v1/jobs/{id}/cancel"), &Value::Null, "").await;
    assert_eq!(site.over(&id).await["state"], "cancelled");
    println!(
        "seed {seed}: {count} callbacks sent {} times over {kills} kills, {duplicates} answered as duplicates: 0 lost, \
         0 applied twice",
        sent.len()
    );
}
