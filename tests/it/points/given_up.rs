//! What happens when something keeps panicking: one job is quarantined and can be released, a part that everything
//! needs ends the server with an exit code of its own.

use dogwatch_actors::clock::{Clock as _, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};

use super::site::Site;
use crate::bench::{On, with};

/// What panics for ever, and what is then said to be gone.
const PARTS: [(&str, &str); 5] = [
    ("fleet:input", "the fleet"),
    ("timer:due", "the timers"),
    ("outbox:read", "the outbox"),
    ("recovery:running_roused", "the recovery"),
    ("step:routed", "a shard of the actors"),
];

#[tokio::test]
async fn a_part_that_everything_needs_ends_the_server_with_70_and_nothing_is_lost() {
    futures_util::future::join_all(PARTS.map(|(point, part)| ends_with_70(point, part))).await;
}

async fn ends_with_70(point: &str, part: &str) {
    let site = Site::new();
    site.spawn("");
    let sleeps = site.submit(&On::Process.script("sleep 300 & wait"), "sleeps").await;
    let running = site.until(&sleeps, "it runs", |job| job["state"] == "running").await;
    let in_a_second = SystemClock.now().after(std::time::Duration::from_secs(1));
    let later = with(On::Process.script("exit 0"), json!({"start_at": in_a_second}));
    // Its webhook is what the outbox carries; nobody needs to listen.
    let hook = json!({"on_complete": [{"url": "http://127.0.0.1:9/"}]});
    let told = with(On::Process.script("sleep 0.5"), hook);
    let (later, told) = (site.submit(&later, "later").await, site.submit(&told, "told").await);
    site.kill();

    site.spawn(&format!("{point}=panic@1.."));
    assert_eq!(site.exit_code().await, Some(70), "{point}: {}", site.log());
    let log = site.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(&format!("{part} panicked too often")), "{point}: {last}");
    assert!(last.contains("start dogwatch again"), "{point}: {last}");

    site.spawn("");
    for id in [&later, &told] {
        assert_eq!(site.over(id).await["state"], "succeeded", "{point}");
    }
    let job = site.until(&sleeps, "it is watched again", |job| job["state"] == "running").await;
    assert_eq!(job["attempts"], running["attempts"], "{point}: it ran on");
    site.ask(Method::POST, &format!("/v1/jobs/{sleeps}/cancel"), &Value::Null, "").await;
    assert_eq!(site.over(&sleeps).await["state"], "cancelled");
}

#[tokio::test]
async fn a_quarantined_job_is_released_by_a_retry_at_once_and_after_a_restart() {
    let site = Site::new();
    // The request for a slot goes well; to let it start panics as often as it is tried.
    site.spawn("step:performing=panic@2..7");
    let id = site.submit(&On::Process.script("exit 0"), "one").await;
    let job = site.over(&id).await;
    assert_eq!((&job["state"], &job["cause"]), (&json!("failed"), &json!("quarantined")), "{job}");
    assert!(job["message"].as_str().unwrap().contains("retry the job"), "{job}");
    let other = site.submit(&On::Process.script("exit 0"), "other").await;
    assert_eq!(site.over(&other).await["state"], "succeeded", "others go on");
    let (status, job) = site.ask(Method::POST, &format!("/v1/jobs/{id}/retry"), &Value::Null, "").await;
    assert_eq!(status, 202, "{job}");
    assert_eq!(site.over(&id).await["state"], "succeeded");

    site.kill();
    site.spawn("step:performing=panic@2..");
    let id = site.submit(&On::Process.script("exit 0"), "two").await;
    assert_eq!(site.over(&id).await["cause"], "quarantined");
    site.kill();
    site.spawn("");
    assert_eq!(site.over(&id).await["cause"], "quarantined", "it is durable");
    let done = site.command(&["retry", &id]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(site.over(&id).await["state"], "succeeded");
    site.cleared().await;
}
