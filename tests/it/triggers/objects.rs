//! Objects that arrive in a bucket, which here is a directory.

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{ask, items};
use crate::bench::{Bench, On};

#[actix_web::test]
async fn every_version_of_an_object_is_one_job_whatever_is_killed() {
    let mut bench = Bench::start(On::Process).await;
    bench.end(Signal::TERM);
    let bucket = bench.path().join("bucket");
    std::fs::create_dir_all(bucket.join("in/deep")).unwrap();
    std::fs::write(bench.config(), format!("[stores.incoming]\nurl = \"file://{}\"\n", bucket.display()))
        .unwrap();
    bench.boot().await;
    let noted = bench.path().join("noted");
    let script = format!("echo \"$DOGWATCH_OBJECT $DOGWATCH_OBJECT_SIZE\" >> {}", noted.display());
    let mut trigger = json!({
        "bucket": {"store": "incoming", "prefix": "in", "patterns": ["*.csv"], "poll": "1s"},
        "job": {"args": ["sh", "-c", script]},
    });
    let lines = || {
        let mut lines: Vec<String> =
            std::fs::read_to_string(&noted).unwrap_or_default().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let line = |name: &str, size: usize| format!("file://{}/in/{name} {size}", bucket.display());
    for name in ["in/a.csv", "in/deep/b.csv", "in/c.txt", "d.csv"] {
        std::fs::write(bucket.join(name), "one").unwrap();
    }
    let (status, answer) = ask(&bench, Method::PUT, "/v1/triggers/incoming", Some(&trigger)).await;
    assert_eq!(status, 201, "{answer}");
    bench.eventually("two are noted", async || (lines().len() == 2).then_some(())).await;
    bench.restart(Signal::KILL).await;
    std::fs::write(bucket.join("in/a.csv"), "another").unwrap();
    bench.eventually("another version is noted", async || (lines().len() == 3).then_some(())).await;
    assert_eq!(lines(), [line("a.csv", 3), line("a.csv", 7), line("deep/b.csv", 3)]);
    assert_eq!(items(&bench, "incoming", "dead").await, Vec::<Value>::new());
    trigger["bucket"]["store"] = json!("nowhere");
    let (status, problem) = ask(&bench, Method::PUT, "/v1/triggers/other", Some(&trigger)).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/bucket/store")), "{problem}");
}
