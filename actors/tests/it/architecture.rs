//! What keeps the code in its shape: who may import what, how long a file may be, and which lints hold.
//!
//! Reads the sources as text. It cannot see what a macro or a re-export brings in; reviews have to.

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a file.
const FILE_LINES_MAX: usize = 500;

/// Folders and files whose rules are pure: data in, data out. What stands in the second list is not.
const PURE: &[&str] = &[
    "actors/src/job/",
    "actors/src/webhook/",
    "actors/src/orchestration/",
    "actors/src/pool/",
    "actors/src/queue/",
    "actors/src/schedule/",
    "actors/src/admission/",
    "actors/src/array/",
    "actors/src/trigger/",
    "actors/src/usage/",
    "actors/src/entity/",
    "actors/src/hub.rs",
    "actors/src/name.rs",
    "actors/src/durable/mod.rs",
    "actors/src/durable/batch.rs",
    "actors/src/durable/keys.rs",
    "actors/src/fleet/roster.rs",
    "actors/src/fleet/roster/",
    "actors/src/fleet/reconcile.rs",
    "actors/src/fleet/backoff.rs",
    "actors/src/store/codec.rs",
    "actors/src/store/sequence.rs",
    "actors/src/outbound/cidr.rs",
    "actors/src/outbound/cloudevent.rs",
    "actors/src/outbound/guard.rs",
    "actors/src/outbound/sign.rs",
    "actors/src/runtime/group.rs",
    "actors/src/shape.rs",
    "actors/src/shape/",
    "actors/src/json.rs",
    "actors/src/limits.rs",
    "actors/src/units.rs",
];
const NOT_PURE: &[&str] = &[
    "actors/src/job/performer.rs",
    "actors/src/job/planner.rs",
    "actors/src/webhook/performer.rs",
    "actors/src/orchestration/activity.rs",
    "actors/src/orchestration/context/",
    "actors/src/orchestration/executor/",
    "actors/src/orchestration/registry.rs",
    "actors/src/pool/performer.rs",
    "actors/src/pool/watcher.rs",
    "actors/src/queue/clerk.rs",
    "actors/src/queue/desk.rs",
    "actors/src/queue/desk/",
    "actors/src/queue/performer.rs",
    "actors/src/trigger/directory.rs",
    "actors/src/trigger/hints.rs",
    "actors/src/trigger/lookout.rs",
    "actors/src/trigger/messages.rs",
    "actors/src/trigger/objects.rs",
    "actors/src/trigger/performer.rs",
    "actors/src/trigger/settling.rs",
    "actors/src/trigger/watcher.rs",
    "actors/src/usage/ledger.rs",
    "actors/src/usage/ledger/",
    "actors/src/entity/executor.rs",
    "actors/src/entity/stored.rs",
];

/// What pure files must not name.
const IMPURE: &[&str] = &[
    "tokio::",
    "actix::",
    "actix_rt::",
    "actix_web::",
    "reqwest::",
    "bollard::",
    "sled::",
    "redb::",
    "rustix::",
    "getrandom::",
    "std::fs",
    "std::io",
    "std::env",
    "std::thread",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "async fn",
    "SystemClock",
    "RandomIds",
    "dyn Store",
    "crate::fault",
    "crate::supervisor",
    "crate::supervise",
    "crate::outbound::service",
    "crate::outbound::client",
    "crate::outbound::webhook",
    "crate::runtime::docker",
    "crate::runtime::process",
];

/// Crates that only these files may name.
const OWNERS: &[(&str, &[&str])] = &[
    // The folder itself calls its own modules by these names.
    ("sled::", &["actors/src/store/sled.rs", "actors/src/store/sled/", "actors/src/store/mod.rs"]),
    ("redb::", &["actors/src/store/redb.rs", "actors/src/store/mod.rs"]),
    ("bollard::", &["actors/src/runtime/docker/"]),
    ("reqwest::", &["actors/src/outbound/", "src/client/"]),
    (
        "actix::",
        &[
            "actors/src/supervise/",
            "actors/src/supervisor.rs",
            "actors/src/supervisor/",
            "actors/src/durable/host.rs",
            "actors/src/durable/shard.rs",
            "actors/src/durable/shell.rs",
            "actors/src/fleet/",
            "actors/src/data_dir/home.rs",
            "src/",
        ],
    ),
    (
        "actix_web::",
        &[
            "src/api.rs",
            "src/api/",
            "src/callbacks.rs",
            "src/callbacks/",
            "src/durable_functions.rs",
            "src/durable_functions/",
            "src/listener.rs",
            "src/listener/",
            "src/serve/",
            "src/cli/mod.rs",
        ],
    ),
];

/// The only tests that sleep: each of these looks again and again at what nothing tells it of, with a deadline.
const POLLS: &[&str] = &[
    "actors/src/runtime/conformance.rs",
    "actors/tests/it/process.rs",
    "actors/tests/it/supervisor/bench.rs",
    "tests/it/cli_run.rs",
];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Where the tests begin that stand at the end of the file.
    fn tests_at(&self) -> usize {
        let mut starts = self.text.match_indices("#[cfg(test)]\n").map(|(at, _)| at);
        let is_tests =
            |at: &usize| self.text[*at..].lines().nth(1).is_some_and(|line| line.ends_with("mod tests {"));
        starts.find(is_tests).unwrap_or(self.text.len())
    }

    /// Its own lines without comments and without the tests at the end.
    fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        code(&self.text[..self.tests_at()])
    }

    /// The lines of its tests.
    fn tests(&self) -> impl Iterator<Item = (usize, &str)> {
        code(if self.is_test() { &self.text } else { &self.text[self.tests_at()..] })
    }

    fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.starts_with("tests/") || self.path.ends_with("tests.rs")
    }

    fn is_under(&self, places: &[&str]) -> bool {
        places
            .iter()
            .any(|place| self.path == *place || (place.ends_with('/') && self.path.starts_with(place)))
    }
}

fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let says = |line: &&str| !line.trim_start().starts_with("//") && !line.trim_start().starts_with('"');
    (1..).zip(text.lines()).filter(move |(_, line)| says(line))
}

/// Whether the line names this, and not something whose name ends in it.
fn names(line: &str, what: &str) -> bool {
    line.match_indices(what).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':')
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is in a workspace").to_path_buf()
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut dirs: Vec<PathBuf> =
        ["actors", "src", "tests", "xtask", "examples"].map(|name| root().join(name)).into();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
                sources.push(Source { path, text });
            }
        }
    }
    assert!(sources.len() > 200, "the sources are where they are looked for");
    sources
}

/// The test fails with everything that is found.
fn expect_none(found: Vec<String>, what: &str) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn the_rules_do_no_io() {
    let mut found = Vec::new();
    let mut pure = 0;
    for source in sources() {
        if !source.is_under(PURE) || source.is_under(NOT_PURE) || source.is_test() {
            continue;
        }
        pure += 1;
        for (number, line) in source.product() {
            for what in IMPURE.iter().filter(|what| names(line, what)) {
                found.push(format!("{}:{number}: {what}", source.path));
            }
        }
    }
    assert!(pure > 40, "only {pure} files are pure");
    expect_none(found, "pure files name what is not pure");
}

#[test]
fn every_list_names_what_exists() {
    let owners = OWNERS.iter().flat_map(|(_, owners)| owners.iter());
    for place in PURE.iter().chain(NOT_PURE).chain(owners).chain(POLLS) {
        assert!(root().join(place).exists(), "{place} is gone; mend the list");
    }
}

#[test]
fn each_foreign_crate_has_one_owner() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test() && !source.path.starts_with("examples/"))
    {
        for (number, line) in source.product() {
            for (name, owners) in OWNERS {
                if names(line, name) && !source.is_under(owners) {
                    found.push(format!("{}:{number}: {name}", source.path));
                }
            }
        }
    }
    expect_none(found, "only its owner may name a crate");
}

#[test]
fn no_file_is_too_long() {
    let long = sources().into_iter().filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", source.path))
    });
    expect_none(long.collect(), "longer than a file may be");
}

#[test]
fn nothing_is_unwrapped_outside_of_tests() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test() && !source.path.contains("conformance"))
    {
        let unwraps = source.product().filter(|(_, line)| line.contains(".unwrap("));
        found.extend(unwraps.map(|(number, _)| format!("{}:{number}", source.path)));
    }
    expect_none(found, "unwrap outside of tests");
}

#[test]
fn tests_do_not_sleep() {
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| !source.is_under(POLLS)) {
        // In virtual time a sleep is a condition like any other.
        let is_virtual = source.text.contains("start_paused(true)")
            || source.path.starts_with("actors/tests/it/simulation/")
            // They run on the clock of the simulation.
            || source.path.starts_with("actors/tests/it/entities");
        if source.path == "actors/tests/it/architecture.rs" || is_virtual {
            continue;
        }
        let is_sleep = |line: &str| line.contains("time::sleep(") || line.contains("thread::sleep(");
        let sleeps = source.tests().filter(|(_, line)| is_sleep(line));
        found.extend(sleeps.map(|(_, line)| format!("{}: {}", source.path, line.trim())));
    }
    expect_none(found, "wait for a condition, or let virtual time pass");
}

#[test]
fn the_lints_hold_everywhere() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let workspace = read("Cargo.toml");
    for lint in [
        "too_many_lines = \"warn\"",
        "unwrap_used = \"warn\"",
        "disallowed_methods = \"deny\"",
        "unsafe_code = \"forbid\"",
        "missing_docs = \"warn\"",
    ] {
        assert!(workspace.contains(lint), "the workspace no longer has {lint}");
    }
    assert!(read("clippy.toml").contains("too-many-lines-threshold = 70"));
    assert!(!workspace.contains("\npanic = "), "supervision needs unwinding");
    for manifest in ["Cargo.toml", "actors/Cargo.toml", "benches/Cargo.toml", "xtask/Cargo.toml"] {
        assert!(read(manifest).contains("[lints]\nworkspace = true"), "{manifest} does without the lints");
    }
    let mut found = Vec::new();
    for source in sources().iter().filter(|source| source.path != "actors/tests/it/architecture.rs") {
        let switched_off =
            |line: &&str| line.contains("(clippy::too_many_lines") || line.contains("allow(unsafe_code");
        found.extend(
            code(&source.text).map(|(_, line)| line).filter(switched_off).map(|_| source.path.clone()),
        );
    }
    expect_none(found, "lints that nobody may switch off");
}
