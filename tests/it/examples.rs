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
    let program = built(name);
    // A run of the tests alone builds no examples.
    if !program.exists() {
        let cargo = option_env!("CARGO").unwrap_or("cargo");
        let build = Command::new(cargo).args(["build", "--quiet", "--example", name]).status().unwrap();
        assert!(build.success(), "{name} does not build");
    }
    let done = Command::new(&program).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap();
    let (said, log) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{name}: {}\n{said}\n{log}", done.status);
    said.into_owned()
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
fn each_example_is_run_here_and_is_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 120, "{} has {lines} lines", path.display());
        names.insert(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    let known = ["callback_job", "custom_runtime", "embed_in_actix_app", "service_job"];
    assert_eq!(names, known.map(str::to_owned).into());
}
