//! Queues, end to end: the real binary over HTTP.

mod data;
mod refusals;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Bench, On};

/// Declares a queue, and gives status and answer.
async fn put(bench: &Bench, path: &str, body: &Value) -> (u16, Value) {
    let answer = bench.request(Method::PUT, path).json(body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

async fn declare(bench: &Bench, queue: &str, settings: Value) {
    let (status, answer) = put(bench, &format!("/v1/queues/{queue}"), &settings).await;
    assert!(matches!(status, 200 | 201), "{answer}");
}

async fn delete(bench: &Bench, path: &str) -> (u16, Value) {
    let answer = bench.request(Method::DELETE, path).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

async fn send(bench: &Bench, queue: &str, body: &Value) -> Value {
    let (status, answer) = bench.post(&format!("/v1/queues/{queue}/messages"), body).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

async fn receive(bench: &Bench, queue: &str, asked: Value) -> Vec<Value> {
    let (status, answer) = bench.post(&format!("/v1/queues/{queue}/receive"), &asked).await;
    assert_eq!(status, 200, "{answer}");
    answer["messages"].as_array().unwrap().clone()
}

/// Tells something of a message that was received.
async fn tell(bench: &Bench, queue: &str, message: &Value, verb: &str, more: Value) -> (u16, Value) {
    let mut body = more;
    body["receipt"] = message["receipt"].clone();
    let id = message["id"].as_str().unwrap();
    bench.post(&format!("/v1/queues/{queue}/messages/{id}/{verb}"), &body).await
}

fn bodies(messages: &[Value]) -> Vec<Value> {
    messages.iter().map(|message| message["body"].clone()).collect()
}

#[actix_web::test]
async fn a_message_is_leased_comes_back_and_is_done_once_whatever_kills_the_server() {
    let mut bench = Bench::start(On::Process).await;
    declare(&bench, "orders", json!({"lease": "30s", "max_deliveries": 3})).await;
    let batch = json!({"messages": [
        {"body": {"order": 1}, "headers": {"team": "data"}, "id": "order-1"},
        {"body": "two, a text"},
        {"body": 3, "priority": 5},
    ]});
    let sent = send(&bench, "orders", &batch).await;
    let ids: Vec<&str> =
        sent["messages"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    let again = send(&bench, "orders", &json!({"body": "whatever", "id": "order-1"})).await;
    assert_eq!(again, json!({"id": "1", "duplicate": true}));

    bench.restart(Signal::KILL).await;
    let first = receive(&bench, "orders", json!({"max": 2})).await;
    assert_eq!(bodies(&first), [json!(3), json!({"order": 1})]);
    assert_eq!((&first[1]["headers"]["team"], &first[1]["dedup_id"]), (&json!("data"), &json!("order-1")));

    bench.restart(Signal::KILL).await;
    let rest = receive(&bench, "orders", json!({"max": 10})).await;
    assert_eq!(bodies(&rest), [json!("two, a text")], "leases outlive the server");
    let (status, done) = tell(&bench, "orders", &first[1], "ack", json!({"result": {"rows": 7}})).await;
    assert_eq!((status, &done["acknowledged"]), (200, &json!(true)), "{done}");

    bench.restart(Signal::KILL).await;
    let (status, _) = tell(&bench, "orders", &first[1], "ack", json!({})).await;
    assert_eq!(status, 200, "the same receipt again is the same");
    let message = bench.get("/v1/queues/orders/messages/1").await;
    assert_eq!((&message["state"], &message["result"]), (&json!("done"), &json!({"rows": 7})), "{message}");

    let (status, back) = tell(&bench, "orders", &first[0], "nack", json!({"error": "not today"})).await;
    assert_eq!((status, &back["dead"]), (200, &json!(false)), "{back}");
    for verb in ["ack", "nack", "renew"] {
        let (status, problem) = tell(&bench, "orders", &first[0], verb, json!({})).await;
        assert_eq!((status, &problem["code"]), (410, &json!("stale_receipt")), "{verb}: {problem}");
    }
    let second = receive(&bench, "orders", json!({})).await.remove(0);
    assert_eq!((&second["id"], &second["deliveries"]), (&json!("3"), &json!(2)));
    assert_eq!(bench.get("/v1/queues/orders/messages/3").await["last_error"], "not today");
    let (status, _) = tell(&bench, "orders", &second, "renew", json!({"lease": "1m"})).await;
    assert_eq!(status, 200);
    let both = json!({"messages": [
        {"id": second["id"], "receipt": second["receipt"]},
        {"id": first[0]["id"], "receipt": first[0]["receipt"]},
    ]});
    let (status, done) = bench.post("/v1/queues/orders/ack", &both).await;
    let done: Vec<&Value> =
        done["messages"].as_array().unwrap().iter().map(|it| &it["acknowledged"]).collect();
    assert_eq!((status, done), (200, vec![&json!(true), &json!(false)]));

    let queue = bench.get("/v1/queues/orders").await;
    let shown =
        ["ready", "leased", "dead", "sent_total", "delivered_total", "acknowledged_total", "returned_total"];
    assert_eq!(shown.map(|field| queue[field].as_u64().unwrap()), [0, 1, 0, 3, 4, 2, 1], "{queue}");
    let report = bench.get("/v1/store").await;
    assert_eq!((&report["ok"], &report["records"]["queues"]), (&json!(true), &json!(1)), "{report}");
}

#[actix_web::test]
async fn whoever_waits_is_given_the_first_message_and_whoever_goes_away_leases_nothing() {
    let bench = Bench::start(On::Process).await;
    declare(&bench, "orders", json!({})).await;
    assert_eq!(receive(&bench, "orders", json!({"wait": "10ms"})).await, Vec::<Value>::new());
    // One that goes away while it waits.
    let gone = bench.request(Method::POST, "/v1/queues/orders/receive").json(&json!({"wait": "30s"}));
    assert!(gone.timeout(std::time::Duration::from_millis(300)).send().await.is_err());
    let waiting = receive(&bench, "orders", json!({"wait": "30s"}));
    let here = json!({"body": "here"});
    let sending = send(&bench, "orders", &here);
    let (given, _) = futures_util::future::join(waiting, sending).await;
    assert_eq!(bodies(&given), [json!("here")]);
    assert_eq!(given[0]["deliveries"], 1, "the one that went away was given nothing: {given:?}");
    // What is delayed comes to whoever waits, in its time.
    send(&bench, "orders", &json!({"body": "later", "delay": "300ms"})).await;
    assert_eq!(bodies(&receive(&bench, "orders", json!({"wait": "30s"})).await), [json!("later")]);
    // And so does what somebody else had and did not do.
    send(&bench, "orders", &json!({"body": "again"})).await;
    receive(&bench, "orders", json!({"lease": "1s"})).await;
    let again = receive(&bench, "orders", json!({"wait": "30s"})).await;
    assert_eq!((bodies(&again), &again[0]["deliveries"]), (vec![json!("again")], &json!(2)));
    let metrics = bench.request(Method::GET, "/metrics").send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for line in [
        "dogwatch_queue_messages{queue=\"orders\",state=\"leased\"} 3",
        "dogwatch_queue_lease_expired_total{queue=\"orders\"} 1",
        "dogwatch_queue_oldest_age_seconds{queue=\"orders\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[actix_web::test]
async fn dead_letters_are_told_delivered_again_and_deleted() {
    let mut bench = Bench::start(On::Process).await;
    declare(&bench, "orders", json!({"max_deliveries": 1})).await;
    let batch = json!({"messages": (0..5).map(|n| json!({"body": n})).collect::<Vec<_>>()});
    send(&bench, "orders", &batch).await;
    for message in receive(&bench, "orders", json!({"max": 5})).await {
        let error = json!({"error": format!("broken {}", message["body"])});
        let (status, back) = tell(&bench, "orders", &message, "nack", error).await;
        assert_eq!((status, &back["dead"]), (200, &json!(true)));
    }
    bench.restart(Signal::KILL).await;
    let page = bench.get("/v1/queues/orders/dead?limit=2").await;
    assert_eq!(page["messages"].as_array().unwrap().len(), 2);
    let letter = &page["messages"][1];
    assert_eq!((&letter["id"], &letter["cause"]), (&json!("2"), &json!("failed")), "{letter}");
    assert_eq!((&letter["last_error"], &letter["deliveries"]), (&json!("broken 1"), &json!(1)), "{letter}");
    let next = page["next_after"].as_str().unwrap();
    let rest = bench.get(&format!("/v1/queues/orders/dead?after={next}")).await;
    assert_eq!((rest["messages"].as_array().unwrap().len(), &rest["next_after"]), (3, &Value::Null));

    let (status, moved) = bench.post("/v1/queues/orders/dead/2/requeue", &Value::Null).await;
    assert_eq!((status, moved), (200, json!({"moved": 1})));
    assert_eq!(bodies(&receive(&bench, "orders", json!({"max": 5})).await), [json!(1)]);
    let (status, gone) = delete(&bench, "/v1/queues/orders/dead/1").await;
    assert_eq!((status, gone), (200, json!({"moved": 1})));
    let (_, moved) = bench.post("/v1/queues/orders/dead/requeue", &Value::Null).await;
    assert_eq!(moved, json!({"moved": 3}));
    assert_eq!(receive(&bench, "orders", json!({"max": 5})).await.len(), 3);
    assert_eq!(delete(&bench, "/v1/queues/orders/dead").await.1, json!({"moved": 0}));

    let (status, problem) = delete(&bench, "/v1/queues/orders").await;
    assert_eq!((status, &problem["code"]), (409, &json!("queue_conflict")), "{problem}");
    assert_eq!(delete(&bench, "/v1/queues/orders?force=true").await.0, 204);
    assert_eq!(bench.get("/v1/queues").await, json!({"queues": []}));
    declare(&bench, "orders", json!({})).await;
    assert_eq!(bench.get("/v1/queues/orders").await["sent_total"], 0, "another queue of the same name");
    let report = bench.get("/v1/store").await;
    assert_eq!((&report["ok"], &report["records"]["rows"]), (&json!(true), &json!(0)), "{report}");
}
