//! One delivery of a webhook, and every way in which it can fail.

use bytes::Bytes;
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::limits::WEBHOOK_TIMEOUT;
use dogwatch_actors::outbound::guard::Guard;
use dogwatch_actors::outbound::webhook::{Request, SendError, WebhookSender};
use dogwatch_actors::secret::Secret;
use tokio::net::TcpListener;

use super::receiver::{Answer, Receiver};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) fn sender() -> WebhookSender {
    WebhookSender::new(Guard { allow_private: true, ..Guard::default() }).unwrap()
}

/// The example that the Standard Webhooks specification signs.
pub(crate) fn request(url: impl Into<String>) -> Request {
    Request {
        url: url.into(),
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned(),
        timestamp: Timestamp::from_millis(1_614_265_330_999),
        body: Bytes::from_static(br#"{"test": 2432232314}"#),
        secret: Some(Secret::new(SECRET)),
    }
}

async fn answered(answer: Answer) -> Result<u16, SendError> {
    let receiver = Receiver::answering(answer).await;
    sender().post(request(receiver.url("/hook"))).await
}

#[tokio::test]
async fn a_webhook_arrives_whole_and_signed() {
    let mut receiver = Receiver::answering(Answer::status("204 No Content")).await;
    assert_eq!(sender().post(request(receiver.url("/hook?a=b"))).await, Ok(204));

    let got = receiver.request().await;
    assert_eq!(got.line, "POST /hook?a=b HTTP/1.1");
    assert_eq!(got.body, br#"{"test": 2432232314}"#);
    let expected = [
        ("content-type", "application/cloudevents+json"),
        ("user-agent", concat!("dogwatch/", env!("CARGO_PKG_VERSION"))),
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ("content-length", "20"),
    ];
    for (name, value) in expected {
        assert_eq!(got.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(got.headers.get("host"), Some(&receiver.addr.to_string()));
}

#[tokio::test]
async fn without_a_secret_it_is_not_signed() {
    for secret in [None, Some(Secret::default())] {
        let mut receiver = Receiver::answering(Answer::status("200 OK")).await;
        let request = Request { secret, ..request(receiver.url("/")) };
        assert_eq!(sender().post(request).await, Ok(200));
        let got = receiver.request().await;
        assert!(!got.headers.contains_key("webhook-signature"));
        assert!(got.headers.contains_key("webhook-id"));
    }
}

#[tokio::test]
async fn what_cannot_be_signed_or_named_is_not_sent() {
    let receiver = Receiver::answering(Answer::status("200 OK")).await;
    let secret = Some(Secret::new("whsec_hunter2"));
    let error = sender().post(Request { secret, ..request(receiver.url("/")) }).await.unwrap_err();
    assert!(matches!(error, SendError::Secret(_)) && error.is_permanent());
    assert!(!format!("{error} {error:?}").contains("hunter2"));

    let id = "a\r\nx-injected: 1".to_owned();
    assert_eq!(sender().post(Request { id, ..request(receiver.url("/")) }).await, Err(SendError::Id));
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn only_a_2xx_is_a_delivery() {
    assert_eq!(answered(Answer::status("202 Accepted")).await, Ok(202));
    assert_eq!(answered(Answer::status("410 Gone")).await, Err(SendError::Gone));
    for (line, status) in
        [("304 Not Modified", 304), ("404 Not Found", 404), ("500 Oops", 500), ("503 Busy", 503)]
    {
        assert_eq!(answered(Answer::status(line)).await, Err(SendError::Status(status)));
    }
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_not_followed() {
    let canary = Receiver::answering(Answer::status("200 OK")).await;
    for code in [301, 302, 303, 307, 308] {
        let answer =
            Answer::with(&format!("{code} Moved"), &format!("location: {}\r\n", canary.url("/")), "");
        assert_eq!(answered(answer).await, Err(SendError::Status(code)));
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_given_up() {
    let mut receiver = Receiver::answering(Answer::Silence).await;
    let url = receiver.url("/");
    let sending = tokio::spawn(async move { sender().post(request(url)).await });
    receiver.request().await;
    // Nothing but the time limit can happen from here on: let the time run to it.
    tokio::time::pause();
    let outcome = tokio::time::timeout(2 * WEBHOOK_TIMEOUT, sending).await.unwrap();
    assert_eq!(outcome.unwrap(), Err(SendError::Timeout));
}

#[tokio::test]
async fn a_2xx_counts_although_its_body_never_ends() {
    let (head, block) = (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 16 * 1024]);
    let before = tokio::time::Instant::now();
    assert_eq!(answered(Answer::Flood { head, block }).await, Ok(200));
    assert!(before.elapsed() < WEBHOOK_TIMEOUT, "the time limit ended it, not the limit of bytes");
    let broken = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nshort".to_vec();
    assert_eq!(answered(Answer::Bytes(broken)).await, Ok(200));
}

#[tokio::test]
async fn a_closed_port_and_a_broken_connection_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let error = sender().post(request(format!("http://{addr}/T000/hunter2"))).await.unwrap_err();
    let SendError::Connect(text) = &error else { panic!("{error:?}") };
    assert!(text.to_lowercase().contains("connection refused"), "{text}");
    assert!(!format!("{error} {error:?}").contains("hunter2") && !error.is_permanent());

    for answer in [Answer::HangUp, Answer::Bytes(b"no http at all\r\n\r\n".to_vec())] {
        let error = answered(answer).await.unwrap_err();
        assert!(matches!(error, SendError::Broken(_)) && !error.is_permanent(), "{error:?}");
    }
}
