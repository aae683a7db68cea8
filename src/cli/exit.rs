//! The exit codes, in one place.

use std::process::ExitCode;

use dogwatch_actors::job::cause::Cause;
use dogwatch_actors::job::view::{JobState, JobView};

/// An exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// All is well.
    pub const OK: Self = Self(0);
    /// Something was looked at and is not well (`doctor`, `demo`).
    pub const NOT_WELL: Self = Self(1);
    /// The command line, the configuration or the spec is wrong.
    pub const USAGE: Self = Self(2);
    /// There is no such job.
    pub const NOT_FOUND: Self = Self(3);
    /// The key or the job's state does not allow it.
    pub const NOT_ALLOWED: Self = Self(4);
    /// A part that everything needs panicked too often (`EX_SOFTWARE`). Start again, and report it.
    pub const GAVE_UP: Self = Self(70);
    /// The store failed: a write or a sync that the disk refused (`EX_IOERR`). Start again, it is checked then.
    pub const STORE_FAILED: Self = Self(74);
    /// A time limit passed: the job's, or that of `wait --timeout`.
    pub const TIMEOUT: Self = Self(124);
    /// Dogwatch's own fault: no server, no store, no engine.
    pub const OWN_FAULT: Self = Self(125);
    /// Interrupted; the job goes on.
    pub const INTERRUPTED: Self = Self(130);

    /// The code for what clap refused, or showed.
    pub fn from_clap(error: &clap::Error) -> Self {
        if error.use_stderr() { Self::USAGE } else { Self::OK }
    }

    /// The code for a refusal of the server with this HTTP status.
    pub const fn from_status(status: u16) -> Self {
        match status {
            404 | 410 => Self::NOT_FOUND,
            401 | 403 | 409 => Self::NOT_ALLOWED,
            400 | 405 | 413 | 415 | 422 => Self::USAGE,
            _ => Self::OWN_FAULT,
        }
    }

    /// The code of a job that is over.
    pub fn from_job(job: &JobView) -> Self {
        if job.state == JobState::Succeeded {
            return Self::OK;
        }
        // Codes are bytes to every shell; one that would read as success is none.
        let last = job.attempts.last().and_then(|attempt| attempt.exit_code);
        let own = last.and_then(|code| u8::try_from(code & 0xff).ok()).filter(|code| *code != 0).map(Self);
        match job.cause {
            Some(Cause::Timeout) => Self::TIMEOUT,
            Some(
                Cause::Lost
                | Cause::RuntimeUnavailable
                | Cause::HostRestart
                | Cause::Preempted
                | Cause::Quarantined,
            ) => Self::OWN_FAULT,
            Some(Cause::StartError) => own.unwrap_or(Self::OWN_FAULT),
            _ => own.unwrap_or(Self::NOT_WELL),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
