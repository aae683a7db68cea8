//! What the facts of an exit mean: a cause, a sentence and a hint. Pure.

use super::cause::Cause;
use super::state::Ending;
use crate::runtime::{Exit, StartFault, Unseen};
use crate::units::Span;

/// The exit code as it is recorded: 128 + n for signal n, as shells and engines have it.
pub(super) fn exit_code(exit: &Exit) -> Option<i32> {
    exit.code.or_else(|| exit.signal.map(|signal| 128 + signal))
}

/// What an exit that nobody asked for means.
pub(super) fn of_exit(exit: &Exit) -> Ending {
    match exit.unseen {
        Some(Unseen::HostRestart) => {
            return Ending::new(
                Cause::HostRestart,
                "the host restarted while the attempt ran, so its exit is not known; see its logs",
            );
        }
        Some(Unseen::EngineRestart) => {
            let message = "the container engine was stopped while the attempt ran, which ended it; with its setting live-restore attempts go on";
            return Ending::new(Cause::HostRestart, message);
        }
        Some(Unseen::WatcherLost) => {
            let message = "the process that watched the attempt was killed, so its exit is not known; see its logs, and the host's for who killed it";
            return Ending::new(Cause::Lost, message);
        }
        None => {}
    }
    if let Some(container) = &exit.container {
        return of_init(container, exit);
    }
    let Some(code) = exit_code(exit) else {
        return Ending::new(Cause::Lost, "the runtime does not know how the attempt ended; see its logs");
    };
    if code == 0 {
        return Ending::new(Cause::Success, "exited with code 0");
    }
    if exit.oom_killed {
        let message = format!("killed for want of memory (exit code {code}); raise resources.memory");
        return Ending::new(Cause::Oom, message);
    }
    let signal = exit.signal.or_else(|| (129..=192).contains(&code).then_some(code - 128));
    match signal {
        Some(9) => Ending::new(
            Cause::Signal,
            "killed by signal 9 (SIGKILL) from outside; often a want of memory: see the host's log, or raise resources.memory",
        ),
        Some(number) => {
            let message = format!("ended by signal {number}{}; see its logs", signal_name(number));
            Ending::new(Cause::Signal, message)
        }
        None => {
            Ending::new(Cause::ExitCode, format!("exited with code {code}{}; see its logs", code_hint(code)))
        }
    }
}

/// The end of an init container, which is never a success: that one is not reported.
fn of_init(container: &str, exit: &Exit) -> Ending {
    let how = match exit_code(exit) {
        Some(code) if exit.oom_killed => {
            format!("was killed for want of memory (exit code {code}); raise its resources.memory")
        }
        Some(code) => format!("exited with code {code}{}; see its logs", code_hint(code)),
        None => "ended in an unknown way; see its logs".to_owned(),
    };
    Ending::new(Cause::InitFailed, format!("the init container `{container}` {how}"))
}

fn code_hint(code: i32) -> &'static str {
    match code {
        126 => " (a command was not executable)",
        127 => " (a command was not found)",
        _ => "",
    }
}

fn signal_name(number: i32) -> &'static str {
    match number {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

/// The exit code of a command that could not be run, as shells and engines have it (POSIX: 126 and 127).
pub(super) const fn start_exit_code(fault: StartFault) -> Option<i32> {
    match fault {
        StartFault::CommandNotFound => Some(127),
        StartFault::CommandNotExecutable => Some(126),
        _ => None,
    }
}

/// What an attempt that cannot start means.
pub(super) fn of_start_fault(fault: StartFault, message: &str) -> Ending {
    let hint = match fault {
        StartFault::ImageNotFound => "check the image's name and tag",
        StartFault::ImageDenied => "give registry_credentials for its registry",
        StartFault::CommandNotFound => "check entrypoint and args",
        StartFault::CommandNotExecutable => "check its mode and architecture",
        StartFault::WorkingDirectory => "check working_dir",
        StartFault::Rejected => "check the spec",
        StartFault::Input => "check the input",
    };
    // A runtime's own message may carry the hint already.
    let sentence = if message.contains(';') { message.to_owned() } else { format!("{message}; {hint}") };
    let cause = if fault == StartFault::Input { Cause::InputFailed } else { Cause::StartError };
    Ending::new(cause, sentence)
}

/// An attempt that is gone without an exit.
pub(super) fn vanished() -> Ending {
    Ending::new(
        Cause::Lost,
        "the attempt was removed by somebody else, so its exit is not known; see who cleans up on its host",
    )
}

/// A time limit that passed.
pub(super) fn timed_out(field: &str, limit: Span) -> Ending {
    Ending::new(
        Cause::Timeout,
        format!("{field} of {limit} passed; raise it, or see the logs for what it was doing"),
    )
}

/// An exit without the callback that was to come.
pub(super) fn without_callback(exit: &Exit) -> Ending {
    let seen = of_exit(exit);
    if seen.cause == Cause::Success {
        let message = "exited with code 0 without a completed or failed callback, which `completion: callback` waits for";
        Ending::new(Cause::CallbackFailed, message)
    } else {
        seen
    }
}

/// A terminal callback.
pub(super) fn of_callback(name: &str, data: &serde_json::Value) -> Ending {
    if name == "completed" {
        return Ending::new(Cause::Success, "completed by callback");
    }
    let said = ["message", "error", "reason"].iter().find_map(|field| data.get(field)?.as_str());
    let said = said.or_else(|| data.as_str()).map(|text| text.chars().take(500).collect::<String>());
    let message = match said {
        Some(text) => format!("failed by callback: {text}"),
        None => "failed by callback; see the job's output and logs".to_owned(),
    };
    Ending::new(Cause::CallbackFailed, message)
}

#[cfg(test)]
mod tests;
