//! Golden requests of the two profiles, and the promise that no plan whatever can get more than they allow.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::id::{AttemptKey, InstallationId, JobId};
use crate::job::spec::{Resources, Spec, StopSignal};
use crate::secret::Secret;
use crate::units::Size;

fn plan() -> Plan {
    Plan {
        key: AttemptKey::new(JobId::from_bytes([1; 16]), 2),
        installation: InstallationId::from_bytes([7; 16]),
        image: Some("busybox".into()),
        entrypoint: Vec::new(),
        args: vec!["true".into()],
        env: BTreeMap::from([("K".to_owned(), Secret::new("v"))]),
        working_dir: None,
        labels: BTreeMap::from([("team".to_owned(), "data".to_owned())]),
        resources: Resources::default(),
        network: Network::Default,
        security_profile: SecurityProfile::Baseline,
        user: None,
        read_only_root: false,
        registry_credentials: Vec::new(),
        stop_signal: StopSignal::Sigterm,
        service_port: None,
        log_path: "/nowhere".into(),
        files: Default::default(),
        group: crate::runtime::Group::default(),
    }
}

fn body(plan: &Plan) -> Result<Value, Error> {
    let boot = Boot { id: Some("boot".into()), began_at: None };
    let image = Reference::parse(plan.image.as_deref().unwrap_or("busybox"))?;
    let body = create_body(plan, &image, &Defaults::default(), &boot)?;
    Ok(serde_json::to_value(body).expect("a request is JSON"))
}

fn baseline() -> Value {
    json!({
        "Image": "busybox:latest",
        "Cmd": ["true"],
        "Env": ["K=v"],
        "Labels": {
            "team": "data",
            "dev.dogwatch.installation": "07070707070707070707070707070707",
            "dev.dogwatch.job": "01010101-0101-0101-0101-010101010101",
            "dev.dogwatch.attempt": "2",
            "dev.dogwatch.boot": "boot",
        },
        "StopSignal": "SIGTERM",
        "Tty": false,
        "OpenStdin": false,
        "HostConfig": {
            "Init": true,
            "RestartPolicy": {"Name": "no"},
            "AutoRemove": false,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "8388608", "max-file": "2"}},
            "Memory": 1_073_741_824,
            "MemorySwap": 1_073_741_824,
            "NanoCpus": 1_000_000_000,
            "PidsLimit": 512,
            "Privileged": false,
            "CapDrop": ["NET_RAW"],
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": false,
            "IpcMode": "private",
            "CgroupnsMode": "private",
            "NetworkMode": "default",
            "PublishAllPorts": false,
        },
    })
}

/// The request without what the client library adds as explicit nothing.
fn shown(mut value: Value) -> Value {
    fn prune(value: &mut Value) {
        if let Value::Object(fields) = value {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| !value.is_null());
        }
    }
    prune(&mut value);
    value
}

#[test]
fn the_baseline_request() {
    assert_eq!(shown(body(&plan()).unwrap()), baseline());
}

#[test]
fn the_restricted_request() {
    let mut expected = baseline();
    expected["User"] = json!("65532:65532");
    expected["HostConfig"]["CapDrop"] = json!(["ALL"]);
    expected["HostConfig"]["ReadonlyRootfs"] = json!(true);
    expected["HostConfig"]["Tmpfs"] = json!({"/tmp": "rw,noexec,nosuid,nodev,mode=1777,size=67108864"});
    let plan = Plan { security_profile: SecurityProfile::Restricted, ..plan() };
    assert_eq!(shown(body(&plan).unwrap()), expected);
}

#[test]
fn a_service_port_is_published_on_loopback_only() {
    let service = Plan { service_port: Some(8080), ..plan() };
    let request = body(&service).unwrap();
    assert_eq!(request["ExposedPorts"], json!({"8080/tcp": {}}));
    let binding = json!({"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}]});
    assert_eq!(request["HostConfig"]["PortBindings"], binding);
    let alone = Plan { network: Network::None, ..service };
    let request = body(&alone).unwrap();
    assert_eq!(request["HostConfig"]["NetworkMode"], "none");
    assert!(request["HostConfig"]["PortBindings"].is_null());
}

#[test]
fn no_limit_of_the_engine_is_written_as_0() {
    let resources = Resources { cpu: Some(0.0), memory: Some(Size::from_bytes(0)), pids: Some(0) };
    assert_eq!(shown(body(&Plan { resources, ..plan() }).unwrap()), baseline());
}

#[test]
fn a_restricted_user_is_a_number_and_not_root() {
    let user = |user: &str| {
        let plan = Plan { security_profile: SecurityProfile::Restricted, user: Some(user.into()), ..plan() };
        body(&plan).ok().map(|request| request["User"].as_str().map(str::to_owned))
    };
    assert_eq!(user(""), Some(Some("65532:65532".into())));
    assert_eq!(user("1000"), Some(Some("1000".into())));
    assert_eq!(user("01000:+50"), Some(Some("1000:50".into())));
    for bad in
        ["root", "0", "00", "+0", "-0", "0:1000", "nobody", "1000:", "1000:wheel", "4294967296", "4294967295"]
    {
        assert_eq!(user(bad), None, "{bad}");
    }
}

/// Everything that may ever be in the host's side of a request. A field that is added to the request and not
/// here fails the test, and whoever adds it here has to look at what follows.
const ALLOWED: [&str; 19] = [
    "Init",
    "RestartPolicy",
    "AutoRemove",
    "LogConfig",
    "Memory",
    "MemorySwap",
    "NanoCpus",
    "PidsLimit",
    "Privileged",
    "CapDrop",
    "SecurityOpt",
    "ReadonlyRootfs",
    "Tmpfs",
    "IpcMode",
    "CgroupnsMode",
    "NetworkMode",
    "ExtraHosts",
    "PortBindings",
    "PublishAllPorts",
];

fn assert_locked_down(plan: &Plan, request: &Value) {
    let host = request["HostConfig"].as_object().expect("there is always one");
    for (name, value) in host.iter().filter(|(_, value)| !value.is_null()) {
        assert!(ALLOWED.contains(&name.as_str()), "{name}: {value}");
    }
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges:true"]));
    assert_eq!(host["IpcMode"], "private");
    assert!(["default", "none"].contains(&host["NetworkMode"].as_str().unwrap()));
    for limit in ["Memory", "NanoCpus", "PidsLimit"] {
        assert!(host[limit].as_i64().unwrap() > 0, "{limit}");
    }
    assert_eq!(host["MemorySwap"], host["Memory"]);
    assert_eq!(host["RestartPolicy"]["Name"], "no");
    assert!(request["Volumes"].is_null());
    let labels = request["Labels"].as_object().unwrap();
    assert_eq!(labels["dev.dogwatch.job"], plan.key.job.to_string());
    assert_eq!(labels.keys().filter(|name| name.starts_with("dev.dogwatch.")).count(), 4);
    if plan.security_profile == SecurityProfile::Restricted {
        assert_eq!(host["CapDrop"], json!(["ALL"]));
        assert_eq!(host["ReadonlyRootfs"], true);
        let user = request["User"].as_str().unwrap();
        let uid: u32 = user.split(':').next().unwrap().parse().expect("a number");
        assert!(uid > 0);
    } else {
        assert_eq!(host["CapDrop"], json!(["NET_RAW"]));
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("--privileged".to_owned()),
        Just("host".to_owned()),
        Just("0".to_owned()),
        Just("root:root".to_owned()),
        Just("/:/host".to_owned()),
        Just("dev.dogwatch.job".to_owned()),
        "[0-9]{1,10}(:[0-9]{1,10})?",
        ".{0,12}",
    ]
}

fn words() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(word(), word(), 0..4)
}

prop_compose! {
    fn any_resources()(
        cpu in prop::option::of(any::<f64>()),
        memory in prop::option::of(any::<u64>()),
        pids in prop::option::of(any::<u32>()),
    ) -> Resources {
        Resources { cpu, memory: memory.map(Size::from_bytes), pids }
    }
}

prop_compose! {
    fn any_plan()(
        (entrypoint, args) in (prop::collection::vec(word(), 0..4), prop::collection::vec(word(), 0..4)),
        (env, labels) in (words(), words()),
        (working_dir, user) in (prop::option::of(word()), prop::option::of(word())),
        resources in any_resources(),
        (none, restricted, read_only_root) in any::<(bool, bool, bool)>(),
        service_port in any::<Option<u16>>(),
    ) -> Plan {
        let network = if none { Network::None } else { Network::Default };
        let security_profile =
            if restricted { SecurityProfile::Restricted } else { SecurityProfile::Baseline };
        let env = env.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        Plan {
            entrypoint, args, env, labels, working_dir, user, resources, network, security_profile,
            read_only_root, service_port, ..plan()
        }
    }
}

proptest! {
    #[test]
    fn no_plan_gets_more_than_its_profile(plan in any_plan()) {
        if let Ok(request) = body(&plan) {
            assert_locked_down(&plan, &request);
        }
    }

    /// The same from a user's side: whatever fields a spec names, those of an engine are unknown ones.
    #[test]
    fn no_spec_has_a_field_of_the_engine(
        name in prop::sample::select(vec![
            "privileged", "binds", "mounts", "volumes", "devices", "cap_add", "capabilities", "host_config",
            "HostConfig", "security_opt", "pid_mode", "ipc_mode", "userns_mode", "volumes_from", "sysctls",
            "extra_hosts", "runtime_options", "network_mode", "tmpfs", "group_add",
        ]),
        value in word(),
    ) {
        let spec = json!({"image": "busybox", name: value});
        prop_assert!(serde_json::from_value::<Spec>(spec).is_err());
    }
}
