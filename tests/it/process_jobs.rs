//! Jobs that are processes, through the real binary.

use serde_json::json;

use crate::bench::{Bench, On};

crate::scenarios::every_scenario!(On::Process);

/// What the system says of a process and huge pages.
fn huge_pages(status: &str) -> Option<String> {
    status.lines().find(|line| line.starts_with("THP_enabled")).map(str::to_owned)
}

#[actix_web::test]
async fn a_server_forgoes_huge_pages_and_its_jobs_do_not() {
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let Some(own) = huge_pages(&own) else { return };
    let bench = Bench::start(On::Process).await;
    let server = std::fs::read_to_string(format!("/proc/{}/status", bench.pid())).unwrap();
    assert_eq!(huge_pages(&server).as_deref(), Some("THP_enabled:\t0"));
    let job = bench.submit(&json!({"args": ["grep", "THP_enabled", "/proc/self/status"]})).await;
    bench.over(&job).await;
    assert_eq!(bench.logs(&job, "").await.trim_end(), own);
}
