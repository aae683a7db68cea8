//! What the jobs of a simulated world do, and so how they may end.

use std::time::Duration;

use dogwatch_actors::runtime::fake::{Behaviour, Ending};
use dogwatch_actors::runtime::{Plan, StartFault};
use serde_json::{Value, json};

use super::random::Random;

/// What the attempts of one job do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Script {
    /// Attempt n exits with the nth code (the last one counts for all further) after so many milliseconds.
    Exits(Vec<i32>, u64),
    /// Reports progress so often, then says how it ended, and exits with 0 once it was heard.
    Calls(u32, &'static str),
    /// Runs until it is stopped.
    Sleeps,
    /// Runs until it is killed.
    Ignores,
    /// Cannot be started.
    Broken,
}

impl Script {
    pub(super) fn pick(random: &Random) -> Self {
        match random.below(10) {
            0..=4 => {
                let codes = (0..1 + random.below(3)).map(|_| random.pick(&[0, 0, 1, 2])).collect();
                Self::Exits(codes, random.pick(&[0, 50, 3_000, 40_000]))
            }
            5..=7 => Self::Calls(random.below(4) as u32, random.pick(&["completed", "completed", "failed"])),
            8 => random.pick(&[Self::Sleeps, Self::Ignores]),
            _ => random.pick(&[Self::Sleeps, Self::Broken]),
        }
    }

    /// Whether a job that does this ends by itself.
    pub(super) fn ends(&self) -> bool {
        !matches!(self, Self::Sleeps | Self::Ignores)
    }

    /// The spec of a job that does this, with whatever else the seed wants.
    pub(super) fn spec(&self, random: &Random, now_millis: i64) -> Value {
        let mut spec = json!({
            "runtime": "sim",
            "args": self.args(),
            "max_attempts": 1 + random.below(4),
            // A clock that is a year ahead would purge them.
            "ttl_after_finished": "3650d",
            "restart_policy": random.pick(&["OnFailure", "OnFailure", "Never"]),
            "backoff": {"initial": "1s", "factor": 2.0, "max": "1m", "jitter": 0.25, "reset_after": "10m"},
            "stop_grace": random.pick(&["0s", "2s", "30s"]),
            "completion": match self { Self::Calls(..) => random.pick(&["either", "callback"]), _ => "either" },
        });
        if random.chance(3_000) {
            let due = jiff::Timestamp::from_millisecond(now_millis + random.below(60_000) as i64 - 10_000);
            spec["start_at"] = json!(due.expect("a time of our age").to_string());
        }
        if random.chance(2_000) {
            spec["timeout"] = json!(random.pick(&["5s", "30s", "5m"]));
        }
        if random.chance(2_000) {
            // No longer than the other limit, or it could never pass.
            spec["attempt_timeout"] = json!(random.pick(&["1s", "5s"]));
        }
        if random.chance(5_000) {
            spec["on_complete"] = json!([{"url": "https://hooks.example.com/sim"}]);
        }
        if random.chance(1_000) {
            spec["suspended"] = json!(true);
        }
        spec
    }

    fn args(&self) -> Vec<String> {
        match self {
            Self::Exits(codes, lifetime) => {
                let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
                vec!["exits".to_owned(), codes.join(","), lifetime.to_string()]
            }
            Self::Calls(progress, end) => vec!["calls".to_owned(), progress.to_string(), (*end).to_owned()],
            Self::Sleeps => vec!["sleeps".to_owned()],
            Self::Ignores => vec!["ignores".to_owned()],
            Self::Broken => vec!["broken".to_owned()],
        }
    }

    /// The script of the job whose attempt is planned here.
    pub(super) fn of(plan: &Plan) -> Self {
        let args: Vec<&str> = plan.args.iter().map(String::as_str).collect();
        match args.as_slice() {
            ["exits", codes, lifetime] => {
                let codes = codes.split(',').map(|code| code.parse().expect("a code")).collect();
                Self::Exits(codes, lifetime.parse().expect("milliseconds"))
            }
            ["calls", progress, end] => {
                let end = ["completed", "failed"].into_iter().find(|known| known == end).expect("an end");
                Self::Calls(progress.parse().expect("a number"), end)
            }
            ["sleeps"] => Self::Sleeps,
            ["ignores"] => Self::Ignores,
            ["broken"] => Self::Broken,
            other => panic!("no script: {other:?}"),
        }
    }

    /// What the planned attempt does.
    pub(super) fn behaviour(plan: &Plan) -> Behaviour {
        match Self::of(plan) {
            Self::Exits(codes, lifetime) => {
                let index = (plan.key.number as usize - 1).min(codes.len() - 1);
                Behaviour::exits(codes[index], Duration::from_millis(lifetime))
            }
            Self::Calls(..) | Self::Sleeps => {
                let mut behaviour = Behaviour::runs();
                behaviour.on_signal = Some((Duration::from_millis(200), Ending::Signal(15)));
                behaviour
            }
            Self::Ignores => Behaviour::runs().ignoring_signals(),
            Self::Broken => Behaviour::cannot_start(StartFault::CommandNotFound),
        }
    }
}
