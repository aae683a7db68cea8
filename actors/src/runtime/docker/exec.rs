//! Commands in a running container.
//!
//! Responsible for: the exit code and the beginning of the output. Not responsible for: what either means. An engine
//! cannot end a command that takes too long: it is left to itself, and goes with its container.

use std::time::Duration;

use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::engine::{Engine, One};
use super::errors::{Answer, Fault};
use crate::limits::{ENGINE_QUERY_TIMEOUT, PROBE_OUTPUT_BYTES_MAX};
use crate::runtime::{Error, Executed, Observation, Result};

/// Runs a command, for at most `limit`.
pub(super) async fn exec(
    engine: &Engine,
    one: &One,
    command: &[String],
    limit: Duration,
) -> Result<Executed> {
    let Some(found) = engine.find_one(one).await? else {
        return Err(Error::Transient { message: format!("{one} is not there") });
    };
    if !matches!(found.observation, Observation::Running(_)) {
        return Err(Error::Transient { message: format!("{one} does not run") });
    }
    let id = found.inspect.id.unwrap_or_else(|| engine.name_of(one));
    match timeout(limit, run(engine, &id, command)).await {
        Ok(answer) => answer.map_err(|fault| fault.not_done("run a command in the container")),
        Err(_) => Err(Error::Transient {
            message: format!("the command took longer than {} ms", limit.as_millis()),
        }),
    }
}

async fn run(engine: &Engine, container: &str, command: &[String]) -> Answer<Executed> {
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.to_vec()),
        ..ExecConfig::default()
    };
    let ask = async |client: bollard::Docker| client.create_exec(container, config).await;
    let exec = engine.connection.call(ENGINE_QUERY_TIMEOUT, ask).await?.id;
    // A client of its own: a long command must not hold up short questions.
    let client = engine.connection.long().await?;
    let mut output = Vec::new();
    if let StartExecResults::Attached { output: mut parts, .. } = client.start_exec(&exec, None).await? {
        while let Some(part) = parts.next().await {
            let part = part?.into_bytes();
            let room = PROBE_OUTPUT_BYTES_MAX.saturating_sub(output.len());
            output.extend_from_slice(&part[..part.len().min(room)]);
        }
    }
    let ask = async |client: bollard::Docker| client.inspect_exec(&exec).await;
    let seen = engine.connection.call(ENGINE_QUERY_TIMEOUT, ask).await?;
    let code =
        seen.exit_code.ok_or_else(|| Fault::Unanswered("it does not know how the command ended".into()))?;
    Ok(Executed { code, output: String::from_utf8_lossy(&output).trim().to_owned() })
}
