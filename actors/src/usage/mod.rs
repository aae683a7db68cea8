//! What attempts used of the machine: how long their containers ran, their CPU time, their memory over time.
//!
//! ```text
//!   Runtime ── Exit::usage ──▶ Attempt ──▶ Job (its total)
//!                                 └─ one Charge per ended attempt, in the same commit ──▶ u/<hour>/…
//!                                                         Ledger folds charges ──▶ v/<hour>/… ──▶ Report
//! ```
//!
//! Responsible for: the figures and their sums ([`Usage`]), what is charged and to whom ([`charge`]), the books
//! ([`ledger`]) and what is read from them ([`report`]). Not responsible for measuring: that is the runtimes', from the
//! accounts of the kernel, which are the engine's own.
//!
//! Invariants:
//! - an attempt that ran is charged once, when its end is recorded, whatever ended it and however often it is told;
//! - a charge outlives its job: deleting a job changes no bill;
//! - what could not be measured is never guessed: its running time is counted, and told as unmeasured.

pub mod charge;
pub mod ledger;
pub mod readings;
pub mod report;

use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Figures of one attempt, or the sum of many. Sums stop at the largest number instead of wrapping.
///
/// Stored as the list of its four numbers, because every attempt has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "[u64; 4]", into = "[u64; 4]")]
pub struct Usage {
    /// How long its containers ran, together, in milliseconds.
    pub running_ms: u64,
    /// The CPU time that they took, in microseconds.
    pub cpu_us: u64,
    /// The memory that they used, times how long, in KiB times seconds.
    pub memory_kib_s: u64,
    /// The part of `running_ms` of which CPU and memory are not known.
    pub unmeasured_ms: u64,
}

impl Usage {
    /// Of a container that ran for so long, and of which nothing else is known.
    pub fn unmeasured(ran: Duration) -> Self {
        let running_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
        Self { running_ms, unmeasured_ms: running_ms, ..Self::default() }
    }

    /// The figures in the units of the contract.
    pub fn view(&self) -> UsageView {
        #[expect(clippy::cast_precision_loss, reason = "52 bits are more than any bill has digits")]
        let per = |number: u64, unit: f64| number as f64 / unit;
        UsageView {
            container_seconds: per(self.running_ms, 1e3),
            cpu_seconds: per(self.cpu_us, 1e6),
            memory_gib_seconds: per(self.memory_kib_s, 1024.0 * 1024.0),
            unmeasured_seconds: per(self.unmeasured_ms, 1e3),
        }
    }

    /// Whether there is nothing.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.running_ms = self.running_ms.saturating_add(other.running_ms);
        self.cpu_us = self.cpu_us.saturating_add(other.cpu_us);
        self.memory_kib_s = self.memory_kib_s.saturating_add(other.memory_kib_s);
        self.unmeasured_ms = self.unmeasured_ms.saturating_add(other.unmeasured_ms);
    }
}

impl From<[u64; 4]> for Usage {
    fn from([running_ms, cpu_us, memory_kib_s, unmeasured_ms]: [u64; 4]) -> Self {
        Self { running_ms, cpu_us, memory_kib_s, unmeasured_ms }
    }
}

impl From<Usage> for [u64; 4] {
    fn from(usage: Usage) -> Self {
        [usage.running_ms, usage.cpu_us, usage.memory_kib_s, usage.unmeasured_ms]
    }
}

/// What was used, in the units of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct UsageView {
    /// How long its containers or processes ran, together, in seconds.
    pub container_seconds: f64,
    /// The CPU time that they took, in seconds of one core.
    pub cpu_seconds: f64,
    /// The memory that they used, in GiB times seconds.
    pub memory_gib_seconds: f64,
    /// The part of `container_seconds` of which CPU and memory are not known and count as nothing.
    pub unmeasured_seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_stored_as_four_numbers() {
        let usage = Usage { running_ms: 1_500, cpu_us: 2, memory_kib_s: 3, unmeasured_ms: 4 };
        let text = serde_json::to_string(&usage).unwrap();
        assert_eq!(text, "[1500,2,3,4]");
        assert_eq!(serde_json::from_str::<Usage>(&text).unwrap(), usage);
    }

    #[test]
    fn units_are_those_of_a_bill() {
        let usage = Usage { running_ms: 1_500, cpu_us: 250_000, memory_kib_s: 3 << 19, unmeasured_ms: 500 };
        let view = usage.view();
        assert_eq!((view.container_seconds, view.cpu_seconds), (1.5, 0.25));
        assert_eq!((view.memory_gib_seconds, view.unmeasured_seconds), (1.5, 0.5));
    }

    #[test]
    fn a_sum_never_wraps() {
        let mut sum = Usage::unmeasured(Duration::MAX);
        assert_eq!(sum.running_ms, u64::MAX);
        sum += Usage { cpu_us: 7, ..Usage::unmeasured(Duration::from_millis(5)) };
        assert_eq!((sum.running_ms, sum.unmeasured_ms, sum.cpu_us), (u64::MAX, u64::MAX, 7));
    }
}
