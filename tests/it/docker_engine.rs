//! What the engine does, and what it does not: *unknown* is never *exited*.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, IMAGE, On, docker, with};
use crate::engine_proxy::{Behind, EngineProxy};

/// A job that runs until the test lets it end, and then with code 5.
fn patient() -> Value {
    let script = "trap 'echo bye; exit 5' USR1; echo hello; while :; do sleep 0.2 & wait $!; done";
    with(On::Docker.script(script), json!({"max_attempts": 1}))
}

async fn reachable(bench: &Bench, expected: bool) {
    bench
        .eventually("the engine is seen as it is", async || {
            (bench.readiness().await["runtimes"]["docker"] == expected).then_some(())
        })
        .await;
}

#[tokio::test]
async fn an_engine_that_cannot_be_reached_delays_and_decides_nothing() {
    for away in [Behind::Nothing, Behind::Silence, Behind::Relic] {
        let proxy = EngineProxy::open();
        let mut bench = Bench::start_with(On::Docker, &[("DOGWATCH_DOCKER__HOST", &proxy.host())]).await;
        let id = bench.submit(&patient()).await;
        bench.eventually("it runs", async || (bench.logs(&id, "").await == "hello\n").then_some(())).await;
        let before = bench.in_state(&id, "running").await;

        proxy.put(away);
        if away != Behind::Silence {
            reachable(&bench, false).await;
        }
        let waiting = bench.submit(&On::Docker.script("exit 0")).await;
        let known = |job: &Value| job["state"] == "running" && job["attempts"][0]["state"] == "running";
        assert!(known(&bench.job(&id).await), "{away:?}");
        // Not a restart of ours either: what is not known stays as it was.
        bench.restart(Signal::KILL).await;
        let job = bench.job(&id).await;
        assert!(known(&job), "{away:?}: {job}");
        if away != Behind::Silence {
            let why = |job: &Value| job["message"].as_str().is_some_and(|why| why.contains("docker"));
            let job = bench.until(&id, "it is said why nothing moves", why).await;
            assert!(known(&job), "{away:?}: {job}");
        }

        proxy.put(Behind::Engine);
        reachable(&bench, true).await;
        assert_eq!(bench.over(&waiting).await["state"], "succeeded", "{away:?}");
        let container = before["attempts"][0]["runtime_id"].as_str().unwrap().to_owned();
        docker(&["kill", "--signal", "USR1", &container]).unwrap();
        let job = bench.over(&id).await;
        assert_eq!(
            (&job["cause"], &job["attempts"][0]["exit_code"]),
            (&json!("exit_code"), &json!(5)),
            "{job}"
        );
        assert_eq!((&job["attempt"], &job["attempts"][0]["runtime_id"]), (&json!(1), &json!(container)));
        assert_eq!(bench.logs(&id, "").await, "hello\nbye\n", "{away:?}");
        bench.cleared().await;
    }
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_named_with_what_is_needed() {
    let proxy = EngineProxy::open();
    proxy.put(Behind::Relic);
    let bench = Bench::start_with(On::Docker, &[("DOGWATCH_DOCKER__HOST", &proxy.host())]).await;
    let id = bench.submit(&On::Docker.script("exit 0")).await;
    let said = |job: &Value| {
        job["message"].as_str().is_some_and(|why| why.contains("1.21") || why.contains("1.9.1"))
    };
    let job = bench.until(&id, "the version is named", said).await;
    assert!(matches!(job["state"].as_str(), Some("queued" | "starting")), "{job}");
    bench.ask(&id, "cancel").await;
    proxy.put(Behind::Engine);
    assert_eq!(bench.over(&id).await["state"], "cancelled");
}

#[tokio::test]
async fn what_somebody_else_removes_is_lost_and_tried_again() {
    let mut bench = Bench::start(On::Docker).await;
    let script = "[ $DOGWATCH_ATTEMPT = 1 ] || exit 0; sleep 300 & wait";
    let id = bench.submit(&with(On::Docker.script(script), json!({"backoff": {"initial": "50ms"}}))).await;
    let job = bench.in_state(&id, "running").await;
    // While nobody watches: a watcher would see it being killed first.
    bench.end(Signal::KILL);
    docker(&["rm", "--force", job["attempts"][0]["runtime_id"].as_str().unwrap()]).unwrap();
    bench.boot().await;
    let job = bench.over(&id).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(2)), "{job}");
    assert_eq!(job["attempts"][0]["cause"], "lost", "{job}");
}

#[tokio::test]
async fn foreign_containers_are_left_alone() {
    let name = format!("foreign-{}", std::process::id());
    let foreign = docker(&["run", "--detach", "--name", &name, IMAGE, "sleep", "300"]).unwrap();
    let mut bench = Bench::start(On::Docker).await;
    let id = bench.submit(&On::Docker.script("exit 0")).await;
    bench.over(&id).await;
    bench.restart(Signal::KILL).await;
    bench.cleared().await;
    let running = docker(&["inspect", "--format", "{{.State.Running}}", &foreign]);
    docker(&["rm", "--force", &foreign]);
    assert_eq!(running.as_deref(), Some("true"));
}

#[tokio::test]
async fn no_spec_gets_more_than_the_profile_gives() {
    let bench = Bench::start(On::Docker).await;
    for privilege in [
        json!({"privileged": true}),
        json!({"volumes": ["/:/host"]}),
        json!({"cap_add": ["SYS_ADMIN"]}),
        json!({"network": "host"}),
        json!({"pid": "host"}),
        json!({"security_profile": "privileged"}),
        json!({"devices": ["/dev/sda"]}),
    ] {
        let (status, problem) = bench.post("/v1/jobs", &with(patient(), privilege.clone())).await;
        assert_eq!(status, 422, "{privilege}: {problem}");
    }
    let id = bench.submit(&patient()).await;
    let job = bench.in_state(&id, "running").await;
    let container = job["attempts"][0]["runtime_id"].as_str().unwrap().to_owned();
    let shown: Value =
        serde_json::from_str(&docker(&["inspect", "--format", "{{json .HostConfig}}", &container]).unwrap())
            .unwrap();
    assert_eq!((&shown["Privileged"], &shown["RestartPolicy"]["Name"]), (&json!(false), &json!("no")));
    assert!(
        shown["CapAdd"].as_array().is_none_or(Vec::is_empty)
            && shown["Binds"].as_array().is_none_or(Vec::is_empty)
    );
    assert!(shown["SecurityOpt"].to_string().contains("no-new-privileges"), "{shown}");
    assert!(shown["Memory"].as_u64() > Some(0) && shown["PidsLimit"].as_u64() > Some(0), "{shown}");
    bench.ask(&id, "cancel").await;
    bench.over(&id).await;
    bench.cleared().await;
}

#[tokio::test]
async fn a_web_service_in_a_container_is_started_polled_and_completed() {
    let bench = Bench::start(On::Docker).await;
    // Slow to come up, and with every step of the work asked for over HTTP.
    let script = r#"
        mkdir -p /tmp/w/cgi-bin
        cat > /tmp/w/cgi-bin/start <<'EOF'
#!/bin/sh
head -c "$CONTENT_LENGTH" > /tmp/asked
printf 'Content-Type: application/json\r\n\r\n{"accepted": true}'
EOF
        cat > /tmp/w/cgi-bin/status <<'EOF'
#!/bin/sh
echo x >> /tmp/polls
n=$(wc -l < /tmp/polls)
printf 'Content-Type: application/json\r\n\r\n'
if [ "$n" -ge 3 ]; then printf '{"event": "completed", "data": %s}' "$(cat /tmp/asked)"; else printf '{"done": %s}' "$n"; fi
EOF
        chmod +x /tmp/w/cgi-bin/start /tmp/w/cgi-bin/status
        sleep 1
        exec httpd -f -v -p 8080 -h /tmp/w"#;
    let service = json!({"completion": "callback", "max_attempts": 1, "stop_grace": "1s", "service": {
        "port": 8080, "ready_timeout": "20s",
        "start": {"path": "/cgi-bin/start", "body": {"pages": 3}},
        "status": {"path": "/cgi-bin/status", "every": "200ms"},
    }});
    let id = bench.submit(&with(On::Docker.script(script), service)).await;
    let job = bench.over(&id).await;
    assert_eq!((&job["state"], &job["cause"]), (&json!("succeeded"), &json!("success")), "{job}");
    assert_eq!((&job["output"], &job["progress"]), (&json!({"pages": 3}), &json!({"done": 2})), "{job}");
    let kinds = bench.history(&id).await;
    let count = |wanted: &str| kinds.iter().filter(|kind| *kind == wanted).count();
    assert_eq!((count("service_started"), count("service_polled")), (1, 3), "{kinds:?}");
    bench.cleared().await;
}
