//! Building and running the benchmark.
//!
//! Not responsible for: what is measured and how; that is the package `dogwatch-bench`.

use std::process::Command;

use crate::command::{Outcome, cargo, find, root, run, target};
use crate::packages;

/// Builds the program to be measured and the one that measures, and runs it with these arguments.
pub(crate) fn bench(arguments: &[&str]) -> Outcome {
    run(cargo().args(["build", "--release", "-p", "dogwatch", "-p", "dogwatch-bench", "--bins"]))?;
    if arguments.iter().any(|name| matches!(*name, "peers" | "rq" | "queues"))
        && find("redis-check-rdb").is_none()
    {
        packages::install(&["redis-tools"])?;
    }
    let target = target();
    let mut command = Command::new(target.join("release").join("dogwatch-bench"));
    command.current_dir(root()).arg("run").args(arguments);
    command.arg("--dir").arg(target.join("bench-data")).arg("--peers").arg(target.join("bench-peers"));
    run(&mut command)
}
