//! The contract document: complete, correct and current.

use std::collections::BTreeSet;
use std::path::Path;

use dogwatch::api::openapi::document;
use dogwatch::api::routes::{Access, TABLE};
use serde_json::Value;

fn json() -> Value {
    serde_json::to_value(document()).expect("a document is JSON")
}

#[test]
fn every_route_is_documented_and_nothing_else() {
    let mut routes: BTreeSet<(String, String)> =
        TABLE.iter().map(|entry| (entry.method.as_str().to_lowercase(), entry.pattern.to_owned())).collect();
    assert_eq!(routes.len(), TABLE.len(), "a route is in the table twice");
    routes.insert(("post".to_owned(), dogwatch::callbacks::PATTERN.to_owned()));
    let document = json();
    let methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    let documented: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone()))
        })
        .filter(|(method, _)| methods.contains(&method.as_str()))
        .collect();
    assert_eq!(documented, routes);
}

#[test]
fn it_is_an_openapi_3_1_document_whose_references_resolve() {
    let document = json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{document}");
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("references are local");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for schema in [
        "JobSpec",
        "JobView",
        "Problem",
        "Callback",
        "CallbackReceipt",
        "EventView",
        "HistoryPage",
        "JobPage",
    ] {
        assert!(document["components"]["schemas"][schema].is_object(), "there is no schema {schema}");
    }
}

#[test]
fn every_operation_names_its_errors_and_its_key() {
    let document = json();
    let mut ids = BTreeSet::new();
    for entry in TABLE {
        let operation = &document["paths"][entry.pattern][entry.method.as_str().to_lowercase()];
        let problem = &operation["responses"]["default"]["content"]["application/problem+json"]["schema"];
        assert!(problem.to_string().contains("#/components/schemas/Problem"), "{entry:?}: {problem}");
        assert!(operation["summary"].is_string(), "{entry:?} has no summary");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{entry:?}");
        let open = operation["security"]
            .as_array()
            .is_some_and(|all| all.iter().all(|one| one == &serde_json::json!({})));
        assert_eq!(open, entry.access == Access::Public, "{entry:?}: {}", operation["security"]);
    }
    assert_eq!(document["security"][0]["api_key"], serde_json::json!([]));
    let call = &document["paths"]["/v1/triggers/{name}"]["post"];
    assert!(call["security"][0]["trigger_token"].is_array(), "{call}");
    let callback = &document["paths"][dogwatch::callbacks::PATTERN];
    assert!(callback["post"]["security"][0]["callback_token"].is_array(), "{callback}");
    assert!(callback["servers"][0]["description"].as_str().is_some_and(|text| text.contains("CALLBACK_URL")));
}

/// `DOGWATCH_BLESS=1` writes the file instead.
#[test]
fn the_committed_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let current = document().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("DOGWATCH_BLESS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == current, "docs/openapi.json is not current; run this test with DOGWATCH_BLESS=1");
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                references.push(reference.clone());
            }
            members.values().for_each(|member| collect(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
