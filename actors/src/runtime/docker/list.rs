//! Every attempt of this installation that the engine knows.
//!
//! Invariant: one sick container hides no other. What the list itself says of it is enough when it runs; else it
//! is left out with a warning. What is not listed is not thereby absent: whoever misses it observes it.

use std::collections::HashSet;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::ListContainersOptionsBuilder;
use futures_util::{StreamExt as _, stream};

use super::engine::{Engine, One};
use super::errors::Fault;
use super::{group, labels};
use crate::clock::Timestamp;
use crate::id::AttemptKey;
use crate::limits::{ENGINE_INSPECTS_MAX, ENGINE_LIST_TIMEOUT};
use crate::runtime::{Observation, Result, Running};

/// The attempts, with what is known of each.
pub(super) async fn list(engine: &Engine) -> Result<Vec<(AttemptKey, Observation)>> {
    let installation = engine.options.installation;
    let options =
        ListContainersOptionsBuilder::new().all(true).filters(&labels::filter(installation)).build();
    let ask = async |client: bollard::Docker| client.list_containers(Some(options)).await;
    let summaries = engine.connection.call(ENGINE_LIST_TIMEOUT, ask).await.map_err(Fault::unknown)?;
    let (mut mains, mut parts) = (Vec::new(), HashSet::new());
    for summary in summaries {
        let Some(key) = labels::attempt(summary.labels.as_ref(), installation) else { continue };
        let part = summary.labels.as_ref().and_then(|labels| labels.get(labels::PART)).cloned();
        let one = One { key, part };
        // Labels can be copied; the name is the claim.
        let name = format!("/{}", engine.name_of(&one));
        if !summary.names.as_ref().is_some_and(|names| names.contains(&name)) {
            continue;
        }
        if one.part.is_some() {
            parts.insert(key);
        } else {
            mains.push((key, summary));
        }
    }
    parts.extend(group::volume_keys(engine).await?);
    for (key, _) in &mains {
        parts.remove(key);
    }
    // What has no main container is found by whoever is told to clear it away.
    engine.leftovers.lock().extend(&parts);
    let looks: Vec<_> = mains.into_iter().map(|(key, summary)| look(engine, key, summary)).collect();
    let seen: Vec<Option<_>> = stream::iter(looks).buffer_unordered(ENGINE_INSPECTS_MAX).collect().await;
    let left = parts.into_iter().map(|key| (key, Observation::Incomplete));
    Ok(seen.into_iter().flatten().chain(left).collect())
}

async fn look(
    engine: &Engine,
    key: AttemptKey,
    summary: ContainerSummary,
) -> Option<(AttemptKey, Observation)> {
    let error = match engine.observe(key).await {
        // Removed since it was listed.
        Ok(Observation::Absent) => return None,
        Ok(observation) => return Some((key, observation)),
        Err(error) => error,
    };
    tracing::warn!(attempt = %key, %error, "a container cannot be looked at");
    match (summary.state, summary.id, summary.created) {
        (Some(ContainerSummaryStateEnum::RUNNING), Some(runtime_id), Some(created)) => {
            // The time of its creation stands in for that of its start, moments later.
            let started_at = Timestamp::from_millis(created.saturating_mul(1_000));
            Some((key, Observation::Running(Running { runtime_id, started_at, address: None })))
        }
        _ => None,
    }
}
