//! Repository chores: `cargo xtask test` makes ready what the tests need and runs them all; `cargo xtask ci`
//! adds the other checks.
//!
//! Not responsible for: building releases, or changing anything outside this repository's `target/` — except
//! that `test` may install missing Debian packages and start a container engine, and says so when it does.

mod bench;
mod checks;
mod command;
mod engine;
mod image;
mod packages;
mod proofs;
mod sdks;

use std::process::ExitCode;

use checks::Docker;
use proofs::Length;

const USAGE: &str = "usage: cargo xtask <command>

  test [--without-docker]   make ready what the tests need, then run every test
  ci [--without-docker]     test, then formatting, lints and documentation
  lint                      formatting, lints and documentation only
  prove [--long]            the proofs of docs/robustness.md with more rounds: minutes, or hours with --long
  bench [NAME ...] [--quick | --long] [--runs N] [--json FILE]
                            build for release and measure; docs/performance.md says what
  prepare                   only make ready: packages, container engine, test image

Without --without-docker a container engine is needed: one that answers is used, else (on Debian or Ubuntu,
as root) it is installed and started. With it the tests that need an engine are left out, not passed.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => checks::test(Docker::Needed),
        ["test", "--without-docker"] => checks::test(Docker::LeftOut),
        ["ci"] => checks::ci(Docker::Needed),
        ["ci", "--without-docker"] => checks::ci(Docker::LeftOut),
        ["lint"] => checks::lint(),
        ["prove"] => proofs::prove(Length::Short),
        ["prove", "--long"] => proofs::prove(Length::Long),
        ["bench", arguments @ ..] => bench::bench(arguments),
        ["prepare"] => checks::prepare(),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("\nxtask: {fault}");
            ExitCode::FAILURE
        }
    }
}
