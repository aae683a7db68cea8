//! A runtime of one's own: attempts that are tasks of this process, for a test bench or a service that is
//! linked in. A real one starts something that outlives us; the rules are in [`Runtime`], and the conformance
//! suite (feature `testing`) checks them.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::clock::{Clock, SystemClock};
use dogwatch_actors::job::spec::StopSignal;
use dogwatch_actors::prelude::*;
use dogwatch_actors::runtime::{
    self, Exit, Health, Hint, LogLine, Observation, Plan, Running, Runtime, async_trait,
};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde_json::json;
use tokio::sync::watch;

type Attempts = HashMap<AttemptKey, (Vec<String>, Observation)>;

/// Runs `sleep <milliseconds> <exit code>`, and nothing else.
#[derive(Debug)]
struct Sleepers {
    attempts: watch::Sender<Attempts>,
}

impl Sleepers {
    fn set(&self, key: AttemptKey, observation: Observation) {
        self.attempts.send_modify(|all| all.entry(key).or_default_with(observation));
    }

    fn over(&self, key: AttemptKey, code: i32) {
        let (runtime_id, finished_at) = (key.to_string(), Some(SystemClock.now()));
        let exit = Exit { code: Some(code), finished_at, ..Exit::new(runtime_id) };
        self.set(key, Observation::Exited(exit));
    }
}
