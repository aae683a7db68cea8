//! The engine's events, as hints.
//!
//! Responsible for: a stream that begins with "look at everything" and names an attempt whenever something
//! happened to its container. Not responsible for: completeness. The engine drops events of slow readers
//! silently and forgets them all when it restarts (FACTS docker 6); the periodic list is what is relied on.

use std::sync::Arc;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, future};

use super::engine::Engine;
use super::errors::Fault;
use super::labels;
use crate::id::{AttemptKey, InstallationId};
use crate::limits::ENGINE_QUERY_TIMEOUT;
use crate::runtime::{Hint, Result};

/// Events that say nothing about the life of a container.
const IGNORED: [&str; 4] = ["exec_", "attach", "resize", "top"];

/// Subscribes. Ends when the connection does.
pub(super) async fn hints(engine: Arc<Engine>) -> Result<BoxStream<'static, Hint>> {
    // From the engine's own now, by its own clock: so nothing between this answer and the subscription is
    // missed, and an engine that is down is an error here rather than a stream that ends at once.
    let ask = async |client: bollard::Docker| client.info().await;
    let info = engine.connection.call(ENGINE_QUERY_TIMEOUT, ask).await.map_err(Fault::unknown)?;
    let client = engine.connection.long().await.map_err(Fault::unknown)?;
    let installation = engine.options.installation;
    let mut filters = labels::filter(installation);
    filters.insert("type", vec!["container".to_owned()]);
    let mut options = EventsOptionsBuilder::new().filters(&filters);
    if let Some(since) = info.system_time.as_deref().and_then(seconds) {
        options = options.since(&since);
    }
    let subscribed = Arc::clone(&engine);
    let changes = client
        .events(Some(options.build()))
        .take_while(move |event| {
            if let Err(error) = event {
                tracing::debug!(%error, "the engine's events ended");
                subscribed.connection.drop_if_lost(&Fault::Unanswered(String::new()));
            }
            future::ready(event.is_ok())
        })
        .filter_map(move |event| future::ready(event.ok().and_then(|event| hint(&event, installation))));
    Ok(stream::iter([Hint::Everything]).chain(changes).boxed())
}

fn hint(event: &EventMessage, installation: InstallationId) -> Option<Hint> {
    let action = event.action.as_deref().unwrap_or_default();
    if IGNORED.iter().any(|ignored| action.starts_with(ignored)) {
        return None;
    }
    let attributes = event.actor.as_ref()?.attributes.as_ref();
    labels::attempt(attributes, installation).map(|key: AttemptKey| Hint::Attempt(key))
}

/// The engine's time in the form of its own filters, which are in seconds.
fn seconds(time: &str) -> Option<String> {
    let at: crate::clock::Timestamp = time.parse().ok()?;
    Some(at.as_millis().div_euclid(1_000).to_string())
}
