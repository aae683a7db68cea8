//! Groups of containers on a real engine: init containers, sidecars, volumes and probes, through every crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::bench::{Bench, IMAGE, On, docker, with};
use crate::engine_proxy::{EngineProxy, Fault};

/// Runs until it gets USR1, and then exits with this code; TERM ends it with 143.
fn until_told(code: u8) -> Value {
    json!(["sh", "-c", format!("echo run; trap 'exit {code}' USR1; while :; do sleep 0.1 & wait $!; done")])
}

/// Runs until it is stopped, and then takes a moment to say so.
fn beside() -> Value {
    json!([
        "sh",
        "-c",
        "echo run; trap 'sleep 1; echo bye; exit 0' TERM; while :; do sleep 0.1 & wait $!; done"
    ])
}

fn group(more: Value) -> Value {
    with(json!({"image": IMAGE, "network": "none", "max_attempts": 1}), more)
}

/// A job of three containers and a volume, each of which waits to be told.
fn patient() -> Value {
    group(json!({
        "args": until_told(5),
        "volumes": [{"name": "data", "empty_dir": {}}, {"name": "keys", "secret": {"items": {"k": "s3cret"}}}],
        "mounts": [{"volume": "keys", "path": "/keys"}],
        "init_containers": [{"name": "fetch", "args": until_told(0), "mounts": [{"volume": "data", "path": "/data"}]}],
        "sidecars": [{"name": "proxy", "args": beside()}],
    }))
}

fn name(id: &str, part: &str) -> String {
    match part {
        "main" => format!("dogwatch-{id}-1"),
        part => format!("dogwatch-{id}-1.{part}"),
    }
}

/// Lets a container end that waits to be told.
async fn tell(bench: &Bench, id: &str, part: &str) {
    let says = async || {
        let said = docker(&["logs", &name(id, part)])?;
        (said == "run").then_some(())
    };
    bench.eventually("it waits to be told", says).await;
    docker(&["kill", "--signal", "USR1", &name(id, part)]).expect("it runs");
}

fn volumes(bench: &Bench) -> Vec<String> {
    let label = format!("label=dev.dogwatch.installation={}", bench.installation());
    let listed = docker(&["volume", "ls", "--quiet", "--filter", &label]).unwrap_or_default();
    listed.lines().map(str::to_owned).collect()
}

/// Waits until neither a container nor a volume is left.
async fn gone(bench: &Bench) {
    bench.cleared().await;
    bench.eventually("no volume is left", async || volumes(bench).is_empty().then_some(())).await;
}

fn facts(job: &Value) -> (&str, &str, u64, &Value) {
    let last = job["attempts"].as_array().and_then(|attempts| attempts.last()).unwrap_or(&Value::Null);
    (
        job["state"].as_str().unwrap_or_default(),
        job["cause"].as_str().unwrap_or_default(),
        job["attempt"].as_u64().unwrap_or_default(),
        &last["exit_code"],
    )
}

#[tokio::test]
async fn containers_share_volumes_secrets_and_the_network_and_go_together() {
    let bench = Bench::start(On::Docker).await;
    let init = "echo from init > /data/x; echo in memory > /fast/y; echo fetched";
    let web = "httpd -f -p 127.0.0.1:8080 -h /data & trap 'echo bye; exit 0' TERM; wait";
    let main = "cat /data/x /fast/y; until wget -q -O - http://127.0.0.1:8080/x 2>/dev/null; do sleep 0.1; done; \
                stat -c '%a %u' /keys/token; cat /keys/token; touch /keys/new 2>/dev/null || echo; \
                touch /data/new && echo $DOGWATCH_ATTEMPT";
    let mounts = json!([{"volume": "data", "path": "/data"}, {"volume": "fast", "path": "/fast"}]);
    let spec = group(json!({
        "args": ["sh", "-c", main], "user": "1234", "main_name": "app",
        "volumes": [
            {"name": "data", "empty_dir": {}}, {"name": "fast", "empty_dir": {"size": "1Mi"}},
            {"name": "keys", "secret": {"items": {"token": "s3cret"}}},
        ],
        "mounts": [mounts[0], mounts[1], {"volume": "keys", "path": "/keys"}],
        "init_containers": [{"name": "fetch", "args": ["sh", "-c", init], "mounts": mounts, "user": "77"}],
        "sidecars": [{"name": "web", "args": ["sh", "-c", web], "mounts": [{"volume": "data", "path": "/data", "read_only": true}]}],
    }));
    let id = bench.submit(&spec).await;
    let job = bench.over(&id).await;
    assert_eq!(facts(&job), ("succeeded", "success", 1, &json!(0)), "{job}\n{}", bench.logs(&id, "").await);
    assert!(!job.to_string().contains("s3cret"), "{job}");
    let said = "from init\nin memory\nfrom init\n400 1234\ns3cret\n1\n";
    assert_eq!(bench.logs(&id, "").await, said);
    assert_eq!(bench.logs(&id, "?container=app").await, said);
    assert_eq!(bench.logs(&id, "?container=fetch").await, "fetched\n");
    assert_eq!(
        bench.logs(&id, "?container=web").await,
        "bye\n",
        "it is stopped, and after the main container"
    );
    let unknown = bench.request(reqwest::Method::GET, &format!("/v1/jobs/{id}/logs?container=fetsh"));
    assert_eq!(unknown.send().await.unwrap().status(), 400);
    gone(&bench).await;
}

#[tokio::test]
async fn an_init_container_that_fails_is_the_end_of_the_attempt() {
    let bench = Bench::start(On::Docker).await;
    let spec = group(json!({
        "args": ["echo", "main"], "max_attempts": 2, "backoff": {"initial": "20ms"},
        "init_containers": [
            {"name": "one", "args": ["true"]}, {"name": "two", "args": ["sh", "-c", "exit 3"]},
            {"name": "three", "args": ["echo", "three"]},
        ],
        "sidecars": [{"name": "side", "args": ["echo", "side"]}],
    }));
    let id = bench.submit(&spec).await;
    let job = bench.over(&id).await;
    assert_eq!(facts(&job), ("failed", "init_failed", 2, &json!(3)), "{job}");
    assert!(job["message"].as_str().unwrap().contains("`two` exited with code 3"), "{job}");
    for container in ["main", "three", "side"] {
        assert_eq!(bench.logs(&id, &format!("?container={container}")).await, "", "{container}");
    }
    let missing =
        group(json!({"args": ["true"], "sidecars": [{"name": "side", "args": ["no-such-command"]}]}));
    let id = bench.submit(&missing).await;
    let job = bench.over(&id).await;
    assert_eq!(facts(&job), ("failed", "start_error", 1, &json!(127)), "{job}");
    assert!(job["message"].as_str().unwrap().contains("container `side`"), "{job}");
    gone(&bench).await;
}

#[tokio::test]
async fn killed_in_every_phase_the_group_is_found_again_and_nothing_runs_twice() {
    let mut bench = Bench::start(On::Docker).await;
    let id = bench.submit(&patient()).await;
    bench.in_state(&id, "running").await;
    bench.restart(Signal::KILL).await;
    bench.in_state(&id, "running").await;
    bench.end(Signal::KILL);
    docker(&["kill", "--signal", "USR1", &name(&id, "fetch")]).expect("the init container still runs");
    bench.boot().await;
    tell_later(&bench, &id, "main").await;
    bench.restart(Signal::KILL).await;
    tell(&bench, &id, "main").await;
    // Its main container is over, and the sidecar is being stopped.
    bench.restart(Signal::KILL).await;
    let job = bench.over(&id).await;
    assert_eq!(facts(&job), ("failed", "exit_code", 1, &json!(5)), "{job}");
    for (container, said) in [("main", "run\n"), ("fetch", "run\n"), ("proxy", "run\nbye\n")] {
        assert_eq!(bench.logs(&id, &format!("?container={container}")).await, said, "{container}");
    }
    gone(&bench).await;
}

/// Waits until a container waits to be told.
async fn tell_later(bench: &Bench, id: &str, part: &str) {
    let says = async || docker(&["logs", &name(id, part)]).filter(|said| said == "run");
    bench.eventually("it runs", says).await;
}

#[tokio::test]
async fn cancelled_in_every_phase_nothing_is_left() {
    let bench = Bench::start(On::Docker).await;
    for phase in ["created", "init", "main"] {
        let id = bench.submit(&patient()).await;
        if phase != "created" {
            tell_later(&bench, &id, "fetch").await;
        }
        if phase == "main" {
            tell(&bench, &id, "fetch").await;
            tell_later(&bench, &id, "main").await;
        }
        bench.ask(&id, "cancel").await;
        let job = bench.over(&id).await;
        assert_eq!(job["state"], "cancelled", "{phase}: {job}");
        gone(&bench).await;
        if phase == "main" {
            assert_eq!(bench.logs(&id, "?container=proxy").await, "run\nbye\n");
        }
    }
}

#[tokio::test]
async fn killed_at_any_request_to_the_engine_each_container_still_runs_once() {
    let proxy = EngineProxy::open();
    let mut bench = Bench::start_with(On::Docker, &[("DOGWATCH_DOCKER__HOST", &proxy.host())]).await;
    let spec = group(json!({
        "args": ["echo", "run"],
        "volumes": [{"name": "data", "empty_dir": {}}, {"name": "keys", "secret": {"items": {"k": "s3cret"}}}],
        "mounts": [{"volume": "keys", "path": "/keys"}],
        "init_containers": [{"name": "fetch", "args": ["echo", "run"]}],
        "sidecars": [{"name": "proxy", "args": beside()}],
    }));
    let mut strikes = 0;
    for at in (1..33).step_by(4) {
        // A server that has just started still asks for its own sake: only what comes after the answer is for the job.
        let id = bench.submit(&spec).await;
        let (pid, count) = (Arc::new(AtomicI32::new(bench.pid().cast_signed())), AtomicUsize::new(0));
        let struck = Arc::clone(&pid);
        proxy.fault(move |_| {
            if count.fetch_add(1, Ordering::SeqCst) != at {
                return Fault::None;
            }
            let pid = Arc::clone(&struck);
            Fault::After(Arc::new(move || {
                if let Some(pid) = Pid::from_raw(pid.swap(0, Ordering::SeqCst)) {
                    kill_process(pid, Signal::KILL).ok();
                }
            }))
        });
        bench
            .eventually("it was struck, or has come so far", async || {
                let gone = pid.load(Ordering::SeqCst) == 0;
                let answer = bench.request(reqwest::Method::GET, &format!("/v1/jobs/{id}")).send().await;
                let over = match answer {
                    Ok(answer) => answer.text().await.is_ok_and(|text| text.contains("finished_at\":\"2")),
                    Err(_) => false,
                };
                (gone || over).then_some(())
            })
            .await;
        proxy.mend();
        if pid.swap(0, Ordering::SeqCst) == 0 {
            strikes += 1;
            bench.restart(Signal::KILL).await;
        }
        let job = bench.over(&id).await;
        assert_eq!(facts(&job), ("succeeded", "success", 1, &json!(0)), "struck at {at}: {job}");
        for (container, said) in [("main", "run\n"), ("fetch", "run\n"), ("proxy", "run\nbye\n")] {
            let log = bench.logs(&id, &format!("?container={container}")).await;
            assert_eq!(log, said, "{container}, struck at {at}");
        }
        gone(&bench).await;
    }
    assert!(strikes >= 5, "only {strikes} strikes");
}

#[tokio::test]
async fn an_unhealthy_attempt_is_restarted_or_fails_the_job() {
    let bench = Bench::start(On::Docker).await;
    let probe = |on: &str| json!({"exec": ["test", "-f", "/tmp/ok"], "every": "1s", "failures": 2, "on_unhealthy": on});
    let script = "trap 'exit 0' TERM; [ $DOGWATCH_ATTEMPT = 1 ] || { touch /tmp/ok; sleep 3 & wait; exit 0; }; \
                  sleep 100 & wait";
    let base =
        group(json!({"args": ["sh", "-c", script], "max_attempts": 3, "backoff": {"initial": "20ms"}}));
    let restarted = bench.submit(&with(base.clone(), json!({"probe": probe("restart")}))).await;
    let failed = bench.submit(&with(base, json!({"probe": probe("fail")}))).await;
    let job = bench.over(&restarted).await;
    assert_eq!(facts(&job), ("succeeded", "success", 2, &json!(0)), "{job}");
    let first = &job["attempts"][0];
    assert_eq!(first["cause"], "unhealthy", "{job}");
    assert!(first["message"].as_str().unwrap().contains("exited with code 1"), "{job}");
    assert!(bench.history(&restarted).await.contains(&"probe_failed".to_owned()));
    let job = bench.over(&failed).await;
    assert_eq!(
        (&job["state"], &job["cause"], &job["attempt"]),
        (&json!("failed"), &json!("unhealthy"), &json!(1)),
        "{job}"
    );
    gone(&bench).await;
}

#[tokio::test]
async fn a_sidecar_is_probed_over_http_and_probing_goes_on_after_a_restart() {
    let mut bench = Bench::start(On::Docker).await;
    let web = "echo ok > /tmp/ok; trap 'kill $!; sleep 100' USR1; httpd -f -p 8080 -h /tmp & wait; sleep 100";
    let spec = group(json!({
        "args": ["sh", "-c", "echo run; sleep 100"], "network": "default", "stop_grace": "1s",
        "init_containers": [{"name": "slow", "args": ["sleep", "2"]}],
        "sidecars": [{"name": "web", "args": ["sh", "-c", web], "probe": {
            "http": {"port": 8080, "path": "/ok"}, "every": "1s", "failures": 2, "initial_delay": "1s", "on_unhealthy": "fail"}}],
    }));
    let id = bench.submit(&spec).await;
    tell_later(&bench, &id, "main").await;
    bench.restart(Signal::KILL).await;
    docker(&["kill", "--signal", "USR1", &name(&id, "web")]).expect("it runs");
    let failing = |job: &Value| job["message"].as_str().is_some_and(|text| text.contains("`web`"));
    bench.until(&id, "the failure is shown", failing).await;
    let job = bench.over(&id).await;
    assert_eq!(
        (&job["state"], &job["cause"], &job["attempt"]),
        (&json!("failed"), &json!("unhealthy"), &json!(1)),
        "{job}"
    );
    assert!(job["message"].as_str().unwrap().contains("port 8080"), "{job}");
    gone(&bench).await;
}

#[tokio::test]
async fn a_path_of_the_host_is_given_only_where_the_server_allows_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("allowed");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::write(root.join("sub/x"), "from the host\n").unwrap();
    std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
    let allowed = root.display().to_string();
    let bench = Bench::start_with(On::Docker, &[("DOGWATCH_DOCKER__HOST_PATHS", &allowed)]).await;
    let spec = |path: &str| {
        group(json!({
            "args": ["sh", "-c", "cat /host/x; touch /host/y || echo no"],
            "volumes": [{"name": "h", "host_path": {"path": path, "read_only": true}}],
            "mounts": [{"volume": "h", "path": "/host"}],
        }))
    };
    let id = bench.submit(&spec(&format!("{allowed}/sub"))).await;
    assert_eq!(bench.over(&id).await["state"], "succeeded");
    assert!(bench.logs(&id, "?stream=stdout").await.starts_with("from the host\nno\n"));
    let id = bench.submit(&spec(&format!("{allowed}/out"))).await;
    let job = bench.over(&id).await;
    assert_eq!((&job["state"], &job["cause"]), (&json!("failed"), &json!("start_error")), "{job}");
    for path in ["/etc", &format!("{allowed}x"), &format!("{allowed}/../x"), "relative"] {
        let (status, problem) = bench.post("/v1/jobs", &spec(path)).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_spec")), "{path}: {problem}");
    }
    gone(&bench).await;
}

#[tokio::test]
async fn all_containers_of_a_group_are_billed_also_after_a_kill() {
    let mut bench = Bench::start(On::Docker).await;
    let burn = "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; times; sleep 2";
    let spec = group(json!({
        "args": ["sh", "-c", burn],
        "init_containers": [{"name": "fetch", "args": ["sleep", "1"]}],
        "sidecars": [{"name": "proxy", "args": beside()}],
    }));
    let id = bench.submit(&spec).await;
    bench
        .until(&id, "it has burnt", |_| {
            docker(&["logs", &name(&id, "main")]).is_some_and(|log| log.contains("0m"))
        })
        .await;
    bench.restart(Signal::KILL).await;
    let job = bench.over(&id).await;
    let usage = |field: &str| job["usage"][field].as_f64().unwrap_or_else(|| panic!("no {field}: {job}"));
    // The init container one second, the main one and the one beside it two each; more for their starts and stops.
    assert!((5.0..60.0).contains(&usage("container_seconds")), "{job}");
    assert!(usage("cpu_seconds") > 0.01 && usage("memory_gib_seconds") > 0.0, "{job}");
    // What ended before the kill was measured by the server that is dead, and a starved one may miss a last reading.
    assert!(usage("unmeasured_seconds") + 1.0 < usage("container_seconds"), "{job}");
    gone(&bench).await;
}
