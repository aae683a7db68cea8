//! What a scripted attempt does.

use std::net::SocketAddr;
use std::time::Duration;

use crate::runtime::{LogStream, StartFault};

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Killed for want of memory.
    Oom,
}

/// What is in a file that an attempt leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// This text.
    Text(String),
    /// What is in the input of this path.
    Input(String),
}

/// What an attempt does.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Why it cannot start.
    pub fault: Option<StartFault>,
    /// How long creating it takes, as a pull does.
    pub create_takes: Duration,
    /// How and how long after its start it ends by itself; `None`: never.
    pub end: Option<(Duration, Ending)>,
    /// How and how long after the stop signal it ends; `None`: it ignores it.
    pub on_signal: Option<(Duration, Ending)>,
    /// What it prints, all at its start.
    pub output: Vec<(LogStream, String)>,
    /// The files that it leaves: each a path, and what it has.
    pub leaves: Vec<(String, Left)>,
    /// Where its service is; default: its port on loopback.
    pub address: Option<SocketAddr>,
}

impl Behaviour {
    /// Runs until it is stopped, and then goes at once.
    pub fn runs() -> Self {
        Self {
            fault: None,
            create_takes: Duration::ZERO,
            end: None,
            on_signal: Some((Duration::ZERO, Ending::Signal(15))),
            output: Vec::new(),
            leaves: Vec::new(),
            address: None,
        }
    }

    /// Exits with `code` after `lifetime`.
    pub fn exits(code: i32, lifetime: Duration) -> Self {
        Self { end: Some((lifetime, Ending::Code(code))), ..Self::runs() }
    }

    /// Cannot start.
    pub fn cannot_start(fault: StartFault) -> Self {
        Self { fault: Some(fault), ..Self::runs() }
    }

    /// Ignores the stop signal.
    #[must_use]
    pub fn ignoring_signals(mut self) -> Self {
        self.on_signal = None;
        self
    }

    /// Leaves a file.
    #[must_use]
    pub fn leaving(mut self, path: impl Into<String>, left: Left) -> Self {
        self.leaves.push((path.into(), left));
        self
    }

    /// Prints a line.
    #[must_use]
    pub fn printing(mut self, stream: LogStream, text: impl Into<String>) -> Self {
        self.output.push((stream, text.into()));
        self
    }
}
