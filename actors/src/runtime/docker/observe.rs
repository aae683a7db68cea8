//! What an inspected container says of its attempt.
//!
//! Responsible for: the mapping, which is pure. Not responsible for: what an end means.
//!
//! Invariants: three values and no fourth — what cannot be told is [`Undetermined`], never an exit; an exit
//! needs the status `exited` (or the remains of a removal) *and* a start; `created` with any exit code is a
//! failed start, not an exit (FACTS docker 3, 4).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum as Status};

use super::boot::Boot;
use super::labels;
use crate::clock::Timestamp;
use crate::runtime::{Exit, Observation, Running, Unseen};

/// The answer says nothing certain; the text says what was odd about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the engine's answer about the container is not conclusive: {0}")]
pub(super) struct Undetermined(String);

/// Exit codes that an engine writes when it does not know: 255, and 0 by Engine 24.0.0 to 24.0.2.
const INVENTED_CODES: [i64; 2] = [0, 255];

/// Reads an answer of the engine.
pub(super) fn observation(
    inspect: &ContainerInspectResponse,
    boot: &Boot,
) -> Result<Observation, Undetermined> {
    let state = inspect.state.as_ref().ok_or_else(|| Undetermined("it has no state".into()))?;
    let status = state.status.ok_or_else(|| Undetermined("it has no status".into()))?;
    let started_at = moment(state.started_at.as_deref());
    match (status, started_at) {
        (Status::CREATED | Status::REMOVING | Status::DEAD, None) => Ok(Observation::Created),
        (Status::RUNNING | Status::PAUSED | Status::STOPPING, Some(started_at)) => {
            Ok(Observation::Running(Running {
                runtime_id: runtime_id(inspect)?,
                started_at,
                address: address(inspect),
            }))
        }
        (Status::EXITED | Status::DEAD | Status::REMOVING, Some(started_at)) => {
            exit(inspect, state, started_at, boot).map(Observation::Exited)
        }
        // `restarting` belongs to a restart policy that none of ours has.
        (status, _) => Err(Undetermined(format!(
            "status `{status}`, started at {}",
            state.started_at.as_deref().unwrap_or("an unknown time")
        ))),
    }
}

fn exit(
    inspect: &ContainerInspectResponse,
    state: &ContainerState,
    started_at: Timestamp,
    boot: &Boot,
) -> Result<Exit, Undetermined> {
    let code = state.exit_code.ok_or_else(|| Undetermined("it exited without a code".into()))?;
    let finished_at = moment(state.finished_at.as_deref());
    let unseen = unseen(inspect, code, finished_at, boot);
    let known = i32::try_from(code).map_err(|_| Undetermined(format!("exit code {code}")))?;
    Ok(Exit {
        runtime_id: runtime_id(inspect)?,
        code: unseen.is_none().then_some(known),
        signal: None,
        // The flag is also true when only a child was killed; the job weighs it with the code.
        oom_killed: state.oom_killed.unwrap_or(false),
        container: None,
        unseen,
        started_at: Some(started_at),
        // The engine notes a start after the end of what was over in milliseconds: it reads one clock when it
        // is told of the start and another when the process ends.
        finished_at: finished_at.map(|finished_at| finished_at.max(started_at)),
        usage: None,
    })
}

/// Whether the exit may be the engine's invention, made when it came back after a restart of the host.
fn unseen(
    inspect: &ContainerInspectResponse,
    code: i64,
    finished_at: Option<Timestamp>,
    boot: &Boot,
) -> Option<Unseen> {
    let labels = inspect.config.as_ref().and_then(|config| config.labels.as_ref());
    let created_in = labels.and_then(|labels| labels.get(labels::BOOT))?;
    if boot.id.as_ref()? == created_in || !INVENTED_CODES.contains(&code) {
        return None;
    }
    // An invented 0 is dated when the engine came back; one that is older than this boot was seen by the
    // engine before it. A 255 is never worth believing across a restart.
    let before_this_boot = match (finished_at, boot.began_at) {
        (Some(finished_at), Some(began_at)) => finished_at < began_at,
        _ => false,
    };
    (code != 0 || !before_this_boot).then_some(Unseen::HostRestart)
}

fn runtime_id(inspect: &ContainerInspectResponse) -> Result<String, Undetermined> {
    inspect.id.clone().ok_or_else(|| Undetermined("it has no id".into()))
}

/// A time of the engine; its year 1 means never.
fn moment(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok().filter(|at: &Timestamp| at.as_millis() > 0)
}

/// Where the one port that we published can be reached: the published address, else the container's own.
pub(super) fn address(inspect: &ContainerInspectResponse) -> Option<SocketAddr> {
    let wanted = inspect.host_config.as_ref()?.port_bindings.as_ref()?;
    let (name, _) = wanted.iter().next()?;
    let network = inspect.network_settings.as_ref()?;
    let published = network.ports.as_ref().and_then(|ports| ports.get(name)).and_then(Option::as_ref);
    let published = published.into_iter().flatten().find_map(|binding| {
        let port: u16 = binding.host_port.as_deref()?.parse().ok().filter(|port| *port > 0)?;
        let ip = binding.host_ip.as_deref().and_then(|ip| ip.parse().ok());
        Some(SocketAddr::new(ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port))
    });
    published.or_else(|| address_of(inspect, name.split('/').next()?.parse().ok()?))
}

/// Where any port of a container can be reached from its host: on its own address.
pub(super) fn address_of(inspect: &ContainerInspectResponse, port: u16) -> Option<SocketAddr> {
    let network = inspect.network_settings.as_ref()?;
    let ips = network.networks.as_ref()?.values().filter_map(|endpoint| endpoint.ip_address.as_deref());
    let ip: IpAddr = ips.filter_map(|ip| ip.parse().ok()).next()?;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const NEVER: &str = "0001-01-01T00:00:00Z";
    const START: &str = "2026-11-21T03:00:00.123456789Z";
    const END: &str = "2026-11-21T03:00:01Z";

    fn inspect(state: Value) -> ContainerInspectResponse {
        let text = json!({"Id": "c1", "State": state, "Config": {"Labels": {labels::BOOT: "boot-1"}}});
        serde_json::from_value(text).unwrap()
    }

    fn boot(id: &str, began_at: &str) -> Boot {
        Boot { id: Some(id.into()), began_at: Some(began_at.parse().unwrap()) }
    }

    fn same_boot() -> Boot {
        boot("boot-1", "2026-11-01T00:00:00Z")
    }

    #[test]
    fn nothing_but_an_exit_after_a_start_is_an_exit() {
        let is = |state: Value| observation(&inspect(state), &same_boot());
        let created = json!({"Status": "created", "StartedAt": NEVER, "FinishedAt": NEVER, "ExitCode": 0});
        assert_eq!(is(created), Ok(Observation::Created));
        let failed_start =
            json!({"Status": "created", "StartedAt": NEVER, "FinishedAt": END, "ExitCode": 127});
        assert_eq!(is(failed_start), Ok(Observation::Created));
        for status in ["running", "paused", "stopping"] {
            let seen = is(json!({"Status": status, "StartedAt": START, "FinishedAt": NEVER, "ExitCode": 0}));
            assert!(matches!(seen, Ok(Observation::Running(_))), "{status}: {seen:?}");
        }
        for status in ["exited", "dead", "removing"] {
            let seen = is(json!({"Status": status, "StartedAt": START, "FinishedAt": END, "ExitCode": 5}));
            let Ok(Observation::Exited(exit)) = seen else { panic!("{status}: {seen:?}") };
            assert_eq!((exit.code, exit.unseen), (Some(5), None));
        }
        for odd in [
            json!({"Status": "exited", "StartedAt": NEVER, "ExitCode": 0}),
            json!({"Status": "exited", "StartedAt": START}),
            json!({"Status": "running", "StartedAt": NEVER, "ExitCode": 0}),
            json!({"Status": "created", "StartedAt": START, "ExitCode": 0}),
            json!({"Status": "restarting", "StartedAt": START, "ExitCode": 1}),
            json!({"Status": "", "StartedAt": START, "ExitCode": 0}),
            json!({"StartedAt": START, "ExitCode": 0}),
        ] {
            assert!(is(odd.clone()).is_err(), "{odd}");
        }
    }

    #[test]
    fn an_exit_across_a_restart_of_the_host_is_believed_only_when_it_can_be_true() {
        let exited = |code: i64, finished: &str| {
            inspect(json!({"Status": "exited", "StartedAt": START, "FinishedAt": finished, "ExitCode": code}))
        };
        let later_boot = boot("boot-2", "2026-11-21T03:00:10Z");
        let after = "2026-11-21T03:00:20Z";
        let table = [
            (0, after, &later_boot, true),
            (255, after, &later_boot, true),
            (255, END, &later_boot, true),
            (0, NEVER, &later_boot, true),
            // It ended before the host went down, and the engine saw it.
            (0, END, &later_boot, false),
            (3, after, &later_boot, false),
            (0, END, &same_boot(), false),
            (255, END, &same_boot(), false),
            // Of a remote engine's host nothing is known.
            (255, after, &Boot::default(), false),
        ];
        for (code, finished, boot, invented) in table {
            let Ok(Observation::Exited(exit)) = observation(&exited(code, finished), boot) else { panic!() };
            assert_eq!(exit.unseen.is_some(), invented, "{code} at {finished}");
            assert_eq!(exit.code.is_none(), invented, "{code} at {finished}");
        }
    }

    #[test]
    fn no_attempt_ends_before_it_starts() {
        let finished = "2026-11-21T02:59:59.990Z";
        let state = json!({"Status": "exited", "StartedAt": START, "FinishedAt": finished, "ExitCode": 0});
        let Ok(Observation::Exited(exit)) = observation(&inspect(state), &same_boot()) else { panic!() };
        assert_eq!(exit.finished_at, exit.started_at);
    }

    #[test]
    fn the_oom_flag_is_passed_on_even_beside_exit_code_0() {
        let state = json!({"Status": "exited", "StartedAt": START, "FinishedAt": END, "ExitCode": 0, "OOMKilled": true});
        let Ok(Observation::Exited(exit)) = observation(&inspect(state), &same_boot()) else { panic!() };
        assert_eq!((exit.code, exit.oom_killed), (Some(0), true));
    }

    #[test]
    fn the_address_is_the_published_port_else_the_containers_own() {
        let with = |ports: Value| {
            let text = json!({"Id": "c1",
                "State": {"Status": "running", "StartedAt": START},
                "HostConfig": {"PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}]}},
                "NetworkSettings": {"Ports": ports, "Networks": {"bridge": {"IPAddress": "172.17.0.9"}}}});
            let seen = observation(&serde_json::from_value(text).unwrap(), &same_boot());
            let Ok(Observation::Running(running)) = seen else { panic!("{seen:?}") };
            running.address.map(|address| address.to_string())
        };
        let published = json!({"9/tcp": null, "8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]});
        assert_eq!(with(published).as_deref(), Some("127.0.0.1:32768"));
        assert_eq!(with(json!({})).as_deref(), Some("172.17.0.9:8080"));
    }
}
