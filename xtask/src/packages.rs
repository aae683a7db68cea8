//! Debian packages that the tests need: installed when they are missing and we may.
//!
//! Not responsible for: other distributions; there the message says what to install.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::command::{Fault, Outcome, find, output, run};

/// Installs `packages` without asking anything.
pub(crate) fn install(packages: &[&str]) -> Outcome {
    let list = packages.join(" ");
    if !Path::new("/etc/debian_version").exists() || find("apt-get").is_none() {
        return Err(Fault::new(format!("missing here: {list} (names of the Debian packages); install them")));
    }
    if !is_root() {
        return Err(Fault::new(format!("missing here: {list}; run `sudo apt-get install {list}`")));
    }
    eprintln!("xtask: installing {list}");
    run(apt().arg("update").arg("--quiet"))?;
    run(apt().args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(packages))
}

/// Whether apt knows a package of this name.
pub(crate) fn exists(package: &str) -> bool {
    output(Command::new("apt-cache").args(["show", package])).is_some_and(|text| !text.is_empty())
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    // Without a terminal debconf must not ask, and a daemon's package must not wait for an answer.
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0")
}
