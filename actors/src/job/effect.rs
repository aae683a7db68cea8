//! What a job asks of the world: imperative, keyed by the attempt, idempotent.

use std::net::SocketAddr;
use std::time::Duration;

use super::spec::StopSignal;
use crate::clock::Timestamp;

/// How far an attempt has come, as far as is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Come {
    /// It is intended, and was never let start.
    Intended,
    /// It was let start; whether it ran is not known.
    LetStart,
    /// It was seen running, or over.
    Seen,
}

/// A request to the world. Performing it twice is the same as once.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the fleet for room for this attempt.
    RequestSlot {
        /// Which attempt.
        attempt: u32,
        /// Since when it waits: the fleet serves in this order.
        since: Timestamp,
    },
    /// Tell the fleet that the job holds its place, although no attempt of it runs or waits.
    HoldPlace,
    /// Tell the fleet that the job lives no more under its concurrency key.
    LeavePlace,
    /// Tell the fleet that the attempt will not be driven.
    Withdraw {
        /// Which attempt.
        attempt: u32,
    },
    /// See to it that the attempt is created, started once and watched.
    Drive {
        /// Which attempt.
        attempt: u32,
        /// How far it has come: whether its absence means that it is to be created, or that it has vanished.
        come: Come,
    },
    /// Let the attempt be started: that this was asked for is durable.
    Start {
        /// Which attempt.
        attempt: u32,
    },
    /// Stop the attempt: signal, grace, kill.
    Stop {
        /// Which attempt.
        attempt: u32,
        /// The signal.
        signal: StopSignal,
        /// The time between signal and kill.
        grace: Duration,
    },
    /// The attempt's end is recorded: forget and remove it.
    Discard {
        /// Which attempt.
        attempt: u32,
    },
    /// Remove what was collected of an attempt whose record the job no longer keeps.
    DropArtifacts {
        /// Which attempt.
        attempt: u32,
    },
    /// Make the call that starts the service's work.
    StartService {
        /// Which attempt.
        attempt: u32,
        /// Where its port is.
        address: SocketAddr,
    },
    /// Poll the service for progress.
    PollService {
        /// Which attempt.
        attempt: u32,
        /// Where its port is.
        address: SocketAddr,
    },
}
