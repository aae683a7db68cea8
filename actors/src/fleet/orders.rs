//! What the fleet wants of a driver: a standing order that is replaced, never a queue of them.

use tokio::sync::watch;
use tokio::time::Instant;

use crate::job::spec::StopSignal;

/// The order to end an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StopOrder {
    /// The signal that asks it to.
    pub(super) signal: StopSignal,
    /// When it is killed.
    pub(super) by: Instant,
}

/// What is wanted of a driver now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Orders {
    /// The attempt may be started: that this was asked for is durable.
    pub(super) may_start: bool,
    /// It has the slot that it needs for that.
    pub(super) slot: bool,
    /// The attempt shall end.
    pub(super) stop: Option<StopOrder>,
    /// Changes when it shall look at once.
    pub(super) looks: u64,
    /// Changes when it shall say again what it knows.
    pub(super) tells: u64,
}

impl Orders {
    /// Adds a stop. A repeated one can bring the kill forward, never put it off: the first one's grace is
    /// what the attempt was told.
    pub(super) fn stop(&mut self, order: StopOrder) {
        match &mut self.stop {
            Some(standing) if standing.by <= order.by => {}
            stop => *stop = Some(order),
        }
    }
}

/// Waits until the orders satisfy `wanted`; for ever when they no longer can.
pub(super) async fn until(orders: &mut watch::Receiver<Orders>, wanted: impl FnMut(&Orders) -> bool) {
    if orders.wait_for(wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until the orders change; for ever when they no longer can.
pub(super) async fn changed(orders: &mut watch::Receiver<Orders>) {
    if orders.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_repeated_stop_never_puts_off_the_kill() {
        let now = Instant::now();
        let order =
            |seconds| StopOrder { signal: StopSignal::Sigterm, by: now + Duration::from_secs(seconds) };
        let mut orders = Orders::default();
        for (seconds, stands) in [(10, 10), (20, 10), (5, 5), (10, 5)] {
            orders.stop(order(seconds));
            assert_eq!(orders.stop, Some(order(stands)));
        }
    }
}
