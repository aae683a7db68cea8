//! On processes; and what does not depend on what a job runs on.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{HELLO, content, spec, start};
use crate::bench::{Bench, On};

super::every_case!(On::Process);

async fn with_header(bench: &Bench, path: &str, name: &str, value: &str) -> (StatusCode, String, String) {
    let request = bench.request(Method::GET, path).header(name, value);
    let answer = request.send().await.unwrap();
    let range = answer.headers().get("content-range").map(|range| range.to_str().unwrap().to_owned());
    (answer.status(), range.unwrap_or_default(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_download_has_a_tag_and_ranges_and_is_never_a_page() {
    let bench = start(On::Process).await;
    let job = spec(On::Process, "printf hello > 'a b#?.html'", json!({"outputs": ["*.html"]}));
    let id = bench.submit(&job).await;
    bench.over(&id).await;
    let path = format!("/v1/jobs/{id}/artifacts/a%20b%23%3F.html");
    let answer = bench.request(Method::GET, &path).send().await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("etag"), format!("\"{HELLO}\""));
    assert_eq!((header("content-length"), header("accept-ranges")), ("5".into(), "bytes".into()));
    assert_eq!(header("content-type"), "application/octet-stream");
    assert_eq!(
        (header("content-disposition"), header("x-content-type-options")),
        ("attachment".into(), "nosniff".into())
    );
    let (status, range, text) = with_header(&bench, &path, "range", "bytes=1-3").await;
    assert_eq!((status.as_u16(), range.as_str(), text.as_str()), (206, "bytes 1-3/5", "ell"));
    let (status, range, _) = with_header(&bench, &path, "range", "bytes=5-").await;
    assert_eq!((status.as_u16(), range.as_str()), (416, "bytes */5"));
    let (status, _, text) = with_header(&bench, &path, "if-none-match", &format!("\"{HELLO}\"")).await;
    assert_eq!((status.as_u16(), text.as_str()), (304, ""));
    for (path, status, code) in [
        (format!("/v1/jobs/{id}/artifacts/gone"), 404, "artifact_not_found"),
        (format!("/v1/jobs/{id}/artifacts/../../../etc/passwd"), 404, "route_not_found"),
        (format!("/v1/jobs/{id}/artifacts/..%2F..%2Froot.key"), 404, "artifact_not_found"),
        (format!("/v1/jobs/{id}/artifacts?attempt=2"), 404, "attempt_not_found"),
        (format!("/v1/jobs/{id}/artifacts?attempt=x"), 400, "invalid_request"),
        (format!("/v1/jobs/{id}/artifacts?limit=1"), 400, "invalid_request"),
    ] {
        let answer = bench.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path}");
        let problem: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(problem["code"], code, "{path}: {problem}");
    }
}

#[tokio::test]
async fn what_cannot_be_a_file_is_refused_where_it_stands() {
    let bench = start(On::Process).await;
    let table = [
        (json!({"inputs": [{"path": "/abs", "content": ""}]}), "/inputs/0/path"),
        (json!({"inputs": [{"path": "../up", "content": ""}]}), "/inputs/0/path"),
        (json!({"inputs": [{"path": "", "content": ""}]}), "/inputs/0/path"),
        (json!({"inputs": [{"path": "a"}]}), "/inputs/0"),
        (json!({"inputs": [{"path": "a", "content": "", "url": "http://x/"}]}), "/inputs/0"),
        (json!({"inputs": [{"path": "a", "content_base64": "!"}]}), "/inputs/0/content_base64"),
        (json!({"inputs": [{"path": "a", "url": "file:///etc/passwd"}]}), "/inputs/0/url"),
        (json!({"inputs": [{"path": "a", "artifact": "x/y"}]}), "/inputs/0"),
        (json!({"inputs": [{"path": "a", "content": "", "mode": "4755"}]}), "/inputs/0/mode"),
        (json!({"inputs": [{"path": "a", "content": "", "sha256": "12"}]}), "/inputs/0/sha256"),
        (json!({"inputs": [{"path": "a", "content": "", "modus": "1"}]}), "/inputs/0/modus"),
        (json!({"inputs": [{"path": "a", "content": ""}, {"path": "a", "content": ""}]}), "/inputs/1/path"),
        (json!({"outputs": ["/abs"]}), "/outputs/0/path"),
        (json!({"outputs": ["a/../b"]}), "/outputs/0/path"),
        (json!({"outputs": [{"path": "a", "name": "/x"}]}), "/outputs/0/name"),
        (json!({"outputs": [{"path": "a", "name": "x"}, {"path": "b", "name": "x"}]}), "/outputs/1/name"),
        (json!({"outputs": [3]}), "/outputs/0"),
        (json!({"outputs": (0..65).map(|n| n.to_string()).collect::<Vec<_>>()}), "/outputs"),
        (json!({"image": "x", "args": [], "outputs": ["**"], "read_only_root": true}), "/outputs"),
        (json!({"image": "x", "args": [], "outputs": ["/**"]}), "/outputs/0/path"),
    ];
    for (more, pointer) in table {
        let (status, problem) =
            bench.post("/v1/jobs", &crate::bench::with(json!({"args": ["true"]}), more.clone())).await;
        assert_eq!(status, 422, "{more}: {problem}");
        let errors = problem["errors"].as_array().unwrap();
        assert!(errors.iter().any(|error| error["pointer"] == pointer), "{more}: {problem}");
    }
}

/// Without leave an input comes from the public internet only, and the refusal speaks of inputs.
#[tokio::test]
async fn an_input_may_not_reach_what_only_the_server_can() {
    let bench = Bench::start(On::Process).await;
    for url in ["http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data", "http://localhost/"] {
        let job = json!({"args": ["true"], "inputs": [{"path": "a", "url": url}]});
        let (status, problem) = bench.post("/v1/jobs", &job).await;
        assert_eq!(status, 422, "{url}: {problem}");
        let message = problem["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("input's host"), "{message}");
    }
}

/// A file of many chunks comes out as it is, and its slot is free while it does.
#[tokio::test]
async fn a_large_file_comes_out_whole() {
    let bench = start(On::Process).await;
    let job = spec(On::Process, "seq 1 3000000 > large; sha256sum large", json!({"outputs": ["large"]}));
    let id = bench.submit(&job).await;
    assert_eq!(bench.over(&id).await["state"], "succeeded");
    let digest = bench.logs(&id, "").await.split(' ').next().unwrap().to_owned();
    assert_eq!(super::artifacts(&bench, &id).await["large"]["sha256"], digest.as_str());
    assert_eq!(content(&bench, &id, "large").await.lines().count(), 3_000_000);
}
