//! The chores themselves: every test, and every other check.
//!
//! Not responsible for: how an engine or an image is had (`engine.rs`, `image.rs`).

use std::process::Command;

use crate::command::{Outcome, cargo, find, output, run};
use crate::{engine, image, packages, sdks};

/// What the tests that need an engine are called: those of the integration tests in a module `docker…`.
const NEEDS_DOCKER: &str = "kind(test) & test(/(^|::)docker/)";

/// Whether the tests that need a container engine are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Docker {
    /// They are, and without an engine the chore fails.
    Needed,
    /// They are left out, and it is said.
    LeftOut,
}

/// Makes ready what the tests need: an engine, the test image, a private registry, the SDKs.
pub(crate) fn prepare() -> Outcome {
    engine::ensure()?;
    let missing: Vec<&str> = [("docker-registry", "docker-registry"), ("htpasswd", "apache2-utils")]
        .into_iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if !missing.is_empty() {
        packages::install(&missing)?;
    }
    image::ensure()?;
    sdks::ensure()
}

/// Runs every test.
pub(crate) fn test(docker: Docker) -> Outcome {
    if docker == Docker::Needed {
        prepare()?;
    } else {
        sdks::ensure()?;
    }
    if output(cargo().args(["nextest", "--version"])).is_none() {
        run(cargo().args(["install", "cargo-nextest", "--locked"]))?;
    }
    run(&mut nextest(docker))?;
    run(cargo().args(["test", "--doc", "--workspace"]))?;
    if docker == Docker::LeftOut {
        eprintln!("\nxtask: passed, BUT THE TESTS THAT NEED A CONTAINER ENGINE WERE LEFT OUT (as asked)");
    }
    Ok(())
}

fn nextest(docker: Docker) -> Command {
    let mut command = cargo();
    // Without a selection of targets the examples are built as the programs that they are, for the tests to run.
    command.args(["nextest", "run", "--workspace"]);
    command.args(["--all-features", "--no-fail-fast"]);
    if docker == Docker::LeftOut {
        command.env("DOGWATCH_TEST_WITHOUT_DOCKER", "1");
        command.args(["--filterset", &format!("not ({NEEDS_DOCKER})")]);
    }
    command
}

/// Everything a change must pass.
pub(crate) fn ci(docker: Docker) -> Outcome {
    test(docker)?;
    lint()
}

/// The checks that need no engine and run nothing.
pub(crate) fn lint() -> Outcome {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo()
        .args(["clippy", "--workspace", "--all-targets", "--all-features", "--"])
        .args(["-D", "warnings"]))?;
    run(cargo().args(["doc", "--no-deps", "--workspace"]).env("RUSTDOCFLAGS", "-Dwarnings"))
}
