//! From JSON to a [`Spec`], naming every field that has not the shape of one.
//!
//! Not responsible for what the values mean together: that is `validate.rs`. Pure.

mod containers;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::spec::Spec;
use crate::handle::FieldError;
use crate::json::Tree;
use crate::shape;

/// The member that is a job's spec.
const JOB: &str = "job";

/// Reads a spec. On failure: every problem found, each with a JSON pointer and what to do.
pub fn parse(json: &Value) -> Result<Spec, Vec<FieldError>> {
    match containers::normalised(json).map_err(|error| vec![error])? {
        Some(json) => shape::read(&json, hint),
        None => shape::read(json, hint),
    }
}

/// The same of a document as it stands in its text.
pub fn parse_tree(tree: &Tree<'_>) -> Result<Spec, Vec<FieldError>> {
    match tree.get(containers::LIST) {
        Some(_) => parse(&tree.clone().into_value()),
        None => shape::read_tree(tree, hint),
    }
}

/// Reads a document that has the spec of a job as its member `job`: a pool, a schedule, a trigger.
pub fn parse_around<T: DeserializeOwned>(json: &Value, hint: shape::Hint) -> Result<T, Vec<FieldError>> {
    let job = json.get(JOB).map_or(Ok(None), containers::normalised);
    let job = job.map_err(|FieldError { pointer, message }| {
        vec![FieldError { pointer: format!("/{JOB}{pointer}"), message }]
    });
    match job? {
        Some(job) => {
            let mut json = json.clone();
            json[JOB] = job;
            shape::read(&json, hint)
        }
        None => shape::read(json, hint),
    }
}

/// Words of neighbouring systems for which a list of our fields would be a poor answer.
pub fn hint(parent: &str, field: &str) -> Option<&'static str> {
    if !parent.is_empty() {
        return None;
    }
    Some(match field {
        "command" | "cmd" | "argv" | "commands" => {
            "use `args` for the arguments and `entrypoint` to replace the image's entrypoint; \
             a process is `entrypoint` and `args` together"
        }
        "cpu" | "cpus" | "memory" | "mem" | "pids" => {
            "it belongs into `resources`: {\"cpu\": 0.5, \"memory\": \"256Mi\"}"
        }
        "environment" | "environment_variables" | "variables" => "use `env`",
        "retries" | "max_retries" | "attempts" => "use `max_attempts`, which counts the first attempt too",
        "binds" | "privileged" | "devices" | "cap_add" | "host_config" => {
            "host access cannot be given to a job; for files to share use `volumes` and `mounts`"
        }
        "initContainers" => "use `init_containers`",
        "volumeMounts" | "volume_mounts" => "use `mounts`",
        "livenessProbe" | "liveness_probe" | "healthcheck" | "health_check" => "use `probe`",
        "ports" | "port" => "ports are not published; for a web service use `service`: {\"port\": 8080}",
        "webhook" | "webhooks" | "callback_url" => "use `on_complete`: [{\"url\": \"https://…\"}]",
        "workdir" | "cwd" => "use `working_dir`",
        "uid" | "run_as" => "use `user`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::job::validate::{Policy, validate};
    use crate::json;

    fn problems(value: &Value) -> Vec<(String, String)> {
        let errors = parse(value).err().unwrap_or_default();
        errors.into_iter().map(|error| (error.pointer, error.message)).collect()
    }

    #[test]
    fn a_list_of_containers_may_stand_in_whatever_has_a_job() {
        #[derive(Debug, serde::Deserialize)]
        struct Around {
            job: Spec,
        }
        let read = |job: Value| parse_around::<Around>(&json!({ "job": job }), |_, _| None);
        let main = json!({"name": "app", "image": "app:1", "main": true});
        let both = json!({"containers": [{"name": "proxy", "image": "proxy:1"}, main]});
        let spec = read(both).unwrap().job;
        assert_eq!((spec.image.as_deref(), spec.sidecars.len()), (Some("app:1"), 1));
        assert_eq!(read(json!({"image": "app:1"})).unwrap().job.image.as_deref(), Some("app:1"));
        let errors = read(json!({"image": "app:1", "containers": [main]})).unwrap_err();
        assert_eq!(errors[0].pointer, "/job/containers/0/image");
        assert!(parse_around::<Around>(&json!({}), |_, _| None).is_err());
        let listed = r#"{"containers": [{"name": "app", "image": "app:1"}]}"#;
        let tree = json::read_tree(listed.as_bytes()).unwrap();
        assert_eq!(parse_tree(&tree).unwrap().image.as_deref(), Some("app:1"));
    }

    #[test]
    fn the_documented_example_is_a_spec() {
        let spec = parse(&json!({
            "name": "nightly-import", "image": "registry.example/etl:7", "entrypoint": [],
            "args": ["--day", "2026-11-20"], "env": {"K": "v"}, "secrets": {"TOKEN": "s3cret"},
            "runtime": "docker", "start_at": null, "suspended": false, "working_dir": "/app",
            "labels": {"team": "data"}, "resources": {"cpu": 0.5, "memory": "256Mi", "pids": 256},
            "registry_credentials": [{"server": "registry.example", "username": "u", "password": "p"}],
            "network": "default", "restart_policy": "OnFailure", "max_attempts": 3,
            "backoff": {"initial": "1s", "factor": 2.0, "max": "5m", "jitter": 0.25, "reset_after": "10m"},
            "retry_rules": [{"exit_codes": [2, "64-78"], "action": "fail"}, {"causes": ["oom"], "action": "retry_free"}],
            "timeout": "6h", "attempt_timeout": "1h", "queue_timeout": "10m", "stop_signal": "SIGTERM",
            "stop_grace": "10s", "completion": "either", "service": null,
            "on_complete": [{"url": "https://hooks.example/x"}], "ttl_after_finished": "7d",
            "security_profile": "baseline", "user": null, "read_only_root": false,
        }))
        .unwrap();
        assert_eq!(spec.secrets["TOKEN"].expose(), "s3cret");
        assert_eq!(validate(&spec, &Policy::default()), []);
    }

    #[test]
    fn every_problem_says_where_and_what_to_do() {
        let table = [
            (json!({"args": ["x"], "comand": []}), "/comand", "`args`"),
            (json!({"args": ["x"], "command": "x"}), "/command", "`entrypoint`"),
            (json!({"args": ["x"], "maxAttempts": 2}), "/maxAttempts", "did you mean `max_attempts`"),
            (json!({"args": ["x"], "zzz": 2}), "/zzz", "`working_dir`"),
            (json!({"args": ["x"], "memory": "1Gi"}), "/memory", "`resources`"),
            (json!({"args": "x"}), "/args", "expected a list, found a string"),
            (json!({"args": ["x", 1]}), "/args/1", "expected a string, found a number"),
            (json!({"env": {"A": 1}}), "/env/A", "expected a string, found a number"),
            (json!({"env": {"a/b": null}}), "/env/a~1b", "found null"),
            (json!({"timeout": "soon"}), "/timeout", "`soon` is not a duration"),
            (json!({"timeout": -1}), "/timeout", "negative"),
            (json!({"timeout": []}), "/timeout", "expected a duration"),
            (json!({"start_at": "tomorrow"}), "/start_at", "RFC 3339"),
            (json!({"restart_policy": "on_failure"}), "/restart_policy", "did you mean `OnFailure`"),
            (json!({"restart_policy": "sometimes"}), "/restart_policy", "`Always`, `Never`, `OnFailure`"),
            (
                json!({"restart_policy": {"Always": null}}),
                "/restart_policy",
                "expected a string, found an object",
            ),
            (json!({"max_attempts": 1.5}), "/max_attempts", "expected a whole number"),
            (json!({"max_attempts": -1}), "/max_attempts", "out of its range"),
            (
                json!({"max_attempts": "3"}),
                "/max_attempts",
                "expected a whole number, not negative, found a string",
            ),
            (json!({"resources": {"memory": "1mb"}}), "/resources/memory", "is not a size"),
            (json!({"resources": {"cpus": 1}}), "/resources/cpus", "did you mean `cpu`"),
            (json!({"resources": [1]}), "/resources", "expected a JSON object, found a list"),
            (
                json!({"retry_rules": [{"causes": ["oomm"], "action": "fail"}]}),
                "/retry_rules/0/causes/0",
                "did you mean `oom`",
            ),
            (json!({"retry_rules": [{"causes": ["oom"]}]}), "/retry_rules/0/action", "is missing"),
            (
                json!({"retry_rules": [{"exit_codes": [true], "action": "fail"}]}),
                "/retry_rules/0/exit_codes/0",
                "an exit code or a range",
            ),
            (json!({"service": {"port": 70000}}), "/service/port", "out of its range"),
            (json!({"service": {"status": {"path": "/"}}}), "/service/port", "is missing"),
            (json!({"on_complete": [{"uri": "x"}]}), "/on_complete/0/uri", "did you mean `url`"),
            (json!({"stop_signal": "SIGSTOP"}), "/stop_signal", "SIG"),
            (json!("x"), "", "expected a JSON object, found a string"),
            (json!([]), "", "expected a JSON object, found a list"),
        ];
        for (spec, pointer, message) in table {
            let found = problems(&spec);
            let hit = found.iter().any(|(at, text)| at == pointer && text.contains(message));
            assert!(hit, "{spec} should have said {message:?} at {pointer:?}, but said {found:?}");
        }
    }

    #[test]
    fn several_problems_come_together() {
        let found =
            problems(&json!({"nmae": "x", "imgae": "y", "timeout": "soon", "resources": {"cpus": 1}}));
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn a_secret_of_the_wrong_type_is_not_repeated() {
        let found = problems(&json!({"secrets": "hunter2", "registry_credentials": ["hunter2"]}));
        assert_eq!(found.len(), 2);
        assert!(!format!("{found:?}").contains("hunter2"));
        assert!(!format!("{:?}", problems(&json!({"secrets": {"A": 81549300}}))).contains("81549300"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "(1m30s|64-78|-|SIGTERM|Always|whsec_[a-zA-Z]{0,9}|https?://[^ ]{0,9}|\\PC{0,9}|\u{0})"
                .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let key = prop_oneof![
                "(name|image|args|entrypoint|env|secrets|labels|resources|cpu|memory|backoff|factor|jitter|max)",
                "(retry_rules|exit_codes|causes|action|service|port|start|status|path|on_complete|url|secret)",
                "(timeout|registry_credentials|server|user|working_dir|completion|network|max_attempts|initial)",
                "\\PC{0,6}",
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_json_makes_it_panic(value in any_json()) {
            match parse(&value) {
                Ok(spec) => drop(validate(&spec, &Policy::default())),
                Err(errors) => prop_assert!(!errors.is_empty()),
            }
            let text = value.to_string();
            let (tree, read) = (json::read_tree(text.as_bytes()), json::read(text.as_bytes()));
            prop_assert_eq!(parse_tree(&tree.unwrap()), parse(&read.unwrap()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = json::read(&bytes) {
                drop(parse(&value));
            }
        }
    }
}
