//! The rules of a job: every pair of phase and event, then each rule by itself, then random lives with crashes.

mod callbacks;
mod commands;
mod crash;
mod limits;
mod outputs;
mod place;
mod probes;
mod sample;
mod table;
mod usage;
