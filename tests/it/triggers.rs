//! Triggers, end to end: the real binary, with files, requests and messages.
//!
//! `DOGWATCH_PROVE_FILES` says how many files are dropped at once; 60 where it does not, 500 among the proofs.

mod calls;
mod files;
mod objects;

use reqwest::Method;
use serde_json::Value;

use crate::bench::Bench;

async fn ask(bench: &Bench, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
    let mut request = bench.request(method, path);
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

async fn put(bench: &Bench, name: &str, trigger: &Value) -> Value {
    let (status, answer) = ask(bench, Method::PUT, &format!("/v1/triggers/{name}"), Some(trigger)).await;
    assert!(matches!(status, 200 | 201), "{answer}");
    answer
}

async fn until(bench: &Bench, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/v1/triggers/{name}");
    bench.eventually(what, async || Some(bench.get(&path).await).filter(&holds)).await
}

/// The items in this state.
async fn items(bench: &Bench, name: &str, state: &str) -> Vec<Value> {
    let page = bench.get(&format!("/v1/triggers/{name}/items?state={state}&limit=1000")).await;
    page["items"].as_array().unwrap().clone()
}
