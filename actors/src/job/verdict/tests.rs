//! Tables of what ends mean.

use serde_json::json;

use super::*;
use crate::job::cause::Cause;

fn exit() -> Exit {
    Exit {
        runtime_id: "fake".into(),
        code: None,
        signal: None,
        oom_killed: false,
        container: None,
        unseen: None,
        started_at: None,
        finished_at: None,
        usage: None,
    }
}

fn code(code: i32) -> Exit {
    Exit { code: Some(code), ..exit() }
}

fn signal(signal: i32) -> Exit {
    Exit { signal: Some(signal), ..exit() }
}

fn oom(of: Exit) -> Exit {
    Exit { oom_killed: true, ..of }
}

fn unseen(why: Unseen, of: Exit) -> Exit {
    Exit { unseen: Some(why), ..of }
}

#[test]
fn an_exit_has_one_cause_and_one_code() {
    let table = [
        (code(0), Cause::Success, Some(0), "exited with code 0"),
        (code(1), Cause::ExitCode, Some(1), "see its logs"),
        (code(126), Cause::ExitCode, Some(126), "not executable"),
        (code(127), Cause::ExitCode, Some(127), "not found"),
        (code(128), Cause::ExitCode, Some(128), "code 128"),
        (code(129), Cause::Signal, Some(129), "signal 1 (SIGHUP)"),
        (code(137), Cause::Signal, Some(137), "raise resources.memory"),
        (code(143), Cause::Signal, Some(143), "signal 15 (SIGTERM)"),
        (code(192), Cause::Signal, Some(192), "signal 64"),
        (code(193), Cause::ExitCode, Some(193), "code 193"),
        (code(255), Cause::ExitCode, Some(255), "code 255"),
        (signal(9), Cause::Signal, Some(137), "SIGKILL"),
        (signal(11), Cause::Signal, Some(139), "SIGSEGV"),
        // A child was killed and the attempt made do without it (FACTS: the flag AND a failure).
        (oom(code(0)), Cause::Success, Some(0), "exited with code 0"),
        (oom(code(1)), Cause::Oom, Some(1), "raise resources.memory"),
        (oom(code(137)), Cause::Oom, Some(137), "raise resources.memory"),
        (oom(signal(9)), Cause::Oom, Some(137), "raise resources.memory"),
        (exit(), Cause::Lost, None, "does not know"),
        // An engine invents 0 or 255 for what a reboot ended: it is no exit.
        (unseen(Unseen::HostRestart, code(0)), Cause::HostRestart, Some(0), "host restarted"),
        (unseen(Unseen::HostRestart, code(255)), Cause::HostRestart, Some(255), "host restarted"),
        (unseen(Unseen::EngineRestart, code(143)), Cause::HostRestart, Some(143), "live-restore"),
        (unseen(Unseen::WatcherLost, exit()), Cause::Lost, None, "watched"),
    ];
    for (exit, cause, code, says) in table {
        let ending = of_exit(&exit);
        assert_eq!((ending.cause, exit_code(&exit)), (cause, code), "{exit:?}");
        assert!(ending.message.contains(says), "{exit:?}: {}", ending.message);
    }
}

#[test]
fn what_cannot_start_says_what_to_do() {
    let faults = [
        (StartFault::ImageNotFound, "tag"),
        (StartFault::ImageDenied, "registry_credentials"),
        (StartFault::CommandNotFound, "entrypoint"),
        (StartFault::CommandNotExecutable, "mode"),
        (StartFault::WorkingDirectory, "working_dir"),
        (StartFault::Rejected, "spec"),
        (StartFault::Input, "input"),
    ];
    for (fault, hint) in faults {
        let ending = of_start_fault(fault, "no luck");
        let cause = if fault == StartFault::Input { Cause::InputFailed } else { Cause::StartError };
        assert_eq!(ending.cause, cause);
        assert!(
            ending.message.starts_with("no luck; ") && ending.message.contains(hint),
            "{}",
            ending.message
        );
    }
    let own = of_start_fault(StartFault::Rejected, "no luck; try again tomorrow");
    assert_eq!(own.message, "no luck; try again tomorrow", "a runtime's own hint is enough");
}

#[test]
fn an_exit_without_the_callback_it_owes_is_a_failure() {
    assert_eq!(without_callback(&code(0)).cause, Cause::CallbackFailed);
    assert_eq!(without_callback(&code(3)).cause, Cause::ExitCode);
    assert_eq!(without_callback(&oom(code(137))).cause, Cause::Oom);
    assert_eq!(without_callback(&signal(15)).cause, Cause::Signal);
}

#[test]
fn a_callback_says_how_it_ended() {
    assert_eq!(of_callback("completed", &json!(null)), Ending::new(Cause::Success, "completed by callback"));
    let told = [
        (json!({"message": "no rows"}), "failed by callback: no rows"),
        (json!({"error": "no rows"}), "failed by callback: no rows"),
        (json!({"reason": "no rows"}), "failed by callback: no rows"),
        (json!("no rows"), "failed by callback: no rows"),
        (json!({"message": 7}), "failed by callback; see the job's output and logs"),
        (json!(null), "failed by callback; see the job's output and logs"),
    ];
    for (data, message) in told {
        assert_eq!(of_callback("failed", &data), Ending::new(Cause::CallbackFailed, message));
    }
    let long = of_callback("failed", &json!("é".repeat(5_000)));
    assert!(long.message.chars().count() < 600, "a sentence, not a book");
}

#[test]
fn a_passed_time_limit_names_itself() {
    let ending = timed_out("attempt_timeout", Span::from_secs(90));
    assert_eq!(ending.cause, Cause::Timeout);
    assert!(ending.message.starts_with("attempt_timeout of 1m30s passed"), "{}", ending.message);
}

#[test]
fn no_sentence_promises_another_attempt() {
    let endings = [
        of_exit(&unseen(Unseen::HostRestart, exit())),
        of_exit(&unseen(Unseen::EngineRestart, code(137))),
        of_exit(&unseen(Unseen::WatcherLost, exit())),
        of_exit(&exit()),
        vanished(),
    ];
    for ending in endings {
        assert!(ending.cause.is_infrastructure());
        assert!(
            !ending.message.contains("again"),
            "it may be the last sentence of the job: {}",
            ending.message
        );
    }
}
