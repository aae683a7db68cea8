//! Files that arrive in a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{ask, items, put, until};
use crate::bench::{Bench, On};
use crate::cli_run::data_dir;

/// Files that cannot be read by what is started for them.
const BAD: usize = 3;

/// A server that lets clients watch below its own directory, and the directory.
async fn watching() -> (Bench, PathBuf) {
    let dir = data_dir();
    let drop = dir.path().join("drop");
    std::fs::create_dir(&drop).unwrap();
    let allowed = drop.to_str().unwrap().to_owned();
    let bench =
        Bench::start_in(dir, On::Process, &[("DOGWATCH_SECURITY__TRIGGER_DIRECTORIES", &allowed)]).await;
    (bench, drop)
}

/// A trigger whose jobs write down what they were started for; a file that says so is bad.
fn importing(bench: &Bench, drop: &Path, more: Value) -> Value {
    let file = bench.path().join("imported");
    let script = format!(
        "grep -q bad \"$0\" && exit 7; echo \"$DOGWATCH_OBJECT_NAME $DOGWATCH_OBJECT_SIZE $DOGWATCH_TRIGGER $DOGWATCH_JOB_ID\" \
         >> {}",
        file.display()
    );
    let mut trigger = json!({
        "directory": {"path": drop, "settle": "0s", "poll": "500ms"},
        "job": {"args": ["sh", "-c", script, "{{object}}"], "restart_policy": "Never"},
        "parallelism": 8, "max_deliveries": 2, "retry_delay": "100ms",
    });
    for (key, value) in more.as_object().unwrap() {
        trigger[key] = value.clone();
    }
    trigger
}

/// Drops files, each whole at once, as whoever sends files in earnest does.
fn drop_files(drop: &Path, names: impl Iterator<Item = usize>) {
    for name in names {
        let hidden = drop.join(format!(".{name:04}"));
        std::fs::write(&hidden, if name < BAD { "bad" } else { "good" }).unwrap();
        std::fs::rename(hidden, drop.join(format!("{name:04}.csv"))).unwrap();
    }
}

/// What the jobs wrote, by the name of the file.
fn imported(bench: &Bench) -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(bench.path().join("imported")).unwrap_or_default();
    let mut imported: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let (name, rest) = line.split_once(' ').unwrap();
        imported.entry(name.to_owned()).or_default().push(rest.to_owned());
    }
    imported
}

async fn until_imported(bench: &Bench, count: usize) {
    let mut before = 0;
    while before < count {
        // As long as some more are done each time, it goes on.
        before = bench
            .eventually("more files are imported", async || {
                Some(imported(bench).len()).filter(|now| *now > before)
            })
            .await;
    }
}

#[actix_web::test]
async fn every_file_is_one_job_whatever_is_killed_and_the_bad_ones_are_dead_letters() {
    let count: usize = std::env::var("DOGWATCH_PROVE_FILES").map_or(60, |text| text.parse().unwrap());
    let (mut bench, drop) = watching().await;
    put(&bench, "nightly", &importing(&bench, &drop, json!({}))).await;
    drop_files(&drop, 0..count / 2);
    for part in [1, 2] {
        until_imported(&bench, count * part / 8).await;
        bench.restart(Signal::KILL).await;
    }
    // The others arrive while nobody is there.
    bench.end(Signal::KILL);
    drop_files(&drop, count / 2..count);
    bench.boot().await;
    until_imported(&bench, count - BAD).await;
    let rested = until(&bench, "nightly", "all of it is over", |it| {
        it["dead"] == BAD && it["pending"] == 0 && it["running"] == 0
    })
    .await;
    assert_eq!(
        (&rested["arrived_total"], &rested["done_total"]),
        (&json!(count), &json!(count - BAD)),
        "{rested}"
    );
    let started = count + BAD;
    assert_eq!(rested["started_total"], json!(started), "the bad ones were tried twice: {rested}");

    let imported = imported(&bench);
    let twice: Vec<_> = imported.iter().filter(|(_, lines)| lines.len() > 1).collect();
    assert!(twice.is_empty(), "imported twice: {twice:?}");
    let names: Vec<String> = (BAD..count).map(|name| format!("{name:04}.csv")).collect();
    assert_eq!(imported.keys().cloned().collect::<Vec<_>>(), names);
    let dead = items(&bench, "nightly", "dead").await;
    let dead: Vec<(&Value, &Value)> =
        dead.iter().map(|item| (&item["object"]["name"], &item["deliveries"])).collect();
    for (at, (name, deliveries)) in dead.iter().enumerate() {
        assert_eq!((*name, *deliveries), (&json!(drop.join(format!("{at:04}.csv"))), &json!(2)));
    }
    assert_eq!(dead.len(), BAD);

    // One job per file, and none besides: what was tried twice has two.
    let mut jobs = 0;
    let mut cursor = String::new();
    loop {
        let page = bench.get(&format!("/v1/jobs?label=dogwatch.trigger:nightly&limit=500{cursor}")).await;
        jobs += page["jobs"].as_array().unwrap().len();
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(jobs, started);

    // Mended, and taken back: another version of the file is another object, and the old one is let go.
    for name in 0..BAD {
        std::fs::write(drop.join(format!("{name:04}.csv")), "mended").unwrap();
    }
    until_imported(&bench, count).await;
    let (status, moved) = ask(&bench, Method::DELETE, "/v1/triggers/nightly/dead", None).await;
    assert_eq!((status, moved), (200, json!({"moved": BAD})));
    until(&bench, "nightly", "nothing is left", |it| it["dead"] == 0 && it["running"] == 0).await;
    let report = bench.get("/v1/store").await;
    assert_eq!((&report["ok"], &report["records"]["triggers"]), (&json!(true), &json!(1)), "{report}");
}

#[actix_web::test]
async fn a_file_that_is_still_written_waits_and_one_that_changes_is_imported_again() {
    use std::io::Write as _;
    let (bench, drop) = watching().await;
    let directory = json!({"path": drop, "settle": "1s", "poll": "100ms", "patterns": ["*.csv"]});
    put(&bench, "slowly", &importing(&bench, &drop, json!({"directory": directory}))).await;
    let file = std::fs::File::create(drop.join("slow.csv")).unwrap();
    std::fs::write(drop.join("other.txt"), "no").unwrap();
    // Each line begins its time anew, longer in all than one of them would take.
    let lines = std::cell::Cell::new(0);
    bench
        .eventually("it is long", async || {
            (&file).write_all(b"line\n").unwrap();
            lines.set(lines.get() + 1);
            (lines.get() >= 60).then_some(())
        })
        .await;
    assert!(imported(&bench).is_empty(), "a file was taken that was being written");
    until_imported(&bench, 1).await;
    assert_eq!(imported(&bench)["slow.csv"][0].split(' ').next().unwrap(), (lines.get() * 5).to_string());
    (&file).write_all(b"one more\n").unwrap();
    bench
        .eventually("it is imported again", async || (imported(&bench)["slow.csv"].len() == 2).then_some(()))
        .await;
    let shown = bench.get("/v1/triggers/slowly").await;
    assert_eq!((&shown["arrived_total"], &shown["fault"]), (&json!(2), &Value::Null), "{shown}");
}

#[actix_web::test]
async fn dead_files_are_brought_back_and_a_paused_trigger_waits() {
    let (bench, drop) = watching().await;
    let once = json!({"max_deliveries": 1});
    put(&bench, "nightly", &importing(&bench, &drop, once)).await;
    assert_eq!(bench.post("/v1/triggers/nightly/pause", &Value::Null).await.0, 200);
    drop_files(&drop, 0..4);
    assert_eq!(bench.get("/v1/triggers/nightly").await["state"], "paused");
    assert_eq!(bench.post("/v1/triggers/nightly/resume", &Value::Null).await.0, 200);
    until(&bench, "nightly", "the bad ones are dead", |it| it["dead"] == BAD && it["done_total"] == 1).await;
    let dead = items(&bench, "nightly", "dead").await;
    let first = dead[0]["id"].as_u64().unwrap();
    assert!(dead[0]["last_error"].as_str().unwrap().contains('7'), "{dead:?}");
    let (status, _) = bench.post(&format!("/v1/triggers/nightly/dead/{first}/requeue"), &Value::Null).await;
    assert_eq!(status, 200);
    until(&bench, "nightly", "it failed again", |it| it["dead"] == BAD && it["failed_total"] == BAD + 1)
        .await;
    let (_, moved) = bench.post("/v1/triggers/nightly/dead/requeue", &Value::Null).await;
    assert_eq!(moved, json!({"moved": BAD}));
    until(&bench, "nightly", "all failed again", |it| it["failed_total"] == 2 * BAD + 1 && it["dead"] == BAD)
        .await;
    let metrics = bench.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        "dogwatch_trigger_items{trigger=\"nightly\",state=\"dead\"} 3",
        "dogwatch_trigger_done_total{trigger=\"nightly\"} 1",
        "dogwatch_trigger_source_fault{trigger=\"nightly\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    std::fs::remove_dir_all(&drop).unwrap();
    until(&bench, "nightly", "it says that its directory is gone", |it| it["fault"].is_string()).await;
    std::fs::create_dir(&drop).unwrap();
    drop_files(&drop, 4..5);
    let back = until(&bench, "nightly", "it is there again", |it| it["done_total"] == 2).await;
    assert_eq!(back["fault"], Value::Null, "{back}");
    assert_eq!(ask(&bench, Method::DELETE, "/v1/triggers/nightly", None).await.0 / 100, 2);
    bench
        .eventually("it is gone", async || {
            (ask(&bench, Method::GET, "/v1/triggers/nightly", None).await.0 == 404).then_some(())
        })
        .await;
}
