//! Every kind of bad input to every route of queues, and workers' tokens where they are not good.

use reqwest::Method;
use serde_json::{Value, json};

use super::{bodies, declare, delete, put, receive, send};
use crate::bench::{Bench, On};

#[actix_web::test]
async fn what_is_malformed_is_refused_and_it_is_said_where() {
    let bench = Bench::start(On::Process).await;
    declare(&bench, "orders", json!({})).await;
    send(&bench, "orders", &json!({"body": 1})).await;
    let message = receive(&bench, "orders", json!({})).await.remove(0);
    let (good, long) = (message["receipt"].as_str().unwrap(), "x".repeat(300 * 1024));
    let forged = format!("{}x", &good[..good.len() - 1]);
    let many: Vec<Value> = (0..1_001).map(|n| json!({"body": n})).collect();
    let messages = "/v1/queues/orders/messages";
    let ack = "/v1/queues/orders/messages/1/ack";
    let table = [
        ("PUT", "/v1/queues/Orders", json!({}), 400, "invalid_request", "lower-case"),
        ("PUT", "/v1/queues/orders", json!({"lease": "1ms"}), 422, "invalid_spec", "/lease"),
        ("PUT", "/v1/queues/orders", json!({"lease": "soon"}), 422, "invalid_spec", "duration"),
        ("PUT", "/v1/queues/orders", json!({"max_deliveries": 0}), 422, "invalid_spec", "/max_deliveries"),
        ("PUT", "/v1/queues/orders", json!({"visibility_timeout": 3}), 422, "invalid_spec", "use `lease`"),
        ("PUT", "/v1/queues/orders", json!([1]), 422, "invalid_spec", "object"),
        ("PUT", "/v1/queues/orders?x=1", json!({}), 400, "invalid_request", "takes none"),
        ("GET", "/v1/queues/nothing", Value::Null, 404, "queue_not_found", "PUT /v1/queues/nothing"),
        ("DELETE", "/v1/queues/nothing", Value::Null, 404, "queue_not_found", "declare"),
        ("DELETE", "/v1/queues/orders", Value::Null, 409, "queue_conflict", "force=true"),
        ("DELETE", "/v1/queues/orders?force=maybe", Value::Null, 400, "invalid_request", "true or false"),
        ("POST", "/v1/queues/nothing/messages", json!({"body": 1}), 404, "queue_not_found", "declare"),
        ("POST", messages, Value::Null, 400, "malformed_json", "empty"),
        ("POST", messages, json!({}), 422, "invalid_spec", "/body"),
        ("POST", messages, json!({"payload": 1}), 422, "invalid_spec", "use `body`"),
        ("POST", messages, json!({"body": 1, "id": ""}), 422, "invalid_spec", "/id"),
        ("POST", messages, json!({"body": 1, "priority": 101}), 422, "invalid_spec", "/priority"),
        ("POST", messages, json!({"body": 1, "priority": 1000}), 422, "invalid_spec", "/priority"),
        ("POST", messages, json!({"body": 1, "delay": "400d"}), 422, "invalid_spec", "/delay"),
        ("POST", messages, json!({"body": 1, "headers": {"": "x"}}), 422, "invalid_spec", "/headers"),
        ("POST", messages, json!({"body": 1, "headers": {"a": 1}}), 422, "invalid_spec", "/headers/a"),
        ("POST", messages, json!({"body": long}), 422, "invalid_spec", "/body"),
        ("POST", messages, json!({"messages": []}), 422, "invalid_spec", "/messages"),
        ("POST", messages, json!({"messages": many}), 422, "invalid_spec", "1 to 1000"),
        ("POST", messages, json!({"messages": [{"body": 1}, {}]}), 422, "invalid_spec", "/messages/1/body"),
        ("GET", "/v1/queues/orders/messages/7", Value::Null, 404, "message_not_found", "7"),
        ("GET", "/v1/queues/orders/messages/01", Value::Null, 404, "message_not_found", "01"),
        ("POST", "/v1/queues/orders/receive", json!({"max": 0}), 422, "invalid_spec", "/max"),
        ("POST", "/v1/queues/orders/receive", json!({"max": 1001}), 422, "invalid_spec", "/max"),
        ("POST", "/v1/queues/orders/receive", json!({"lease": "13h"}), 422, "invalid_spec", "/lease"),
        ("POST", "/v1/queues/orders/receive", json!({"wait": "2m"}), 422, "invalid_spec", "/wait"),
        ("POST", "/v1/queues/orders/receive", json!({"max_messages": 1}), 422, "invalid_spec", "use `max`"),
        ("POST", "/v1/queues/nothing/receive", json!({}), 404, "queue_not_found", "declare"),
        ("POST", ack, json!({}), 422, "invalid_spec", "/receipt"),
        ("POST", ack, json!({"receipt": "x"}), 400, "invalid_request", "receipt"),
        ("POST", ack, json!({"receipt": forged}), 400, "invalid_request", "receipt"),
        (
            "POST",
            "/v1/queues/orders/messages/2/ack",
            json!({"receipt": good}),
            400,
            "invalid_request",
            "receipt",
        ),
        ("POST", "/v1/queues/orders/messages/x/ack", json!({"receipt": good}), 404, "message_not_found", "x"),
        (
            "POST",
            ack,
            json!({"receipt": good, "result": "x".repeat(70 * 1024)}),
            422,
            "invalid_spec",
            "/result",
        ),
        (
            "POST",
            "/v1/queues/orders/messages/1/nack",
            json!({"receipt": good, "reason": "x"}),
            422,
            "invalid_spec",
            "`error`",
        ),
        (
            "POST",
            "/v1/queues/orders/messages/1/nack",
            json!({"receipt": good, "delay": "400d"}),
            422,
            "invalid_spec",
            "/delay",
        ),
        (
            "POST",
            "/v1/queues/orders/messages/1/nack",
            json!({"receipt": good, "error": "x".repeat(3_000)}),
            422,
            "invalid_spec",
            "/error",
        ),
        (
            "POST",
            "/v1/queues/orders/messages/1/renew",
            json!({"receipt": good, "lease": "0s"}),
            422,
            "invalid_spec",
            "/lease",
        ),
        ("POST", "/v1/queues/orders/ack", json!({"messages": []}), 422, "invalid_spec", "/messages"),
        (
            "POST",
            "/v1/queues/orders/ack",
            json!({"messages": [{"id": "1", "receipt": "x"}]}),
            422,
            "invalid_spec",
            "/messages/0/receipt",
        ),
        ("GET", "/v1/queues/orders/dead?limit=0", Value::Null, 400, "invalid_request", "between 1 and 1000"),
        ("GET", "/v1/queues/orders/dead?after=x", Value::Null, 404, "message_not_found", "x"),
        ("POST", "/v1/queues/orders/dead/1/requeue", Value::Null, 404, "message_not_found", "dead letter"),
        ("DELETE", "/v1/queues/orders/dead/1", Value::Null, 404, "message_not_found", "dead letter"),
        ("POST", "/v1/queues/orders/dead/requeue", json!({"all": true}), 400, "invalid_request", "no input"),
        ("PATCH", "/v1/queues/orders", Value::Null, 405, "method_not_allowed", "PUT"),
    ];
    for (method, path, body, status, code, told) in table {
        let request = bench.request(method.parse().unwrap(), path);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.unwrap();
        let (answered, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        let shown: String = format!("{method} {path} {body}").chars().take(120).collect();
        assert_eq!(answered, status, "{shown}: {text}");
        assert!(text.contains(&format!("\"code\":\"{code}\"")) && text.contains(told), "{shown}: {text}");
    }
    let queue = bench.get("/v1/queues/orders").await;
    assert_eq!(
        (&queue["leased"], &queue["sent_total"]),
        (&json!(1), &json!(1)),
        "nothing was changed: {queue}"
    );
}

#[actix_web::test]
async fn a_pool_needs_its_queue_and_a_queue_with_a_pool_stays() {
    let bench = Bench::start(On::Process).await;
    let pool = |queue: &str| json!({"queue": queue, "job": {"args": ["true"]}});
    let (status, problem) = put(&bench, "/v1/pools/workers", &pool("orders")).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/queue")), "{problem}");
    declare(&bench, "orders", json!({})).await;
    let mut both = pool("orders");
    both["activities"] = json!([{"name": "a"}]);
    assert_eq!(put(&bench, "/v1/pools/workers", &both).await.0, 422);
    let (status, declared) = put(&bench, "/v1/pools/workers", &pool("orders")).await;
    assert_eq!(status, 201, "{declared}");
    let (status, problem) = put(&bench, "/v1/pools/others", &pool("orders")).await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("`workers`"), "{problem}");
    let (status, problem) = delete(&bench, "/v1/queues/orders?force=true").await;
    assert_eq!((status, &problem["code"]), (409, &json!("queue_conflict")), "{problem}");
    assert_eq!(bench.get("/v1/queues/orders").await["pool"], "workers");
    assert_eq!(delete(&bench, "/v1/pools/workers").await.0, 204);
    assert_eq!(delete(&bench, "/v1/queues/orders").await.0, 204);
}

/// A worker that writes down what it finds in its environment, and waits.
const SPY: &str = "printf '%s\\n%s\\n' \"$DOGWATCH_QUEUE_URL\" \"$DOGWATCH_QUEUE_TOKEN\" > \"$SPIED.new\"; mv \"$SPIED.new\" \"$SPIED\"; \
                   while :; do sleep 0.1; done";

#[actix_web::test]
async fn a_workers_token_is_good_for_its_own_queue_while_its_attempt_runs() {
    let bench = Bench::start(On::Process).await;
    declare(&bench, "orders", json!({})).await;
    declare(&bench, "letters", json!({})).await;
    let spied = bench.path().join("spied");
    let job = json!({"args": ["sh", "-c", SPY], "env": {"SPIED": spied}});
    let pool = json!({"queue": "orders", "job": job, "min": 1, "max": 1});
    assert_eq!(put(&bench, "/v1/pools/workers", &pool).await.0, 201);
    send(&bench, "orders", &json!({"body": "own"})).await;
    let text =
        bench.eventually("the worker has started", async || std::fs::read_to_string(&spied).ok()).await;
    let (url, token) = text.trim().split_once('\n').unwrap();
    assert!(!bench.log().contains(token), "the token is in the log");

    let ask = async |url: &str, token: &str, body: Value| {
        let answer = bench.http().post(url).bearer_auth(token).json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap_or_default())
    };
    let (status, answer) = ask(&format!("{url}/receive"), token, json!({"wait": "20s"})).await;
    assert_eq!(
        (status, bodies(answer["messages"].as_array().unwrap())),
        (200, vec![json!("own")]),
        "{answer}"
    );
    let message = &answer["messages"][0];
    let busy = bench.eventually("its pool sees its work", async || {
        let pool = bench.get("/v1/pools/workers").await;
        (pool["running"] == 1 && pool["instances"][0]["connected"] == true).then_some(pool)
    });
    busy.await;
    let (id, receipt) = (message["id"].as_str().unwrap(), &message["receipt"]);
    let (status, _) = ask(&format!("{url}/messages/{id}/renew"), token, json!({"receipt": receipt})).await;
    assert_eq!(status, 200);
    let (status, _) = ask(&format!("{url}/messages/{id}/ack"), token, json!({"receipt": receipt})).await;
    assert_eq!(status, 200);

    let (forged, other) = (format!("{}x", &token[..token.len() - 1]), url.replace("orders", "letters"));
    let api = format!("{}/v1/queues/orders/receive", bench.url());
    for (url, token, status) in [
        (format!("{url}/receive"), forged.as_str(), 403),
        (format!("{other}/receive"), token, 403),
        (format!("{url}/messages"), token, 404),
        (format!("{url}/receive"), bench.key().as_str(), 403),
        (api, token, 401),
    ] {
        let (answered, problem) = ask(&url, token, json!({"body": 1})).await;
        assert_eq!(answered, status, "{url}: {problem}");
    }
    assert_eq!(bench.request(Method::DELETE, "/v1/pools/workers").send().await.unwrap().status(), 202);
    bench
        .eventually("the token ends with its attempt", async || {
            (ask(&format!("{url}/receive"), token, json!({})).await.0 == 403).then_some(())
        })
        .await;
}
