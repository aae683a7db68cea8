//! The kernel's accounts of a control group: the CPU time and the memory of everything in it.
//!
//! They are what an engine's own figures are made of. Responsible for finding and reading them, in version 1 and 2 of
//! control groups. Not responsible for making groups, nor for what is made of the readings.

use std::fs;
use std::path::{Path, PathBuf};

use crate::usage::readings::Reading;

/// The accounts of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accounts {
    cpu: PathBuf,
    memory: PathBuf,
    version: Version,
}

/// The version of a hierarchy of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Accounts {
    /// Those of the group that a process is in, where its path has `name` in it: a process id alone may be somebody
    /// else's, of another namespace or used again. `None` where they cannot be read from here.
    pub(super) fn of_process(pid: u32, name: &str) -> Option<Self> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let accounts = Self::find(&groups, &mounts, name)?;
        accounts.read().map(|_| accounts)
    }

    fn find(groups: &str, mounts: &str, name: &str) -> Option<Self> {
        let named = |path: &str| path.contains(name) && !path.contains("/../");
        let one = |controller| {
            let path = path_of_controller(groups, controller).filter(|path| named(path))?;
            let (root, mount) = mount_of_controller(mounts, controller)?;
            Some(under(mount, root, path))
        };
        if let (Some(cpu), Some(memory)) = (one("cpuacct"), one("memory")) {
            return Some(Self { cpu, memory, version: Version::One });
        }
        let path = path_of_unified(groups).filter(|path| named(path))?;
        let (root, mount) = mount_of_unified(mounts)?;
        let dir = under(mount, root, path);
        Some(Self { cpu: dir.clone(), memory: dir, version: Version::Two })
    }

    /// What they say now; `None` when they cannot be read.
    pub(super) fn read(&self) -> Option<Reading> {
        Some(Reading { cpu_us: self.cpu_us()?, memory_bytes: self.memory_bytes()? })
    }

    /// Whether the group is there: what cannot be read of it now may be read again.
    pub(super) fn are_there(&self) -> bool {
        self.cpu.exists()
    }

    /// The CPU time of everything that ever was in the group, in microseconds.
    pub(super) fn cpu_us(&self) -> Option<u64> {
        match self.version {
            Version::One => Some(number(&self.cpu.join("cpuacct.usage"))? / 1_000),
            Version::Two => line(&self.cpu.join("cpu.stat"), "usage_usec"),
        }
    }

    /// The memory in use, without the pages of files that the kernel would give back first: what engines show, too.
    fn memory_bytes(&self) -> Option<u64> {
        let (usage, inactive) = match self.version {
            Version::One => ("memory.usage_in_bytes", "total_inactive_file"),
            Version::Two => ("memory.current", "inactive_file"),
        };
        let usage = number(&self.memory.join(usage))?;
        Some(usage.saturating_sub(line(&self.memory.join("memory.stat"), inactive).unwrap_or(0)))
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number behind `name` in a file of lines of `name number`.
fn line(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The path of a process' group in the hierarchy of a controller of version 1, in the text of `/proc/<pid>/cgroup`.
pub(super) fn path_of_controller<'a>(groups: &'a str, controller: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        fields.next()?.split(',').any(|found| found == controller).then(|| fields.next())?
    })
}

/// The same in the hierarchy of version 2.
pub(super) fn path_of_unified(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The root within the hierarchy of a controller of version 1, and where it is mounted.
pub(super) fn mount_of_controller<'a>(mounts: &'a str, controller: &str) -> Option<(&'a str, &'a Path)> {
    mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut back = back.split(' ');
        let is_it = back.next()? == "cgroup" && back.nth(1)?.split(',').any(|option| option == controller);
        is_it.then(|| mount_of(front))?
    })
}

/// The same of version 2.
pub(super) fn mount_of_unified(mounts: &str) -> Option<(&str, &Path)> {
    mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        back.starts_with("cgroup2 ").then(|| mount_of(front))?
    })
}

/// The root within the hierarchy and the mount point of a line of mountinfo, given up to its separator.
fn mount_of(front: &str) -> Option<(&str, &Path)> {
    let mut fields = front.split(' ').skip(3);
    Some((fields.next()?, Path::new(fields.next()?)))
}

/// The directory of the group `path` of a hierarchy whose `root` is mounted at `mount`.
pub(super) fn under(mount: &Path, root: &str, path: &str) -> PathBuf {
    let path = path.strip_prefix(root).unwrap_or(path);
    mount.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS_ONE: &str = "\
25 1 0:22 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct,cpu
26 1 0:23 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
27 1 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw
";
    const MOUNTS_TWO: &str = "30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw\n";

    fn dirs(groups: &str, mounts: &str) -> Option<(String, String, Version)> {
        let found = Accounts::find(groups, mounts, "abc")?;
        Some((found.cpu.display().to_string(), found.memory.display().to_string(), found.version))
    }

    #[test]
    fn they_are_found_in_either_version() {
        let one = "4:memory:/docker/abc\n2:cpuacct,cpu:/docker/abc\n0::/\n";
        let found = dirs(one, MOUNTS_ONE).unwrap();
        assert_eq!(found.0, "/sys/fs/cgroup/cpuacct/docker/abc");
        assert_eq!(found.1, "/sys/fs/cgroup/memory/docker/abc");
        assert_eq!(found.2, Version::One);
        let two = "0::/system.slice/docker-abc.scope\n";
        let found = dirs(two, MOUNTS_TWO).unwrap();
        assert_eq!(found.0, "/sys/fs/cgroup/system.slice/docker-abc.scope");
        assert_eq!(found.2, Version::Two);
    }

    #[test]
    fn those_of_others_are_not_taken_for_ours() {
        // Another process, another namespace of groups, and a hierarchy that is not mounted here.
        for (groups, mounts) in [
            ("0::/user.slice\n", MOUNTS_TWO),
            ("0::/../docker/abc\n", MOUNTS_TWO),
            ("0::/docker/abc\n", ""),
            ("2:cpuacct:/docker/abc\n", MOUNTS_ONE),
        ] {
            assert_eq!(dirs(groups, mounts), None, "{groups}");
        }
    }

    #[test]
    fn a_group_is_read_and_one_that_is_gone_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let accounts = |version| Accounts { cpu: dir.path().into(), memory: dir.path().into(), version };
        assert_eq!(accounts(Version::Two).read(), None);
        write("cpu.stat", "usage_usec 1234\nuser_usec 1000\n");
        write("memory.current", "5000\n");
        write("memory.stat", "anon 9\ninactive_file 2000\ntotal_inactive_file 1000\n");
        assert_eq!(accounts(Version::Two).read(), Some(Reading { cpu_us: 1_234, memory_bytes: 3_000 }));
        write("cpuacct.usage", "7000999\n");
        write("memory.usage_in_bytes", "900\n");
        assert_eq!(accounts(Version::One).read(), Some(Reading { cpu_us: 7_000, memory_bytes: 0 }));
    }
}
