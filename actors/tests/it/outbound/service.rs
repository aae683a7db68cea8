//! Calls to a service job, and what its answers mean.

use dogwatch_actors::limits::{SERVICE_ANSWER_BYTES_MAX, SERVICE_POLL_TIMEOUT};
use dogwatch_actors::outbound::service::{CallError, ServiceCaller};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::receiver::{Answer, Receiver};

async fn polled(answer: Answer) -> Result<Value, CallError> {
    let receiver = Receiver::answering(answer).await;
    ServiceCaller::new().unwrap().poll(receiver.addr, "/status").await
}

#[tokio::test]
async fn a_start_posts_json_with_its_key_and_returns_the_answer() {
    let mut receiver = Receiver::answering(Answer::with("202 Accepted", "", r#"{"run": 7}"#)).await;
    let caller = ServiceCaller::new().unwrap();
    let answer = caller.start(receiver.addr, "/start?x=1", &json!({"day": 1}), "job-1".to_owned()).await;
    assert_eq!(answer, Ok(json!({"run": 7})));

    let got = receiver.request().await;
    assert_eq!(got.line, "POST /start?x=1 HTTP/1.1");
    assert_eq!(got.body, br#"{"day":1}"#);
    assert_eq!(got.headers["content-type"], "application/json");
    assert_eq!(got.headers["idempotency-key"], "job-1");
    assert_eq!(got.headers["host"], receiver.addr.to_string());
}

#[tokio::test]
async fn a_start_with_a_key_that_no_header_can_hold_is_refused() {
    let receiver = Receiver::answering(Answer::status("200 OK")).await;
    let caller = ServiceCaller::new().unwrap();
    let error = caller.start(receiver.addr, "/", &Value::Null, "a\r\nb".to_owned()).await.unwrap_err();
    assert!(error.refused);
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_poll_gets_json_text_or_nothing() {
    let mut receiver = Receiver::answering(Answer::with("200 OK", "", r#"{"percent": 40}"#)).await;
    let caller = ServiceCaller::new().unwrap();
    assert_eq!(caller.poll(receiver.addr, "/status").await, Ok(json!({"percent": 40})));
    assert_eq!(receiver.request().await.line, "GET /status HTTP/1.1");

    assert_eq!(polled(Answer::with("200 OK", "", "working")).await, Ok(json!({"text": "working"})));
    assert_eq!(polled(Answer::status("204 No Content")).await, Ok(Value::Null));
}

#[tokio::test]
async fn an_answer_has_a_limit() {
    let full = format!("\"{}\"", "x".repeat(SERVICE_ANSWER_BYTES_MAX - 2));
    assert!(polled(Answer::with("200 OK", "", &full)).await.is_ok());
    let error = polled(Answer::with("200 OK", "", &format!("{full} "))).await.unwrap_err();
    assert!(error.refused && error.message.contains("256 KiB"), "{error}");

    let (head, block) = (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 16 * 1024]);
    assert!(polled(Answer::Flood { head, block }).await.unwrap_err().refused);
}

#[tokio::test]
async fn a_refusal_says_what_the_service_said() {
    let error = polled(Answer::with("422 No", "", "the day\r\nis missing")).await.unwrap_err();
    assert!(error.refused);
    assert_eq!(error.message, "the service answered 422: the day  is missing");

    let error = polled(Answer::with("503 Busy", "", "starting")).await.unwrap_err();
    assert!(!error.refused);
    assert_eq!(error.message, "the service answered 503: starting");
}

#[tokio::test]
async fn a_redirect_is_refused_and_not_followed() {
    let canary = Receiver::answering(Answer::status("200 OK")).await;
    let answer = Answer::with("302 Found", &format!("location: {}\r\n", canary.url("/")), "");
    assert!(polled(answer).await.unwrap_err().refused);
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_not_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let caller = ServiceCaller::new().unwrap();
    let error = caller.poll(addr, "/").await.unwrap_err();
    assert!(!error.refused && error.message.to_lowercase().contains("connection refused"), "{error}");

    assert!(!polled(Answer::HangUp).await.unwrap_err().refused);

    let mut receiver = Receiver::answering(Answer::Silence).await;
    let addr = receiver.addr;
    let polling = tokio::spawn(async move { caller.poll(addr, "/").await });
    receiver.request().await;
    // Nothing but the time limit can happen from here on: let the time run to it.
    tokio::time::pause();
    let outcome = tokio::time::timeout(2 * SERVICE_POLL_TIMEOUT, polling).await.unwrap();
    let error = outcome.unwrap().unwrap_err();
    assert!(!error.refused && error.message.contains("within 10 s"), "{error}");
}
