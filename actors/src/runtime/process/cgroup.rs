//! Limits of memory, processes and CPU by control groups, where we may make some.
//!
//! Best effort: in a delegated group (a container, a systemd service with `Delegate=yes`, root) limits hold; else
//! attempts run without, and the health report says so. Version 1 and 2 are handled alike: a parent per
//! installation, a leaf per attempt, which the shim enters for the moment of the spawn, so that the process is born
//! in it and the shim is never killed for the process's memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::id::InstallationId;
use crate::job::spec::Resources;
use crate::runtime::accounts;

const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// The length of a CPU period, in microseconds: the kernel's default.
const CPU_PERIOD_MICROS: u64 = 100_000;

/// How often a leaf is made again after its parent was removed at that moment; each time is unlikely.
const MAKE_TRIES_MAX: usize = 3;

/// Where the groups of this installation go.
#[derive(Debug, Clone)]
pub(super) struct Groups {
    parents: Vec<Parent>,
}

#[derive(Debug, Clone)]
struct Parent {
    dir: PathBuf,
    /// The group this process is in, for the shim to go back to.
    home: PathBuf,
    version: Version,
    controllers: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Version {
    One,
    Two,
}

/// The groups of one attempt: what the shim makes, enters and removes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Orders {
    leaves: Vec<Leaf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Leaf {
    dir: PathBuf,
    home: PathBuf,
    version: Version,
    settings: Vec<(String, String)>,
    /// The file that counts the kills for want of memory, in lines of `name count`.
    kills: Option<String>,
}

impl Groups {
    /// Finds out where groups can be made, by making the installation's and removing it again: it is there only
    /// while an attempt needs it.
    pub(super) fn detect(installation: InstallationId) -> io::Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let name = format!("dogwatch-{installation}");
        let mut parents: Vec<Parent> = CONTROLLERS
            .iter()
            .filter_map(|controller| version_one(controller, &own, &mounts, &name))
            .collect();
        parents.extend(version_two(&own, &mounts, &name));
        for parent in &parents {
            drop(fs::remove_dir(&parent.dir));
        }
        Ok(Self { parents })
    }

    /// Which limits hold.
    pub(super) fn enforced(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> =
            self.parents.iter().flat_map(|parent| parent.controllers.iter().copied()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The groups for an attempt; `None` when it has no limits or none can be set.
    pub(super) fn orders(&self, name: &str, resources: &Resources) -> Option<Orders> {
        let leaves: Vec<Leaf> = self
            .parents
            .iter()
            .map(|parent| Leaf {
                dir: parent.dir.join(name),
                home: parent.home.clone(),
                version: parent.version,
                settings: parent.settings(resources),
                kills: parent.kills(),
            })
            .filter(|leaf| !leaf.settings.is_empty())
            .collect();
        (!leaves.is_empty()).then_some(Orders { leaves })
    }
}

impl Parent {
    fn settings(&self, resources: &Resources) -> Vec<(String, String)> {
        let mut settings = Vec::new();
        let mut set = |name: &str, value: String| settings.push((name.to_owned(), value));
        let has = |controller| self.controllers.contains(&controller);
        if let Some(memory) = resources.memory.filter(|_| has("memory")) {
            match self.version {
                Version::One => set("memory.limit_in_bytes", memory.as_bytes().to_string()),
                Version::Two => {
                    set("memory.max", memory.as_bytes().to_string());
                    // Swap would only put the end off. Not every kernel has the file.
                    set("memory.swap.max", "0".into());
                }
            }
        }
        if let Some(pids) = resources.pids.filter(|_| has("pids")) {
            set("pids.max", pids.to_string());
        }
        if let Some(cpu) = resources.cpu.filter(|cpu| has("cpu") && *cpu > 0.0) {
            let quota = (cpu * CPU_PERIOD_MICROS as f64).max(1_000.0) as u64;
            match self.version {
                Version::One => set("cpu.cfs_quota_us", quota.to_string()),
                Version::Two => set("cpu.max", format!("{quota} {CPU_PERIOD_MICROS}")),
            }
        }
        settings
    }

    fn kills(&self) -> Option<String> {
        self.controllers.contains(&"memory").then(|| match self.version {
            Version::One => "memory.oom_control".into(),
            Version::Two => "memory.events".into(),
        })
    }
}

impl Orders {
    /// Makes the groups and moves this process into them. What cannot be set is left out: a job that runs without
    /// a limit is better than one that does not run, and the health report has said so.
    pub(super) fn enter(&self) {
        for leaf in &self.leaves {
            leaf.make();
            for (name, value) in &leaf.settings {
                drop(fs::write(leaf.dir.join(name), value));
            }
            drop(fs::write(leaf.dir.join("cgroup.procs"), "0"));
        }
    }

    /// Moves this process out again; its children stay. An error means that it is still in one of them.
    pub(super) fn leave(&self) -> io::Result<()> {
        let mut left = Ok(());
        // Each is left, whatever came of the one before.
        for leaf in &self.leaves {
            let moved = fs::write(leaf.home.join("cgroup.procs"), "0");
            left = left.and(moved);
        }
        left
    }

    /// Whether the kernel killed something in the groups for want of memory.
    pub(super) fn oom_killed(&self) -> bool {
        self.leaves.iter().any(|leaf| {
            let kills = leaf.kills.as_ref().and_then(|name| fs::read_to_string(leaf.dir.join(name)).ok());
            kills.is_some_and(|text| {
                text.lines()
                    .any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
            })
        })
    }

    /// Removes the groups, which must be empty by then.
    pub(super) fn remove(&self) {
        for leaf in &self.leaves {
            drop(fs::remove_dir(&leaf.dir));
            // The installation's, when this was its last.
            drop(leaf.dir.parent().map(fs::remove_dir));
        }
    }
}

impl Leaf {
    /// Makes the leaf below its parent, which may be removed in between by the last one that left.
    fn make(&self) {
        for _ in 0..MAKE_TRIES_MAX {
            if let Some(parent) = self.dir.parent()
                && make_dir(parent).is_ok()
            {
                if self.version == Version::Two {
                    delegate(parent);
                }
                if make_dir(&self.dir).is_ok() {
                    return;
                }
            }
        }
    }
}

fn version_one(controller: &'static str, own: &str, mounts: &str, name: &str) -> Option<Parent> {
    let path = accounts::path_of_controller(own, controller)?;
    let (root, mount) = accounts::mount_of_controller(mounts, controller)?;
    let home = accounts::under(mount, root, path);
    let dir = home.join(name);
    make_dir(&dir).ok()?;
    Some(Parent { dir, home, version: Version::One, controllers: vec![controller] })
}

fn version_two(own: &str, mounts: &str, name: &str) -> Option<Parent> {
    let path = accounts::path_of_unified(own)?;
    let (root, mount) = accounts::mount_of_unified(mounts)?;
    let home = accounts::under(mount, root, path);
    // A group that holds processes cannot have limited children (except the root): then beside it.
    let beside = home.parent().filter(|parent| parent.starts_with(mount)).map(Path::to_owned);
    for above in std::iter::once(home.clone()).chain(beside) {
        let dir = above.join(name);
        if make_dir(&dir).is_err() {
            continue;
        }
        delegate(&above);
        delegate(&dir);
        let given = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        let controllers: Vec<&str> = CONTROLLERS
            .into_iter()
            .filter(|name| given.split_whitespace().any(|given| given == *name))
            .collect();
        if !controllers.is_empty() {
            return Some(Parent { dir, home, version: Version::Two, controllers });
        }
        drop(fs::remove_dir(&dir));
    }
    None
}

/// Lets the groups below `dir` have limits, one controller at a time since any may be missing.
fn delegate(dir: &Path) {
    for controller in CONTROLLERS {
        drop(fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}")));
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
