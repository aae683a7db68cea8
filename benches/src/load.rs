//! A closed loop of clients: each sends its next request when it has the answer to the last one.
//!
//! Invariants: one thread drives all connections; a load ends by itself; an answer of another status than the
//! expected one makes the measurement void, except a refusal for overload, which is counted.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::Instant;

use crate::client::{Client, Line};
use crate::error::Result;
use crate::http::{Answer, unexpected};

/// The status of a refusal for overload.
const REFUSED: u16 = 429;

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until<'a> {
    /// After so many requests.
    Requests(u64),
    /// When this is set, and after so many requests in any case.
    Told(&'a Cell<bool>, u64),
}

impl Until<'_> {
    fn is_over(self, sent: u64) -> bool {
        match self {
            Self::Requests(most) => sent >= most,
            Self::Told(over, most) => over.get() || sent >= most,
        }
    }
}

/// What is sent.
pub(crate) struct Load<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) connections: usize,
    pub(crate) until: Until<'a>,
    /// The status of an answer that counts.
    pub(crate) expected: u16,
    /// Writes the request of this number.
    pub(crate) request: &'a dyn Fn(u64, &mut Vec<u8>),
    /// Is shown each answer that counts, with the number of its request.
    pub(crate) answer: &'a dyn Fn(u64, &[u8]),
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) done: u64,
    pub(crate) refused: u64,
    pub(crate) took: Duration,
    /// In microseconds, ascending.
    latencies: Vec<u32>,
}

impl Tally {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// The latency in milliseconds that this part (0 to 1) of the requests did not exceed.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        quantile(&self.latencies, part) / 1e3
    }
}

/// The value that this part of the ascending `values` does not exceed; 0 of none.
pub(crate) fn quantile(values: &[u32], part: f64) -> f64 {
    let rank = (values.len() as f64 * part).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied().map_or(0.0, f64::from)
}

struct Progress {
    sent: Cell<u64>,
    refused: Cell<u64>,
    latencies: RefCell<Vec<u32>>,
}

/// Runs a load to its end.
pub(crate) async fn run(load: &Load<'_>) -> Result<Tally> {
    let opened = load.client.open(load.address, load.connections).await?;
    let progress =
        Progress { sent: Cell::new(0), refused: Cell::new(0), latencies: RefCell::new(Vec::new()) };
    let started = Instant::now();
    try_join_all(opened.into_iter().map(|line| client(load, &progress, line))).await?;
    let took = started.elapsed();
    let mut latencies = progress.latencies.into_inner();
    latencies.sort_unstable();
    Ok(Tally { done: latencies.len() as u64, refused: progress.refused.get(), took, latencies })
}

async fn client(load: &Load<'_>, progress: &Progress, mut line: Line) -> Result<()> {
    let mut request = Vec::with_capacity(1024);
    loop {
        let number = progress.sent.get();
        if load.until.is_over(number) {
            return Ok(());
        }
        progress.sent.set(number + 1);
        request.clear();
        (load.request)(number, &mut request);
        let sent = Instant::now();
        let answer: Answer<'_> = line.exchange(&request).await?;
        if answer.status == load.expected {
            let micros = u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX);
            progress.latencies.borrow_mut().push(micros);
            (load.answer)(number, answer.body);
        } else if answer.status == REFUSED {
            progress.refused.set(progress.refused.get() + 1);
        } else {
            return Err(unexpected(load.expected, &answer));
        }
    }
}

/// For a load whose answers nobody needs.
pub(crate) fn ignore(_: u64, _: &[u8]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<u32> = (1..=100).collect();
        assert_eq!(
            (quantile(&values, 0.5), quantile(&values, 0.99), quantile(&values, 1.0)),
            (50.0, 99.0, 100.0)
        );
        assert_eq!((quantile(&[7], 0.0), quantile(&[7], 0.5), quantile(&[], 0.5)), (7.0, 7.0, 0.0));
        assert_eq!(quantile(&[1, 2, 3], 0.5), 2.0);
    }
}
