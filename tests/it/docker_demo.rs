//! The demonstration on a real engine.

use std::process::Command;

use crate::cli_binary::{program, text};
use crate::cli_run::data_dir;
use crate::examples::{check_batches, run_with};

#[test]
fn the_demonstration_holds_in_a_container_and_leaves_nothing() {
    let dir = data_dir();
    let shown = program(dir.path()).arg("demo").env("TMPDIR", dir.path()).output().unwrap();
    assert_eq!(shown.status.code(), Some(0), "{}{}", text(&shown.stdout), text(&shown.stderr));
    let said = text(&shown.stdout);
    assert!(said.contains("a container (docker") && said.contains("All as promised"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the demonstration left files");
    for what in ["ps --all --format {{.Image}}", "images --format {{.Repository}}"] {
        let listed = Command::new("docker").args(what.split(' ')).output().unwrap();
        assert!(!text(&listed.stdout).contains("dogwatch-demo"), "left: {}", text(&listed.stdout));
    }
}

#[test]
fn the_reference_scenario_runs_in_containers_and_leaves_none() {
    check_batches(&run_with("container_batch", &["--docker"]));
    let mut listing = Command::new("docker");
    listing.args(["ps", "--all", "--format", "{{.Label \"dev.dogwatch.job\"}} {{.Command}}"]);
    let listed = text(&listing.output().unwrap().stdout).to_owned();
    assert!(!listed.contains("extracting for"), "left: {listed}");
}
