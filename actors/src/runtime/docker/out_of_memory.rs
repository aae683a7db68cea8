//! Whether memory ran out, asked once more where the flag of the container may be missing.
//!
//! The engine learns of an exit and of a want of memory apart, and writes the flag only when it learned of
//! the latter first (FACTS docker 5). Its events have both. Not responsible for: what it means. A missing
//! event proves nothing, since events are lossy; then the flag stays as it is.

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::engine::Engine;
use crate::clock::Timestamp;
use crate::limits::{ENGINE_QUERY_TIMEOUT, OOM_EVENT_DELAY};
use crate::runtime::Exit;

/// 128 + SIGKILL: what the kernel sends when memory runs out, and what anybody else may send too.
const KILLED: i32 = 137;

/// Sets the flag when an event says so.
pub(super) async fn complete(engine: &Engine, exit: &mut Exit) {
    let (Some(KILLED), false, Some(finished_at)) = (exit.code, exit.oom_killed, exit.finished_at) else {
        return;
    };
    let began_at = exit.started_at.unwrap_or(finished_at);
    let told = timeout(ENGINE_QUERY_TIMEOUT, was_told(engine, &exit.runtime_id, began_at, finished_at)).await;
    exit.oom_killed = told.unwrap_or(false);
}

async fn was_told(engine: &Engine, id: &str, began_at: Timestamp, finished_at: Timestamp) -> bool {
    let Ok(client) = engine.connection.long().await else { return false };
    let filters = [("container", vec![id.to_owned()]), ("event", vec!["oom".to_owned()])].into();
    let options = EventsOptionsBuilder::new()
        .since(&seconds(began_at))
        .until(&seconds(finished_at.after(OOM_EVENT_DELAY)))
        .filters(&filters);
    let mut events = std::pin::pin!(client.events(Some(options.build())));
    matches!(events.next().await, Some(Ok(_)))
}

/// The form of the engine's filters: seconds with a fraction.
fn seconds(at: Timestamp) -> String {
    format!("{}.{:03}000000", at.as_millis().div_euclid(1_000), at.as_millis().rem_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_reads_nine_digits_of_a_second() {
        assert_eq!(seconds(Timestamp::from_millis(1_795_229_674_023)), "1795229674.023000000");
    }
}
