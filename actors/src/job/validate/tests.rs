//! Every rule, one row each: a spec, where it must be refused, and a word of why.

use serde_json::{Value, json};

use super::*;
use crate::job::parse::parse;

fn found(spec: Value, policy: &Policy) -> Vec<(String, String)> {
    let spec = parse(&spec).unwrap_or_else(|errors| panic!("{spec} does not even parse: {errors:?}"));
    validate(&spec, policy).into_iter().map(|error| (error.pointer, error.message)).collect()
}

/// `base` with the members of `more` over it.
fn with(mut base: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

fn refused(base: &Value, table: &[(Value, &str, &str)]) {
    assert_eq!(found(base.clone(), &Policy::default()), [], "the base itself must be good");
    for (more, pointer, message) in table {
        let found = found(with(base.clone(), more), &Policy::default());
        let hit = found.iter().any(|(at, text)| at == pointer && text.contains(message));
        assert!(hit, "{more} should have said {message:?} at {pointer:?}, but said {found:?}");
    }
}

#[test]
fn what_is_run() {
    let many: serde_json::Map<String, Value> = (0..600).map(|n| (format!("K{n}"), json!("v"))).collect();
    refused(
        &json!({"args": ["true"]}),
        &[
            (json!({"args": []}), "", "nothing to run"),
            (json!({"args": [""]}), "/args/0", "cannot be empty"),
            (json!({"entrypoint": [""]}), "/entrypoint/0", "cannot be empty"),
            (json!({"args": ["a", "b\u{0}c"]}), "/args/1", "NUL"),
            (json!({"args": vec!["x"; 1025]}), "/args", "at most 1024"),
            (json!({"args": ["x".repeat(131_072)]}), "/args/0", "at most 131071"),
            (json!({"name": ""}), "/name", "1 to 63"),
            (json!({"name": "a".repeat(64)}), "/name", "1 to 63"),
            (json!({"name": "Upper"}), "/name", "lower-case"),
            (json!({"name": "-a"}), "/name", "beginning"),
            (json!({"name": "a-"}), "/name", "ending"),
            (json!({"name": "a.b"}), "/name", "lower-case"),
            (json!({"working_dir": "app"}), "/working_dir", "absolute"),
            (json!({"working_dir": "/a\u{0}"}), "/working_dir", "NUL"),
            (json!({"env": {"": "v"}}), "/env/", "variable's name"),
            (json!({"env": {"A=B": "v"}}), "/env/A=B", "variable's name"),
            (json!({"env": {"1A": "v"}}), "/env/1A", "variable's name"),
            (json!({"env": {"A": "\u{0}"}}), "/env/A", "NUL"),
            (json!({"env": {"DOGWATCH_X": "v"}}), "/env/DOGWATCH_X", "dogwatch sets itself"),
            (json!({"secrets": {"DOGWATCH_X": "v"}}), "/secrets/DOGWATCH_X", "dogwatch sets itself"),
            (json!({"secrets": {"A": null}}), "/secrets/A", "send it again"),
            (json!({"env": {"A": "1"}, "secrets": {"A": "2"}}), "/env/A", "also in `secrets`"),
            (json!({"env": many}), "/env", "at most 512"),
            (json!({"labels": {"": "v"}}), "/labels/", "label's key"),
            (json!({"labels": {"a:b": "v"}}), "/labels/a:b", "label's key"),
            (json!({"labels": {"a/": "v"}}), "/labels/a~1", "label's key"),
            (json!({"labels": {"dogwatch.job": "v"}}), "/labels/dogwatch.job", "namespace"),
            (
                json!({"labels": {"com.docker.compose.project": "v"}}),
                "/labels/com.docker.compose.project",
                "namespace",
            ),
            (json!({"labels": {"a": "x".repeat(257)}}), "/labels/a", "at most 256"),
            (json!({"labels": {"a": "x\ny"}}), "/labels/a", "control"),
        ],
    );
}

#[test]
fn what_a_process_cannot_have() {
    refused(
        &json!({"args": ["true"]}),
        &[
            (json!({"image": "x", "runtime": "process"}), "/runtime", "no image"),
            (json!({"runtime": "docker"}), "/image", "is missing"),
            (json!({"runtime": "dokcer"}), "/runtime", "did you mean `docker`"),
            (json!({"runtime": "mainframe"}), "/runtime", "there is docker, process"),
            (
                json!({"registry_credentials": [{"server": "r", "username": "u", "password": "p"}]}),
                "/registry_credentials",
                "only a container",
            ),
            (json!({"network": "none"}), "/network", "only a container"),
            (json!({"security_profile": "restricted"}), "/security_profile", "only a container"),
            (json!({"user": "1000"}), "/user", "only a container"),
            (json!({"read_only_root": true}), "/read_only_root", "only a container"),
        ],
    );
}

#[test]
fn what_a_container_cannot_have() {
    let login = |server: &str, password: Value| json!({"registry_credentials": [{"server": server, "username": "u", "password": password}]});
    refused(
        &json!({"image": "registry.example:5000/team/tool:1.2@sha256:abc"}),
        &[
            (json!({"image": ""}), "/image", "image reference"),
            (json!({"image": "-v"}), "/image", "image reference"),
            (json!({"image": "a b"}), "/image", "image reference"),
            (json!({"image": "a\u{0}"}), "/image", "image reference"),
            (login("https://r", json!("p")), "/registry_credentials/0/server", "without a scheme"),
            (login("r", json!(null)), "/registry_credentials/0/password", "send it again"),
            (json!({"user": ""}), "/user", "is no user"),
            (json!({"user": "a:b:c"}), "/user", "is no user"),
            (json!({"user": "0:0", "security_profile": "restricted"}), "/user", "root"),
            (json!({"user": "root", "security_profile": "restricted"}), "/user", "root"),
            (json!({"resources": {"memory": "5Mi"}}), "/resources/memory", "6Mi"),
            (json!({"resources": {"cpu": 0}}), "/resources/cpu", "above 0"),
            (json!({"resources": {"cpu": -1}}), "/resources/cpu", "above 0"),
            (json!({"resources": {"cpu": 5000}}), "/resources/cpu", "at most 4096"),
            (json!({"resources": {"pids": 0}}), "/resources/pids", "between 1"),
            (json!({"resources": {"memory": "9999999Ti"}}), "/resources/memory", "any machine"),
        ],
    );
}

#[test]
fn how_it_lives() {
    refused(
        &json!({"image": "x"}),
        &[
            (json!({"max_attempts": 0}), "/max_attempts", "at least 1"),
            (json!({"backoff": {"factor": 0.5}}), "/backoff/factor", "at least 1"),
            (json!({"backoff": {"jitter": 1.5}}), "/backoff/jitter", "between 0 and 1"),
            (json!({"backoff": {"jitter": -0.1}}), "/backoff/jitter", "between 0 and 1"),
            (json!({"backoff": {"initial": "10s", "max": "5s"}}), "/backoff/max", "shorter than `initial`"),
            (json!({"backoff": {"initial": 0}}), "/backoff/initial", "longer than 0"),
            (json!({"retry_rules": [{"action": "fail"}]}), "/retry_rules/0", "matches nothing"),
            (
                json!({"retry_rules": [{"exit_codes": ["9-1"], "action": "fail"}]}),
                "/retry_rules/0/exit_codes/0",
                "range",
            ),
            (
                json!({"retry_rules": [{"exit_codes": ["x"], "action": "fail"}]}),
                "/retry_rules/0/exit_codes/0",
                "range",
            ),
            (
                json!({"retry_rules": [{"exit_codes": [256], "action": "fail"}]}),
                "/retry_rules/0/exit_codes/0",
                "0 to 255",
            ),
            (
                json!({"retry_rules": [{"causes": ["canceled"], "action": "retry"}]}),
                "/retry_rules/0/causes/0",
                "whatever",
            ),
            (
                json!({"retry_rules": vec![json!({"exit_codes": [1], "action": "fail"}); 33]}),
                "/retry_rules",
                "at most 32",
            ),
            (json!({"timeout": 0}), "/timeout", "longer than 0"),
            (json!({"timeout": "99999d"}), "/timeout", "ten years"),
            (json!({"queue_timeout": 0}), "/queue_timeout", "longer than 0"),
            (json!({"timeout": "1m", "attempt_timeout": "2m"}), "/attempt_timeout", "can never pass"),
            (json!({"stop_grace": "2h"}), "/stop_grace", "at most 1h"),
            (json!({"ttl_after_finished": "9999d"}), "/ttl_after_finished", "ten years"),
            (json!({"completion": "callback", "network": "none"}), "/completion", "no callback can be made"),
            (json!({"completion": "exit", "service": {"port": 80}}), "/completion", "`callback` or `either`"),
            (json!({"network": "none", "service": {"port": 80}}), "/network", "cannot be called"),
            (json!({"service": {"port": 0}}), "/service/port", "between 1"),
            (
                json!({"service": {"port": 80, "start": {"path": "x"}}}),
                "/service/start/path",
                "begin with `/`",
            ),
            (
                json!({"service": {"port": 80, "start": {"path": "/a b"}}}),
                "/service/start/path",
                "percent-encoded",
            ),
            (
                json!({"service": {"port": 80, "status": {"path": "x"}}}),
                "/service/status/path",
                "begin with `/`",
            ),
            (
                json!({"service": {"port": 80, "status": {"path": "/", "every": "10ms"}}}),
                "/service/status/every",
                "100ms",
            ),
        ],
    );
}

#[test]
fn webhooks() {
    let to = |url: &str| json!({"on_complete": [{"url": url}]});
    let signed =
        |secret: &str| json!({"on_complete": [{"url": "https://hooks.example/x", "secret": secret}]});
    let url = "/on_complete/0/url";
    let (private, local) = ("not public", "is this machine");
    refused(
        &with(json!({"image": "x"}), &signed(&format!("whsec_{}", "A".repeat(32)))),
        &[
            (to("nowhere"), url, "absolute"),
            (to("ftp://hooks.example"), url, "http and https only"),
            (to("file:///etc/passwd"), url, "http and https only"),
            (to("https://user:pw@hooks.example"), url, "user name or password"),
            (to("https://user@hooks.example"), url, "user name or password"),
            (to("https://hooks.example/a b"), url, "without spaces"),
            (to("https://hooks.example/a\tb"), url, "without spaces"),
            (to(&format!("https://hooks.example/{}", "x".repeat(2048))), url, "longer than"),
            (to("http://localhost:9"), url, local),
            (to("http://LOCALHOST./"), url, local),
            (to("http://127.0.0.1"), url, private),
            (to("http://2130706433"), url, private),
            (to("http://0x7f.1"), url, private),
            (to("http://10.0.0.1"), url, private),
            (to("http://169.254.169.254/latest"), url, private),
            (to("http://100.64.0.1"), url, private),
            (to("http://[::1]"), url, private),
            (to("http://[::ffff:127.0.0.1]"), url, private),
            (to("https://[::ffff:8.8.8.8]/"), url, "ipv4 inside ipv6"),
            (to("http://[64:ff9b::7f00:1]"), url, private),
            (to("http://[fe80::1]"), url, private),
            (to("http://[fd00::1]"), url, private),
            (signed("hunter2"), "/on_complete/0/secret", "whsec_"),
            (signed("whsec_short"), "/on_complete/0/secret", "24 to 64"),
            (
                json!({"on_complete": vec![json!({"url": "https://a.example"}); 9]}),
                "/on_complete",
                "at most 8",
            ),
        ],
    );
}

#[test]
fn a_policy_that_allows_private_webhooks_or_runs_elsewhere() {
    let lenient = Policy { webhooks: Guard { allow_private: true, ..Guard::default() }, ..Policy::default() };
    assert_eq!(found(json!({"image": "x", "on_complete": [{"url": "http://127.0.0.1:9"}]}), &lenient), []);
    let public = json!({"image": "x", "on_complete": [{"url": "https://[2606:4700::1]/"}, {"url": "https://8.8.8.8"}]});
    assert_eq!(found(public, &Policy::default()), []);
    let strict = Policy { weakest_security_profile: SecurityProfile::Restricted, ..Policy::default() };
    let weak = found(json!({"image": "x"}), &strict);
    assert_eq!(weak.len(), 1);
    assert_eq!(weak[0].0, "/security_profile");
    assert_eq!(found(json!({"image": "x", "security_profile": "restricted"}), &strict), []);
    assert_eq!(found(json!({"args": ["true"]}), &strict), [], "a process has no profile");
    let processes = Policy { runtimes: vec!["process".to_owned()], ..Policy::default() };
    assert_eq!(found(json!({"image": "x"}), &processes)[0].0, "/image");
    let own = Policy { runtimes: vec!["swarm".to_owned()], ..Policy::default() };
    assert_eq!(found(json!({"image": "x", "runtime": "swarm"}), &own), []);
}

#[test]
fn numbers_that_json_cannot_write_are_refused_too() {
    let mut spec = Spec::container("x", ["y"]);
    spec.backoff.factor = f64::NAN;
    spec.backoff.jitter = f64::NAN;
    spec.resources.cpu = Some(f64::INFINITY);
    let pointers: Vec<String> =
        validate(&spec, &Policy::default()).into_iter().map(|error| error.pointer).collect();
    assert_eq!(pointers, ["/resources/cpu", "/backoff/factor", "/backoff/jitter"]);
}

#[test]
fn a_secret_is_in_no_finding() {
    let spec = json!({
        "image": "x", "secrets": {"A": "hunter2\u{0}"}, "on_complete": [{"url": "https://a.example", "secret": "hunter2"}],
        "registry_credentials": [{"server": "r", "username": "u", "password": "hunter2\u{0}"}],
    });
    let found = found(spec, &Policy::default());
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[test]
fn what_stands_beside_the_main_container() {
    let init = |more: Value| json!({"init_containers": [with(json!({"name": "i"}), &more)]});
    let side = |more: Value| json!({"sidecars": [with(json!({"name": "s"}), &more)]});
    refused(
        &json!({"image": "x", "volumes": [{"name": "d", "empty_dir": {}}], "sidecars": [{"name": "a"}]}),
        &[
            (init(json!({"name": "Upper"})), "/init_containers/0/name", "lower-case"),
            (init(json!({"name": "a".repeat(41)})), "/init_containers/0/name", "1 to 40"),
            (init(json!({"name": "_anchor"})), "/init_containers/0/name", "lower-case"),
            (init(json!({"name": "main"})), "/init_containers/0/name", "another container"),
            (init(json!({"name": "a"})), "/sidecars/0/name", "another container"),
            (json!({"main_name": "a"}), "/sidecars/0/name", "another container"),
            (
                json!({"main_name": "b", "sidecars": [{"name": "main"}]}),
                "/sidecars/0/name",
                "another container",
            ),
            (json!({"main_name": ""}), "/main_name", "1 to 40"),
            (json!({"sidecars": vec![json!({"name": "s"}); 9]}), "/sidecars", "at most 8"),
            (side(json!({"image": "-v"})), "/sidecars/0/image", "image reference"),
            (side(json!({"args": ["a\u{0}"]})), "/sidecars/0/args/0", "NUL"),
            (side(json!({"env": {"DOGWATCH_X": "v"}})), "/sidecars/0/env/DOGWATCH_X", "dogwatch sets itself"),
            (side(json!({"secrets": {"A": null}})), "/sidecars/0/secrets/A", "send it again"),
            (side(json!({"working_dir": "x"})), "/sidecars/0/working_dir", "absolute"),
            (side(json!({"resources": {"cpu": 0}})), "/sidecars/0/resources/cpu", "above 0"),
            (side(json!({"user": "a b"})), "/sidecars/0/user", "is no user"),
            (
                side(json!({"mounts": [{"volume": "w", "path": "/w"}]})),
                "/sidecars/0/mounts/0/volume",
                "no volume",
            ),
            (init(json!({"probe": {"exec": ["x"]}})), "/init_containers/0/probe", "ends by itself"),
        ],
    );
}

#[test]
fn what_containers_share() {
    let volume = |more: Value| json!({"volumes": [with(json!({"name": "v"}), &more)]});
    let mount = |volume: &str, path: &str| json!({"mounts": [{"volume": volume, "path": path}]});
    let many: Vec<Value> = (0..20).map(|n| json!({"name": format!("n{n}"), "empty_dir": {}})).collect();
    refused(
        &json!({"image": "x", "volumes": [{"name": "d", "empty_dir": {}}], "sidecars": [{"name": "a"}]}),
        &[
            (json!({"volumes": many}), "/volumes", "at most 16"),
            (volume(json!({})), "/volumes/0", "exactly one of"),
            (
                volume(json!({"empty_dir": {}, "secret": {"items": {"a": "b"}}})),
                "/volumes/0",
                "exactly one of",
            ),
            (volume(json!({"name": "a/b", "empty_dir": {}})), "/volumes/0/name", "lower-case"),
            (volume(json!({"empty_dir": {"size": "1k"}})), "/volumes/0/empty_dir/size", "64Ki"),
            (volume(json!({"empty_dir": {"size": "9999999Ti"}})), "/volumes/0/empty_dir/size", "any machine"),
            (volume(json!({"secret": {"items": {}}})), "/volumes/0/secret/items", "names no file"),
            (
                volume(json!({"secret": {"items": {"../x": "y"}}})),
                "/volumes/0/secret/items/..~1x",
                "no name of a file",
            ),
            (
                volume(json!({"secret": {"items": {"..": "y"}}})),
                "/volumes/0/secret/items/..",
                "no name of a file",
            ),
            (volume(json!({"secret": {"items": {"a": null}}})), "/volumes/0/secret/items/a", "send it again"),
            (
                volume(json!({"secret": {"items": {"a": "b"}, "owner": 4_000_000_000u32}})),
                "/volumes/0/secret/owner",
                "no user id",
            ),
            (
                volume(json!({"host_path": {"path": "/etc"}})),
                "/volumes/0/host_path/path",
                "gives containers no path",
            ),
            (
                volume(json!({"host_path": {"path": "/a/../etc"}})),
                "/volumes/0/host_path/path",
                "absolute path",
            ),
            (mount("w", "/w"), "/mounts/0/volume", "names no volume"),
            (mount("d", "w"), "/mounts/0/path", "absolute path"),
            (mount("d", "/w/"), "/mounts/0/path", "absolute path"),
            (mount("d", "/"), "/mounts/0/path", "no volume can be there"),
            (mount("d", "/proc/x"), "/mounts/0/path", "no volume can be there"),
            (
                json!({"mounts": [{"volume": "d", "path": "/w"}, {"volume": "d", "path": "/w"}]}),
                "/mounts/1/path",
                "another volume",
            ),
            (
                json!({"volumes": [{"name": "d", "empty_dir": {}}, {"name": "d", "empty_dir": {}}]}),
                "/volumes/1/name",
                "another volume",
            ),
        ],
    );
}

#[test]
fn how_health_is_found_out() {
    let probe = |more: Value| json!({"probe": with(json!({"exec": ["true"]}), &more)});
    let http = |more: Value| json!({"probe": {"http": with(json!({"port": 80}), &more)}});
    refused(
        &json!({"image": "x", "probe": {"http": {"port": 80, "path": "/healthz?x=1"}}}),
        &[
            (json!({"probe": {}}), "/probe", "exactly one of"),
            (probe(json!({"http": {"port": 80}})), "/probe", "exactly one of"),
            (probe(json!({"exec": [""]})), "/probe/exec/0", "cannot be empty"),
            (http(json!({"port": 0})), "/probe/http/port", "between 1 and 65535"),
            (http(json!({"path": "x"})), "/probe/http/path", "must begin with"),
            (with(http(json!({})), &json!({"network": "none"})), "/probe/http", "without a network"),
            (probe(json!({"every": "100ms"})), "/probe/every", "at least 1s"),
            (probe(json!({"timeout": 0})), "/probe/timeout", "longer than 0"),
            (probe(json!({"timeout": "6m"})), "/probe/timeout", "at most 5m"),
            (probe(json!({"failures": 0})), "/probe/failures", "between 1 and 100"),
            (probe(json!({"initial_delay": "9999d"})), "/probe/initial_delay", "ten years"),
        ],
    );
    let container = json!({"name": "a"});
    refused(
        &json!({"args": ["true"], "probe": {"http": {"port": 80}}}),
        &[
            (json!({"init_containers": [container]}), "/init_containers", "no groups"),
            (json!({"sidecars": [container]}), "/sidecars", "no groups"),
            (json!({"volumes": [{"name": "v", "empty_dir": {}}]}), "/volumes", "no groups"),
            (json!({"mounts": [{"volume": "v", "path": "/v"}]}), "/mounts", "no groups"),
            (json!({"main_name": "x"}), "/main_name", "no groups"),
            (json!({"probe": {"exec": ["true"]}}), "/probe/exec", "in a container only"),
        ],
    );
}

#[test]
fn paths_of_the_host_are_those_that_the_server_names() {
    let policy = Policy { host_paths: vec!["/srv/data".into(), "/mnt/".into()], ..Policy::default() };
    let table = [
        ("/srv/data", true),
        ("/srv/data/a/b", true),
        ("/mnt/x", true),
        ("/srv/database", false),
        ("/srv", false),
        ("/srv/data/../x", false),
        ("/srv/data//x", false),
        ("/", false),
    ];
    for (path, good) in table {
        let spec = json!({"image": "x", "volumes": [{"name": "h", "host_path": {"path": path}}]});
        assert_eq!(found(spec, &policy).is_empty(), good, "{path}");
    }
}
