//! A job written as a list of `containers`, as users of container groups elsewhere write it.
//!
//! Responsible for: turning that list into the one form that is validated, stored and shown, where the main container
//! is the job itself and the others are `sidecars`. Not responsible for: what is in a container.
//!
//! Invariant: no member is dropped. What the main container says becomes the job's own; where the job says the same
//! already, that is a problem and not a choice.

use serde_json::{Map, Value};

use crate::handle::FieldError;

/// The member that is the list.
pub(super) const LIST: &str = "containers";

/// The same job without `containers`; `None` when it has none.
pub(super) fn normalised(json: &Value) -> Result<Option<Value>, FieldError> {
    let Some(listed) = json.get(LIST) else { return Ok(None) };
    let problem = |pointer: String, message: &str| FieldError { pointer, message: message.to_owned() };
    let at = |rest: &str| format!("/{LIST}{rest}");
    let Some(listed) = listed.as_array() else {
        return Err(problem(at(""), "expected a list of containers"));
    };
    let objects: Option<Vec<&Map<String, Value>>> = listed.iter().map(Value::as_object).collect();
    let Some(objects) = objects.filter(|objects| !objects.is_empty()) else {
        return Err(problem(at(""), "must have at least one container, each of them a JSON object"));
    };
    let is_main = |object: &&Map<String, Value>| object.get("main") == Some(&Value::Bool(true));
    if objects.iter().copied().filter(is_main).count() > 1 {
        return Err(problem(at(""), "has several containers with `main`; exactly one decides the job's end"));
    }
    let main = objects.iter().position(is_main).unwrap_or(0);
    let mut job = json.as_object().cloned().unwrap_or_default();
    job.remove(LIST);
    if job.contains_key("sidecars") {
        return Err(problem("/sidecars".to_owned(), "cannot stand beside `containers`; add them there"));
    }
    let mut sidecars = Vec::new();
    for (index, object) in objects.into_iter().enumerate() {
        let mut object = object.clone();
        object.remove("main");
        if index != main {
            sidecars.push(Value::Object(object));
            continue;
        }
        for (field, value) in object {
            // A job has a name of its own.
            let own = if field == "name" { "main_name" } else { field.as_str() };
            if job.contains_key(own) {
                let message = "is said of the job too; keep it in one of them";
                return Err(problem(at(&format!("/{index}/{field}")), message));
            }
            job.insert(own.to_owned(), value);
        }
    }
    if !sidecars.is_empty() {
        job.insert("sidecars".to_owned(), Value::Array(sidecars));
    }
    Ok(Some(Value::Object(job)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse;

    #[test]
    fn the_main_container_is_the_job_and_the_others_are_sidecars() {
        let written = json!({"name": "report", "init_containers": [{"name": "fetch"}], "containers": [
            {"name": "proxy", "image": "p", "args": ["x"]},
            {"name": "app", "image": "a", "env": {"K": "v"}, "probe": {"http": {"port": 80}}, "main": true},
        ]});
        let same = json!({"name": "report", "init_containers": [{"name": "fetch"}],
            "main_name": "app", "image": "a", "env": {"K": "v"}, "probe": {"http": {"port": 80}},
            "sidecars": [{"name": "proxy", "image": "p", "args": ["x"]}]});
        assert_eq!(parse(&written).unwrap(), parse(&same).unwrap());
        let first = json!({"containers": [{"name": "app", "image": "a"}, {"name": "b"}]});
        let spec = parse(&first).unwrap();
        assert_eq!((spec.main_name(), spec.image.as_deref(), spec.sidecars.len()), ("app", Some("a"), 1));
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        let table = [
            (json!({"containers": "x"}), "/containers"),
            (json!({"containers": []}), "/containers"),
            (json!({"containers": [1]}), "/containers"),
            (
                json!({"containers": [{"name": "a", "main": true}, {"name": "b", "main": true}]}),
                "/containers",
            ),
            (json!({"containers": [{"name": "a"}], "sidecars": []}), "/sidecars"),
            (json!({"image": "x", "containers": [{"name": "a", "image": "y"}]}), "/containers/0/image"),
            (json!({"containers": [{"name": "a"}, {"name": "b", "imgae": "y"}]}), "/sidecars/0/imgae"),
        ];
        for (spec, pointer) in table {
            let found = parse(&spec).unwrap_err();
            assert!(found.iter().any(|error| error.pointer == pointer), "{spec}: {found:?}");
        }
    }
}
