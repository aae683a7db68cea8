//! The command line as it is read, and the exit codes that follow.

use clap::{CommandFactory as _, Parser as _};
use dogwatch::cli::exit::Exit;
use dogwatch::cli::{Cli, Command};
use dogwatch_actors::job::cause::Cause;
use dogwatch_actors::job::view::JobState;

use crate::cli_fake::{attempt, job};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("dogwatch").chain(line.split_whitespace()))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn everything_behind_two_dashes_is_the_jobs() {
    for (line, image, args, detach, json) in [
        ("run -- ls -l --json", None, vec!["ls", "-l", "--json"], false, false),
        ("run busybox -- ls -d", Some("busybox"), vec!["ls", "-d"], false, false),
        ("run busybox", Some("busybox"), vec![], false, false),
        ("run -d --json busybox -- x", Some("busybox"), vec!["x"], true, true),
        ("--json run --name n -e A=b busybox", Some("busybox"), vec![], false, true),
    ] {
        let cli = parse(line).unwrap();
        let Command::Run(run) = cli.command else { panic!("{line}") };
        assert_eq!((run.image.as_deref(), run.detach, cli.global.json), (image, detach, json), "{line}");
        assert_eq!(run.args, args, "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error_and_help_is_none() {
    for (line, exit) in [
        ("", Exit::USAGE),
        ("rnu", Exit::USAGE),
        ("run busybox ls", Exit::USAGE),
        ("run --timeout soon busybox", Exit::USAGE),
        ("run --max-attempts many busybox", Exit::USAGE),
        ("run --restart sometimes busybox", Exit::USAGE),
        ("cancel", Exit::USAGE),
        ("wait x --timeout", Exit::USAGE),
        ("completions tcsh", Exit::USAGE),
        ("--help", Exit::OK),
        ("run --help", Exit::OK),
        ("--version", Exit::OK),
    ] {
        assert_eq!(Exit::from_clap(&parse(line).unwrap_err()), exit, "{line}");
    }
}

#[test]
fn every_verb_is_there() {
    for line in [
        "serve --listen 127.0.0.1:0 --callback-listen 127.0.0.1:0 --runtime process --data-dir /d",
        "submit job.toml",
        "submit --image busybox -- true",
        "ps --state running --label team=data -n 5",
        "show j",
        "logs -f j --attempt 2 --stream stderr -n 10",
        "events -f",
        "events j --after 3",
        "wait j --timeout 1m30s",
        "cancel a b",
        "retry a",
        "suspend a",
        "resume a",
        "restart a",
        "raise a approved {\"by\":1}",
        "purge a",
        "rm a",
        "doctor --json",
        "config",
        "completions bash",
        "demo",
        "queue declare orders --lease 1m --max-deliveries 3 --retention 7d --dedup-window 1h --keep-results 1d",
        "queue send orders one {\"n\":2} --delay 5s --priority 3 --header team=data",
        "queue send orders --file messages.txt",
        "queue receive orders --max 5 --lease 1m --wait 20s",
        "queue ack orders 1 1.x --result 3",
        "queue nack orders 1 1.x --delay 5s --error why",
        "queue ls",
        "queue show orders",
        "queue rm orders --force",
        "queue dead ls orders",
        "queue dead requeue orders",
        "queue dead requeue orders 7",
        "queue dead purge orders",
        "pool put shouting pool.json",
        "pool ls",
        "pool show shouting",
        "pool rm shouting",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn the_flags_of_serve_are_settings() {
    let cli = parse("serve --listen 127.0.0.1:9 --allow-remote").unwrap();
    let Command::Serve(serve) = cli.command else { panic!() };
    let flags: Vec<_> = serve.flags().into_iter().map(|flag| (flag.key, flag.value)).collect();
    let expected = [("server.listen", "127.0.0.1:9".to_owned()), ("server.allow_remote", "true".to_owned())];
    assert_eq!(flags, expected);
}

#[test]
fn the_exit_code_is_the_jobs_own_or_says_whose_fault_it_is() {
    for (state, cause, code, exit) in [
        (JobState::Succeeded, Some(Cause::Success), Some(0), 0),
        // Completed by its callback and stopped then.
        (JobState::Succeeded, Some(Cause::Success), Some(143), 0),
        (JobState::Failed, Some(Cause::ExitCode), Some(3), 3),
        (JobState::Failed, Some(Cause::ExitCode), Some(255), 255),
        (JobState::Failed, Some(Cause::Signal), Some(137), 137),
        (JobState::Failed, Some(Cause::Oom), Some(137), 137),
        (JobState::Failed, Some(Cause::ExitCode), Some(256), 1),
        (JobState::Failed, Some(Cause::Timeout), Some(137), 124),
        (JobState::Failed, Some(Cause::CallbackFailed), Some(0), 1),
        (JobState::Failed, Some(Cause::StartError), None, 125),
        (JobState::Failed, Some(Cause::StartError), Some(127), 127),
        (JobState::Failed, Some(Cause::RuntimeUnavailable), None, 125),
        (JobState::Failed, Some(Cause::HostRestart), Some(255), 125),
        (JobState::Failed, Some(Cause::Quarantined), None, 125),
        (JobState::Cancelled, Some(Cause::Canceled), Some(143), 143),
        (JobState::Cancelled, Some(Cause::Canceled), None, 1),
    ] {
        let mut over = job(state);
        over.cause = cause;
        over.attempts = vec![attempt(1, code)];
        assert_eq!(Exit::from_job(&over), Exit(exit), "{state:?} {cause:?} {code:?}");
    }
}

#[test]
fn a_refusal_has_the_exit_code_of_its_kind() {
    for (status, exit) in [
        (400, Exit::USAGE),
        (401, Exit::NOT_ALLOWED),
        (403, Exit::NOT_ALLOWED),
        (404, Exit::NOT_FOUND),
        (409, Exit::NOT_ALLOWED),
        (413, Exit::USAGE),
        (422, Exit::USAGE),
        (429, Exit::OWN_FAULT),
        (500, Exit::OWN_FAULT),
        (503, Exit::OWN_FAULT),
    ] {
        assert_eq!(Exit::from_status(status), exit, "{status}");
    }
}
