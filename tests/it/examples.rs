//! Every example is run, and says what its own text promises.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo puts the examples: beside the directory of this test's own program.
fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join("examples").join(name)
}

fn run(name: &str) -> String {
    run_with(name, &[])
}

/// Runs an example with these arguments.
pub(crate) fn run_with(name: &str, arguments: &[&str]) -> String {
    let program = program(name);
    let done =
        Command::new(&program).args(arguments).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
    let (said, log) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{name}: {}\n{said}\n{log}", done.status);
    said.into_owned()
}

/// The program of an example.
pub(crate) fn program(name: &str) -> PathBuf {
    let program = built(name);
    // A run of the tests alone builds no examples.
    if !program.exists() {
        let cargo = option_env!("CARGO").unwrap_or("cargo");
        let build = Command::new(cargo).args(["build", "--quiet", "--example", name]).status().unwrap();
        assert!(build.success(), "{name} does not build");
    }
    program
}

#[test]
fn embed_in_actix_app() {
    let said = run("embed_in_actix_app");
    assert!(said.contains("report for ada"), "{said}");
    assert!(said.contains("the API under /dogwatch knows it: true"), "{said}");
}

#[test]
fn callback_job() {
    let said = run("callback_job");
    assert_eq!(said.matches("\"event\":\"progress\"").count(), 3, "{said}");
    assert!(said.ends_with("succeeded in attempt 1: {\"rows\":3}\n"), "{said}");
}

#[test]
fn service_job() {
    let said = run("service_job");
    assert!(said.contains("service_started    running   {\"accepted\":3}"), "{said}");
    assert!(said.ends_with("succeeded: {\"pages\":3}\n"), "{said}");
}

#[test]
fn custom_runtime() {
    let said = run("custom_runtime");
    assert_eq!(said, "succeeded: exited with code 0\nfailed: exited with code 3; see its logs\n");
}

#[test]
fn order_workflow() {
    let said = run("order_workflow");
    assert!(said.contains("completed (\"paid\"): \"payment-small\""), "{said}");
    assert!(said.contains("  released large/2\n  failed (\"given back\"): order_failed"), "{said}");
    assert!(said.contains("failed (null): invalid_order"), "{said}");
    assert_eq!(said.matches("  charged ").count(), 1, "{said}");
}

#[test]
fn migration_fan_out() {
    let said = run("migration_fan_out");
    assert!(said.contains("killed when 3000 of 10000 batches were done"), "{said}");
    assert!(said.contains("not all again: true"), "{said}");
    assert!(said.ends_with("{\"batches\":10000,\"refused\":[4711],\"rows\":999900}\n"), "{said}");
}

#[test]
fn monitor() {
    let said = run("monitor");
    assert!(
        said.contains("quick: \"succeeded\"; in the database the last is succeeded, of several: true"),
        "{said}"
    );
    assert!(
        said.contains("slow: \"expired\"; in the database the last is expired, of several: true"),
        "{said}"
    );
}

#[test]
fn approval() {
    let said = run("approval");
    for line in ["train: \"approved by ada\"", "piano: \"refused by ada\"", "lunch: \"approved by grace\""] {
        assert!(said.contains(line), "{said}");
    }
    assert!(
        said.contains("asked the director about lunch") && !said.contains("director about train"),
        "{said}"
    );
}

#[test]
fn container_batch() {
    check_batches(&run("container_batch"));
}

/// What `container_batch` says, wherever it ran.
pub(crate) fn check_batches(said: &str) {
    for customer in ["customer1", "customer2"] {
        assert!(said.contains(&format!("{customer}: completed: {{\"rows\":42}}")), "{said}");
        assert!(said.contains(&format!("the job of {customer}: cancelled")), "{said}");
    }
    assert!(
        said.contains("bankrupt: failed: died: the container ended without a word, with code Some(3)"),
        "{said}"
    );
}

#[test]
fn daily_report() {
    let said = run("daily_report");
    assert!(said.starts_with("report of day 1\nreport of day 2\nreport of day 3\n"), "{said}");
    assert!(said.contains("stopped after day 3: the example is over"), "{said}");
    assert!(said.ends_with("execution 3 with a short history: true\n"), "{said}");
}

#[test]
fn each_example_is_run_here_and_is_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Those in other languages are run with their SDKs, in `durable_task`.
        if path.is_dir() {
            for file in std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().path()) {
                let is_code = file.extension().is_some_and(|kind| kind == "py" || kind == "mjs");
                let lines = std::fs::read_to_string(&file).unwrap_or_default().lines().count();
                assert!(!is_code || lines <= 120, "{} has {lines} lines", file.display());
            }
            continue;
        }
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 120, "{} has {lines} lines", path.display());
        names.insert(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    let known = [
        // In `pools.rs`: it is started by a pool.
        "activity_worker",
        "approval",
        "callback_job",
        "container_batch",
        "custom_runtime",
        "daily_report",
        "embed_in_actix_app",
        "migration_fan_out",
        "monitor",
        "order_workflow",
        // In `queues/data.rs`: pools start it. There is one in shell beside it.
        "queue_worker",
        "service_job",
    ];
    assert_eq!(names, known.map(str::to_owned).into());
}
