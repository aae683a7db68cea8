//! What a pool does now, in a sentence: also for whoever waits for it. Pure.

use super::state::{Phase, Pool};
use super::view::InstanceView;

/// What the pool does now.
pub(super) fn sentence(pool: &Pool, instances: &[InstanceView]) -> String {
    match &pool.phase {
        Phase::Deleting => return format!("waits for {} to end and is deleted then", count(instances.len())),
        Phase::Quarantined { reason } => {
            return format!("is stopped: its supervisor kept failing ({reason}); declare it again");
        }
        Phase::Active => {}
    }
    let failed = || {
        let failure = pool.last_failure.as_ref()?;
        pool.failing
            .map(|_| format!("the last instance failed ({}: {})", failure.cause.name(), failure.message))
    };
    let up = || instances.iter().filter(|instance| !instance.leaving);
    if let Some(at) = pool.next_start() {
        let failed = failed().unwrap_or_else(|| "the last instance failed".to_owned());
        return format!("{failed}; the next one is started at {at}");
    }
    let connected = up().filter(|instance| instance.connected).count();
    if let Some(starting) = up().find(|instance| !instance.connected) {
        let state = starting.job_state.map_or("about to be submitted", |state| state.name());
        let said = starting.message.as_ref().map_or_else(String::new, |message| format!(", {message}"));
        let before = failed().map_or_else(String::new, |failed| format!("; {failed}"));
        let job = starting.job;
        return format!(
            "is starting an instance (job {job} is {state}{said}) and waits for its worker{before}"
        );
    }
    if connected > 0 {
        let busy: u32 = up().map(|instance| instance.busy).sum();
        return format!("has {} connected, with {busy} at work", count(connected));
    }
    if !instances.is_empty() {
        return format!("waits for {} to stop", count(instances.len()));
    }
    match pool.wanted() {
        0 => "has no instance and nothing to do".to_owned(),
        wanted => format!("is about to start {}", count(wanted as usize)),
    }
}

fn count(instances: usize) -> String {
    if instances == 1 { "1 instance".to_owned() } else { format!("{instances} instances") }
}
