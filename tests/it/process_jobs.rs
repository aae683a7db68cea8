//! Jobs that are processes, through the real binary.

use serde_json::json;

use crate::bench::{Bench, On};

crate::scenarios::every_scenario!(On::Process);

/// What the system says of a process and huge pages.
fn huge_pages(process: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    status.lines().find(|line| line.starts_with("THP_enabled")).expect("since Linux 5.0").to_owned()
}

#[actix_web::test]
async fn a_server_forgoes_huge_pages_and_its_jobs_do_not() {
    let bench = Bench::start(On::Process).await;
    assert_eq!(huge_pages(&bench.pid().to_string()), "THP_enabled:\t0");
    let job = bench.submit(&json!({"args": ["grep", "THP_enabled", "/proc/self/status"]})).await;
    bench.over(&job).await;
    assert_eq!(bench.logs(&job, "").await.trim_end(), huge_pages("self"));
}
