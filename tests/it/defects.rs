//! The eleven defects of the sample that people copy today (a cloud function that starts a container and waits
//! for its event), each shown not to be here. Lettered as in the list that they were taken from.

use serde_json::{Value, json};

use crate::bench::{Bench, On, with};

fn shell(script: &str) -> Value {
    On::Process.script(script)
}

async fn bench() -> Bench {
    Bench::start(On::Process).await
}

/// (a) The waiter and the caller use different names of the event, and the job hangs for ever. Here the words
/// are fixed, whatever else is said is kept as an event of its own, and an end that was never told is found.
#[tokio::test]
async fn a_there_is_one_name_for_the_end_and_a_wrong_one_does_not_hang() {
    let bench = bench().await;
    let script = r#"call '{"event": "Job_Finished", "data": 1}'; call '{"event": "Extractor_Finished"}'"#;
    let id = bench.submit(&with(shell(script), json!({"completion": "callback", "max_attempts": 1}))).await;
    let job = bench.over(&id).await;
    assert_eq!((&job["state"], &job["cause"]), (&json!("failed"), &json!("callback_failed")), "{job}");
    assert!(job["message"].as_str().unwrap().contains("callback"), "{job}");
    let history = bench.get(&format!("/v1/jobs/{id}/history")).await.to_string();
    assert!(history.contains("Job_Finished") && history.contains("Extractor_Finished"), "{history}");
}

/// (b) Nothing limits the wait: a crashed container leaves an immortal orchestration.
#[tokio::test]
async fn b_a_crash_is_noticed_and_every_wait_can_be_limited() {
    let bench = bench().await;
    let waits = json!({"completion": "callback", "max_attempts": 1, "stop_grace": "1s"});
    let crashed = bench.submit(&with(shell("kill -9 $$"), waits.clone())).await;
    let silent =
        bench.submit(&with(with(shell("sleep 300 & wait"), waits), json!({"timeout": "500ms"}))).await;
    let job = bench.over(&crashed).await;
    assert_eq!((&job["cause"], &job["attempts"][0]["exit_code"]), (&json!("signal"), &json!(137)), "{job}");
    assert_eq!(bench.over(&silent).await["cause"], "timeout");
}

/// A web service: `python3` because every machine that runs the tests has it.
fn service(wait: &str, start_status: u16) -> Value {
    let program = format!(
        r#"
import http.server, json, os, time
time.sleep({wait})
class S(http.server.BaseHTTPRequestHandler):
    asked = None
    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status); self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data))); self.end_headers(); self.wfile.write(data)
    def do_POST(self):
        S.asked = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        print('asked', self.path, json.dumps(S.asked), flush=True)
        self.answer({start_status}, {{'accepted': True}})
    def do_GET(self):
        self.answer(200, {{'event': 'completed', 'data': S.asked}} if S.asked else {{'idle': True}})
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), S).serve_forever()"#
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    json!({"args": ["python3", "-c", program], "completion": "callback", "max_attempts": 1, "stop_grace": "1s",
        "service": {"port": port, "ready_timeout": "15s", "start": {"path": "/extract", "body": {"file": "a.csv"}},
                    "status": {"path": "/status", "every": "100ms"}}})
}

/// (c) The start call goes to an address without a port, is not awaited, and its failure is invisible.
#[tokio::test]
async fn c_the_start_call_arrives_and_its_failure_is_told() {
    let bench = bench().await;
    let good = bench.submit(&service("0", 202)).await;
    let job = bench.over(&good).await;
    assert_eq!((&job["state"], &job["output"]), (&json!("succeeded"), &json!({"file": "a.csv"})), "{job}");
    assert!(bench.logs(&good, "?stream=stdout").await.contains("asked /extract {\"file\": \"a.csv\"}"));
    let bad = bench.submit(&service("0", 422)).await;
    let job = bench.over(&bad).await;
    assert_eq!((&job["state"], &job["cause"]), (&json!("failed"), &json!("unhealthy")), "{job}");
    assert!(job["message"].as_str().unwrap().contains("422"), "{job}");
}

/// (d) Every container has the same name: two jobs collide.
#[tokio::test]
async fn d_two_jobs_of_one_name_do_not_collide() {
    let bench = bench().await;
    let script = r#"call "{\"event\": \"completed\", \"data\": \"$DOGWATCH_JOB_ID\"}""#;
    let spec = with(shell(script), json!({"name": "extractor"}));
    let (one, two) = tokio::join!(bench.submit(&spec), bench.submit(&spec));
    assert_ne!(one, two);
    for id in [one, two] {
        let job = bench.over(&id).await;
        assert_eq!((&job["state"], &job["output"]), (&json!("succeeded"), &json!(id)), "{job}");
    }
}

/// (e) A failure on the way leaks the container.
#[tokio::test]
async fn e_a_failure_in_the_middle_leaves_nothing_behind() {
    let bench = bench().await;
    let id = bench.submit(&service("0", 500)).await;
    bench.until(&id, "it was asked", |job| job["state"] == "running").await;
    let pid = bench.job(&id).await["attempts"][0]["runtime_id"].as_str().unwrap().to_owned();
    bench.ask(&id, "cancel").await;
    assert_eq!(bench.over(&id).await["state"], "cancelled");
    assert!(!std::path::Path::new("/proc").join(&pid).exists(), "process {pid} is still there");
    let processes = bench.path().join("processes");
    bench
        .eventually("its directory is gone", async || {
            let installations = std::fs::read_dir(&processes).ok()?;
            let left: usize =
                installations.map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap().count()).sum();
            (left == 0).then_some(())
        })
        .await;
}

/// (f) Deleting what is not there goes on for ever.
#[tokio::test]
async fn f_deleting_what_is_absent_ends() {
    let bench = bench().await;
    let id = bench.submit(&shell("exit 0")).await;
    bench.over(&id).await;
    let delete = |id: String| bench.request(reqwest::Method::DELETE, &format!("/v1/jobs/{id}")).send();
    assert_eq!(delete(id.clone()).await.unwrap().status(), 204);
    assert_eq!(delete(id).await.unwrap().status(), 404);
}

/// (g) The default policy runs a job again that is done.
#[tokio::test]
async fn g_a_finished_job_is_not_run_again() {
    let mut bench = bench().await;
    let marks = bench.path().join("marks");
    let spec =
        with(shell(&format!("echo ran >> {}", marks.display())), json!({"restart_policy": "OnFailure"}));
    let default = with(spec.clone(), json!({"restart_policy": null}));
    for spec in [spec, default] {
        let mut spec = spec;
        if spec["restart_policy"].is_null() {
            spec.as_object_mut().unwrap().remove("restart_policy");
        }
        let id = bench.submit(&spec).await;
        assert_eq!(bench.over(&id).await["attempt"], 1);
    }
    bench.restart(rustix::process::Signal::KILL).await;
    bench
        .eventually("it has recovered", async || (bench.readiness().await["ready"] == true).then_some(()))
        .await;
    assert_eq!(std::fs::read_to_string(&marks).unwrap(), "ran\nran\n");
}

/// (h) Whoever knows the id may start and complete jobs.
#[tokio::test]
async fn h_nothing_can_be_started_read_or_completed_without_its_key() {
    let bench = bench().await;
    let id = bench.submit(&shell("sleep 300 & wait")).await;
    bench.in_state(&id, "running").await;
    let callback = format!("{}/v1/callbacks/{id}/1", bench.callback_url());
    let done = json!({"event": "completed"});
    for (request, status) in [
        (bench.http().post(&callback).json(&done), 403),
        (bench.http().post(&callback).bearer_auth("guess").json(&done), 403),
        (bench.http().get(&callback), 405),
    ] {
        assert_eq!(request.send().await.unwrap().status(), status);
    }
    let base = bench.request(reqwest::Method::GET, "/v1/jobs").build().unwrap().url().to_string();
    for request in [
        bench.http().get(&base),
        bench.http().post(&base).json(&shell("true")),
        bench.http().get(format!("{base}/{id}")).bearer_auth("guess-guess-guess-guess-guess-guess"),
        bench.http().post(format!("{base}/{id}/cancel")),
        bench.http().post(format!("{base}/{id}/events/completed")).json(&json!({})),
    ] {
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
    assert_eq!(bench.job(&id).await["state"], "running");
    bench.ask(&id, "cancel").await;
    bench.over(&id).await;
}

/// (i) The result is thrown away, and a failure is a completion.
#[tokio::test]
async fn i_the_result_is_kept_and_failed_is_not_completed() {
    let bench = bench().await;
    let tell =
        |event: &str| format!(r#"call '{{"event": "{event}", "data": {{"rows": 7, "message": "m"}}}}'"#);
    let (good, bad) = (
        bench.submit(&shell(&tell("completed"))).await,
        with(shell(&tell("failed")), json!({"restart_policy": "Never"})),
    );
    let bad = bench.submit(&bad).await;
    let (good, bad) = (bench.over(&good).await, bench.over(&bad).await);
    assert_eq!((&good["state"], &good["output"]["rows"]), (&json!("succeeded"), &json!(7)), "{good}");
    assert_eq!((&bad["state"], &bad["cause"]), (&json!("failed"), &json!("callback_failed")), "{bad}");
}

/// (j) No output, no status, no logs, no progress.
#[tokio::test]
async fn j_status_progress_logs_and_history_can_be_read_while_it_runs() {
    let bench = bench().await;
    let script = r#"echo working; call '{"event": "progress", "data": {"percent": 30}}'; sleep 300 & wait"#;
    let id = bench.submit(&shell(script)).await;
    // Its callback may be faster than the news that it runs.
    bench.in_state(&id, "running").await;
    let job = bench.until(&id, "progress is shown", |job| job["progress"] == json!({"percent": 30})).await;
    assert_eq!(
        (&job["state"], &job["attempts"][0]["state"]),
        (&json!("running"), &json!("running")),
        "{job}"
    );
    assert_eq!(bench.logs(&id, "").await, "working\n");
    assert!(bench.history(&id).await.contains(&"callback_received".to_owned()));
    bench.ask(&id, "cancel").await;
    bench.over(&id).await;
}

/// (k) The container is called the moment it is created, ready or not.
#[tokio::test]
async fn k_the_start_call_waits_until_the_service_is_ready() {
    let bench = bench().await;
    let id = bench.submit(&service("1.5", 202)).await;
    let job = bench.over(&id).await;
    assert_eq!((&job["state"], &job["output"]), (&json!("succeeded"), &json!({"file": "a.csv"})), "{job}");
    let started = bench.history(&id).await.iter().filter(|kind| *kind == "service_started").count();
    assert_eq!(started, 1);
    assert_eq!(bench.logs(&id, "?stream=stdout").await.matches("asked").count(), 1, "it was asked once");
}
