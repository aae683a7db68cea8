//! What `/proc` knows of processes: who is who, who is alive, who descends from whom.
//!
//! A process is named by its id *and* its start time *and* the boot, because ids are used again.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// More than the line of a process takes: its name and some fifty numbers.
const STAT_BYTES_MAX: usize = 2048;

/// Processes of one attempt whose memory is read at once: more would hold its shim up.
const RESIDENT_PROCESSES_MAX: usize = 4096;

/// One process, for ever: an id that is used again has another start time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Its id.
    pub(super) pid: i32,
    /// When it started, in clock ticks since the boot.
    pub(super) start_ticks: u64,
    /// The boot it belongs to.
    pub(super) boot: String,
}

impl Identity {
    /// The process that has this id now, in the present `boot`; `None` when there is none.
    pub(super) fn of(pid: i32, boot: &str) -> io::Result<Option<Self>> {
        let Some(stat) = stat(pid)? else { return Ok(None) };
        Ok(Some(Self { pid, start_ticks: stat.start_ticks, boot: boot.to_owned() }))
    }

    /// Whether it runs, in the present `boot`. A zombie does not: it has ended and waits for its parent.
    pub(super) fn is_alive(&self, boot: &str) -> io::Result<bool> {
        if self.boot != boot {
            return Ok(false);
        }
        Ok(stat(self.pid)?.is_some_and(|stat| stat.start_ticks == self.start_ticks && stat.runs()))
    }
}

/// What one line of `/proc/<pid>/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: i32,
    pub(super) state: u8,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) start_ticks: u64,
}

impl Stat {
    /// Whether it has not ended yet.
    pub(super) const fn runs(&self) -> bool {
        !matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// The boot that this is. The same for the life of a process, so it is read once.
pub(super) fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

/// What is known of a process; `None` when there is none of that id.
pub(super) fn stat(pid: i32) -> io::Result<Option<Stat>> {
    match read_line(&format!("/proc/{pid}/stat")) {
        Ok(line) => parse_stat(&line)
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is odd"))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads what the kernel gives in one piece, which a reader that does not know its length asks for in six.
fn read_line(path: &str) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(STAT_BYTES_MAX);
    rustix::io::read(File::open(path)?, rustix::buffer::spare_capacity(&mut line))?;
    Ok(line)
}

/// Every process there is; those that end meanwhile are left out.
pub(super) fn all() -> io::Result<Vec<Stat>> {
    let mut stats = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
            stats.extend(stat(pid)?);
        }
    }
    Ok(stats)
}

/// The running ones among `all` that descend from `root`, without itself.
pub(super) fn descendants(all: &[Stat], root: i32) -> Vec<Stat> {
    let mut found: Vec<Stat> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for child in all.iter().filter(|stat| stat.parent == parent && stat.pid != root) {
            parents.push(child.pid);
            found.push(*child);
        }
    }
    found.retain(Stat::runs);
    found
}

/// The memory in bytes that is resident of all that descends from this process, which must have a single thread. `None`
/// where the kernel does not list children.
pub(super) fn resident_below() -> Option<u64> {
    let mut pids = children("/proc/thread-self/children")?;
    let mut pages = 0_u64;
    for _ in 0..RESIDENT_PROCESSES_MAX {
        let Some(pid) = pids.pop() else { break };
        // What has ended meanwhile has none.
        pages += resident_pages(pid).unwrap_or(0);
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            pids.extend(children(task.path().join("children")).unwrap_or_default());
        }
    }
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

fn children(path: impl AsRef<Path>) -> Option<Vec<i32>> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

fn resident_pages(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

/// Whether a process was given this entry (`NAME=value`) of the environment. False when it cannot be read:
/// it is gone, or somebody else's.
pub(super) fn has_environment(pid: i32, entry: &str) -> bool {
    fs::read(Path::new("/proc").join(pid.to_string()).join("environ"))
        .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|found| found == entry.as_bytes()))
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// The name in brackets may hold anything, brackets and spaces too; the fields behind the last one do not.
fn parse_stat(line: &[u8]) -> Option<Stat> {
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let pid = std::str::from_utf8(&line[..open]).ok()?.trim().parse().ok()?;
    let fields: Vec<&str> = std::str::from_utf8(&line[close + 1..]).ok()?.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<i32>().ok();
    Some(Stat {
        pid,
        state: *fields.first()?.as_bytes().first()?,
        parent: number(1)?,
        group: number(2)?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let line = b"42 (a) Z 9 (b) S 7 8 9 0 -1 4194304 98 0 0 0 1 2 3 4 20 0 1 0 188872 3133440 382 1\n";
        let stat = parse_stat(line).unwrap();
        assert_eq!(stat, Stat { pid: 42, state: b'S', parent: 7, group: 8, start_ticks: 188_872 });
    }

    #[test]
    fn children_and_what_is_resident_are_read() {
        // Nothing descends from this thread.
        assert_eq!(resident_below(), Some(0));
        // A process that was only just made has no memory yet: one that speaks has.
        let mut child = Command::new("sh");
        let mut child = child
            .args(["-c", "echo here; read _"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 4]).unwrap();
        let resident = resident_below().unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!((50_000..50_000_000).contains(&resident), "{resident}");
    }

    #[test]
    fn this_process_is_alive_and_one_with_another_start_is_not() {
        let boot = boot_id().unwrap();
        let me = Identity::of(i32::try_from(std::process::id()).unwrap(), &boot).unwrap().unwrap();
        assert!(me.is_alive(&boot).unwrap());
        assert!(!Identity { start_ticks: me.start_ticks + 1, ..me.clone() }.is_alive(&boot).unwrap());
        assert!(!Identity { boot: "another".into(), ..me }.is_alive(&boot).unwrap());
    }

    #[test]
    fn descendants_are_found_at_any_depth() {
        let stat = |pid, parent, state| Stat { pid, state, parent, group: 1, start_ticks: 1 };
        let all = [stat(5, 4, b'S'), stat(2, 1, b'S'), stat(4, 2, b'Z'), stat(3, 9, b'S')];
        let found: Vec<i32> = descendants(&all, 2).iter().map(|stat| stat.pid).collect();
        assert_eq!(found, [5]);
    }
}
