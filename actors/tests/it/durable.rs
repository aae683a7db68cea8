//! The durable shell with a small machine: order, faults, panics, rest, timers, messages, crashes.

pub(crate) mod bench;
mod counter;
mod crashes;
mod messages;
mod order;
mod panics;
mod rest;
mod threads;
mod timers;
