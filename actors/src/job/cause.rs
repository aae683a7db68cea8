//! Why an attempt or a job ended: one closed, machine-readable list.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The machine-readable reason of an end. Details and one sentence for people stand beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It did what it was asked.
    Success,
    /// It exited with another code than 0.
    ExitCode,
    /// A signal that we did not send ended it.
    Signal,
    /// The kernel killed it for want of memory.
    Oom,
    /// One of the spec's time limits passed.
    Timeout,
    /// It could not be started: bad image, bad command, bad credentials.
    StartError,
    /// One of its inputs could not be placed, so it was not started.
    InputFailed,
    /// It did what it was asked, but an output is missing or could not be collected.
    OutputFailed,
    /// An init container did not end well, so that the main container was never started.
    InitFailed,
    /// Its service never became ready, or stopped answering; or its probe failed too often.
    Unhealthy,
    /// The user cancelled it.
    Canceled,
    /// It had to make room.
    Preempted,
    /// There was no place for it, and it would rather not wait.
    Skipped,
    /// Its failed callback said so.
    CallbackFailed,
    /// It vanished: removed by somebody else, or its watcher was killed.
    Lost,
    /// The engine could not be used for longer than the infrastructure budget.
    RuntimeUnavailable,
    /// The host restarted under it.
    HostRestart,
    /// Its actor kept panicking.
    Quarantined,
}

impl Cause {
    /// Whether the fault is the infrastructure's: such an end is retried on a budget of elapsed time and
    /// never counts against the user's attempts.
    pub const fn is_infrastructure(self) -> bool {
        matches!(self, Self::Lost | Self::RuntimeUnavailable | Self::HostRestart | Self::Preempted)
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ExitCode => "exit_code",
            Self::Signal => "signal",
            Self::Oom => "oom",
            Self::Timeout => "timeout",
            Self::StartError => "start_error",
            Self::InputFailed => "input_failed",
            Self::OutputFailed => "output_failed",
            Self::InitFailed => "init_failed",
            Self::Unhealthy => "unhealthy",
            Self::Canceled => "canceled",
            Self::Preempted => "preempted",
            Self::Skipped => "skipped",
            Self::CallbackFailed => "callback_failed",
            Self::Lost => "lost",
            Self::RuntimeUnavailable => "runtime_unavailable",
            Self::HostRestart => "host_restart",
            Self::Quarantined => "quarantined",
        }
    }
}
