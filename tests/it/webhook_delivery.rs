//! Webhooks to a real receiver: signed, in order, tried again, and kept from private networks.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::bench::{Bench, On, with};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// One request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    pub(crate) headers: String,
    body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        let line =
            self.headers.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A receiver that gives these answers, and 204 from then on.
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    pub(crate) async fn start(answers: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks?x=1", listener.local_addr().unwrap());
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let all = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
                // A sender that dies in the middle of a request has sent none, and holds up nobody.
                while let Ok(read @ 1..) = connection.read(&mut part).await {
                    bytes.extend_from_slice(&part[..read]);
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let Some((headers, body)) = text.split_once("\r\n\r\n") else { continue };
                    let request = Received { headers: headers.to_owned(), body: body.to_owned() };
                    if request.header("content-length").parse() == Ok(body.len()) {
                        let number = all.lock().unwrap().len();
                        let status = answers.get(number).copied().unwrap_or(204);
                        all.lock().unwrap().push(request);
                        let answer =
                            format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                        drop(connection.write_all(answer.as_bytes()).await);
                        break;
                    }
                }
            }
        });
        Self { url, received }
    }

    pub(crate) fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

/// The signature as an implementation that is not ours computes it.
fn signature(request: &Received) -> String {
    let program = "import sys,hmac,hashlib,base64\n\
        key=base64.b64decode(sys.argv[1].removeprefix('whsec_'))\n\
        text=f'{sys.argv[2]}.{sys.argv[3]}.'.encode()+sys.stdin.buffer.read()\n\
        print('v1,'+base64.b64encode(hmac.new(key,text,hashlib.sha256).digest()).decode())";
    let mut python = Command::new("python3")
        .args(["-c", program, SECRET, request.header("webhook-id"), request.header("webhook-timestamp")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    python.stdin.take().unwrap().write_all(request.body.as_bytes()).unwrap();
    String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

const PRIVATE: &[(&str, &str)] = &[("DOGWATCH_WEBHOOKS__ALLOW_PRIVATE_NETWORKS", "true")];

#[tokio::test]
async fn the_submitter_is_told_signed_and_once_more_after_a_failure() {
    let bench = Bench::start_with(On::Process, PRIVATE).await;
    let receiver = Receiver::start(&[503]).await;
    let hook = json!({"name": "told", "on_complete": [{"url": receiver.url, "secret": SECRET}]});
    let id = bench
        .submit(&with(On::Process.script(r#"call '{"event": "completed", "data": {"rows": 1}}'"#), hook))
        .await;
    let job = bench.over(&id).await;
    assert!(!job.to_string().contains("whsec_"), "{job}");
    bench.eventually("it is delivered", async || (receiver.all().len() == 2).then_some(())).await;
    let all = receiver.all();
    for request in &all {
        assert!(request.headers.starts_with("POST /hooks?x=1 HTTP/1.1"), "{}", request.headers);
        assert_eq!(request.header("webhook-signature"), signature(request));
        assert!(request.header("content-type").starts_with("application/cloudevents+json"), "{request:?}");
        let event = request.json();
        assert_eq!(
            (&event["specversion"], &event["type"]),
            (&json!("1.0"), &json!("dev.dogwatch.job.succeeded"))
        );
        assert_eq!(
            (&event["subject"], &event["data"]["state"]),
            (&json!(id), &json!("succeeded")),
            "{event}"
        );
        assert_eq!((&event["data"]["output"], &event["data"]["name"]), (&json!({"rows": 1}), &json!("told")));
    }
    assert_eq!(all[0].header("webhook-id"), all[1].header("webhook-id"), "one message, told twice");
    let hooks = bench.get(&format!("/v1/jobs/{id}/webhooks")).await;
    assert_eq!(
        (&hooks["webhooks"][0]["delivered"], &hooks["webhooks"][0]["pending"]),
        (&json!(1), &json!(0)),
        "{hooks}"
    );
}

#[tokio::test]
async fn what_was_not_delivered_is_delivered_after_a_kill() {
    let mut bench = Bench::start_with(On::Process, PRIVATE).await;
    let receiver = Receiver::start(&[503]).await;
    let hook = json!({"restart_policy": "Never", "on_complete": [{"url": receiver.url}]});
    let id = bench.submit(&with(On::Process.script("exit 3"), hook)).await;
    bench.eventually("the first try fails", async || (receiver.all().len() == 1).then_some(())).await;
    bench.restart(Signal::KILL).await;
    bench.eventually("it is tried again", async || (receiver.all().len() >= 2).then_some(())).await;
    let last = receiver.all().pop().unwrap();
    assert_eq!(
        (&last.json()["data"]["state"], &last.json()["data"]["exit_code"]),
        (&json!("failed"), &json!(3))
    );
    assert_eq!(last.header("webhook-signature"), "", "nothing is signed without a secret");
    bench
        .eventually("it is known to be delivered", async || {
            let hooks = bench.get(&format!("/v1/jobs/{id}/webhooks")).await;
            (hooks["webhooks"][0]["delivered"] == 1).then_some(())
        })
        .await;
}

#[tokio::test]
async fn private_targets_are_refused_unless_the_configuration_allows_them() {
    let bench = Bench::start(On::Process).await;
    let spec = |url: &str| with(On::Process.script("exit 0"), json!({"on_complete": [{"url": url}]}));
    for url in
        ["http://127.0.0.1:1/", "http://localhost/", "http://10.0.0.1/", "http://169.254.169.254/latest"]
    {
        let (status, problem) = bench.post("/v1/jobs", &spec(url)).await;
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!("/on_complete/0/url")),
            "{problem}"
        );
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains("configuration"), "{problem}");
    }
    let allowed = Bench::start_with(On::Process, &[("DOGWATCH_WEBHOOKS__ALLOWED", "127.0.0.0/8")]).await;
    let receiver = Receiver::start(&[]).await;
    let id = allowed.submit(&spec(&receiver.url)).await;
    allowed.over(&id).await;
    allowed.eventually("it is delivered", async || (receiver.all().len() == 1).then_some(())).await;
    let (status, _) = allowed.post("/v1/jobs", &spec("http://10.0.0.1/")).await;
    assert_eq!(status, 422, "only that block is allowed");
}
