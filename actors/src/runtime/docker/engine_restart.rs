//! Whether it was the engine that ended an attempt, by being stopped itself.
//!
//! An engine without live-restore stops every container when it stops, or when it comes back after it was
//! killed; to the container that is a stop by anybody. But an engine makes its default network anew whenever it
//! starts with no container running, so that network tells when the engine began: an attempt that was over
//! before that ended with the engine before, or while there was none. Not responsible for: an end with a code of
//! the attempt's own, which counts as it is. An engine without a default network is not known to have
//! restarted; the end then is a signal like any.

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::InspectNetworkOptions;

use super::bridge::DEFAULT_NETWORK;
use super::engine::Engine;
use crate::clock::Timestamp;
use crate::limits::ENGINE_QUERY_TIMEOUT;
use crate::runtime::{Exit, Unseen};

/// What a shell and an engine add to the number of the signal that ended a process.
const SIGNALLED: i32 = 128;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// Marks an exit that the engine brought about by stopping.
pub(super) async fn complete(engine: &Engine, inspect: &ContainerInspectResponse, exit: &mut Exit) {
    if !may_be_a_stop(inspect, exit) {
        return;
    }
    let ask = async |client: bollard::Docker| {
        client.inspect_network(DEFAULT_NETWORK, None::<InspectNetworkOptions>).await
    };
    // No answer is no evidence.
    let Ok(network) = engine.connection.call(ENGINE_QUERY_TIMEOUT, ask).await else { return };
    let began_at: Option<Timestamp> = network.created.and_then(|created| created.parse().ok());
    if ended_before(exit, began_at) {
        exit.unseen = Some(Unseen::EngineRestart);
    }
}

/// Whether the code is one of an engine's stop: its kill, or the signal that asks the container to stop.
fn may_be_a_stop(inspect: &ContainerInspectResponse, exit: &Exit) -> bool {
    let told = inspect.config.as_ref().and_then(|config| config.stop_signal.as_deref());
    let asked = told.and_then(number).unwrap_or(SIGTERM);
    let stopped = exit.code.is_some_and(|code| code == SIGNALLED + SIGKILL || code == SIGNALLED + asked);
    stopped && exit.unseen.is_none() && !exit.oom_killed
}

/// The number of a signal that we give to an engine by its name.
fn number(name: &str) -> Option<i32> {
    use crate::job::spec::StopSignal::{Sighup, Sigint, Sigkill, Sigquit, Sigterm, Sigusr1, Sigusr2};
    let ours = [Sigterm, Sigint, Sigquit, Sighup, Sigusr1, Sigusr2, Sigkill];
    ours.into_iter().find(|signal| signal.name() == name).map(|signal| signal.number())
}

fn ended_before(exit: &Exit, began_at: Option<Timestamp>) -> bool {
    matches!((exit.finished_at, began_at), (Some(finished_at), Some(began_at)) if finished_at < began_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn exit(code: i32) -> Exit {
        Exit {
            runtime_id: "c".to_owned(),
            code: Some(code),
            signal: None,
            oom_killed: false,
            container: None,
            unseen: None,
            started_at: None,
            finished_at: Some(Timestamp::from_millis(1_000)),
            usage: None,
        }
    }

    #[test]
    fn only_the_codes_of_a_stop_can_be_the_engines_doing() {
        let with = |signal: serde_json::Value, exit: &Exit| {
            let inspect = serde_json::from_value(json!({"Config": {"StopSignal": signal}})).unwrap();
            may_be_a_stop(&inspect, exit)
        };
        let (none, usr1) = (json!(null), json!("SIGUSR1"));
        for (signal, code, expected) in [
            (&none, 143, true),
            (&none, 137, true),
            (&none, 138, false),
            (&usr1, 138, true),
            (&usr1, 137, true),
            (&usr1, 143, false),
            (&none, 0, false),
            (&none, 5, false),
        ] {
            assert_eq!(with(signal.clone(), &exit(code)), expected, "{signal} {code}");
        }
        assert!(!with(none.clone(), &Exit { oom_killed: true, ..exit(137) }));
        assert!(!with(none, &Exit { unseen: Some(Unseen::HostRestart), ..exit(143) }));
    }

    #[test]
    fn an_end_is_the_engines_when_it_was_before_the_engine_began() {
        let at = |millis| Some(Timestamp::from_millis(millis));
        assert!(ended_before(&exit(143), at(1_001)));
        assert!(!ended_before(&exit(143), at(1_000)));
        assert!(!ended_before(&exit(143), at(1)));
        assert!(!ended_before(&exit(143), None));
        assert!(!ended_before(&Exit { finished_at: None, ..exit(143) }, at(1_001)));
    }
}
