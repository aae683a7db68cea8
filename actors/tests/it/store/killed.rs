//! A process that commits is killed with SIGKILL; every commit that it was told of must be there afterwards,
//! and every batch whole.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use dogwatch_actors::store::conformance::wait;
use dogwatch_actors::store::{Batch, KeyRange, Kind, Log, Order};

/// Set in the environment of the process that is killed: the kind and the directory.
const ENV_KIND: &str = "DOGWATCH_TEST_KILLED_KIND";
const ENV_DIR: &str = "DOGWATCH_TEST_KILLED_DIR";

const ROUNDS: u64 = 5;
/// Batches that wait together, so that groups are large and the kill falls into one.
const WINDOW: u64 = 64;
const PARTS: usize = 3;

/// Not a test by itself: the process that [`survives`] starts and kills. Without its environment it does
/// nothing.
#[test]
fn child_that_commits_until_it_is_killed() {
    let (Ok(kind), Ok(dir)) = (std::env::var(ENV_KIND), std::env::var(ENV_DIR)) else { return };
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).unwrap();
    let store = super::open(Path::new(&dir), kind).unwrap();
    let mut next = *store.appended().borrow() + 1;
    loop {
        let commits: Vec<_> = (next..next + WINDOW).map(|number| store.commit(batch(number))).collect();
        for (number, commit) in (next..).zip(commits) {
            assert_eq!(wait(commit).unwrap().first_seq, number);
            println!("acked {number}");
        }
        next += WINDOW;
    }
}

/// One log row, and rows of which a few are large; old ones are replaced and removed all the time.
fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    batch.append(Log::Events, number.to_string());
    for part in 0..PARTS {
        batch.put(format!("part/{}/{part}", number % 500), value(number, part));
    }
    if number > 100 {
        batch.delete(format!("gone/{}", number - 100));
    }
    batch.put(format!("gone/{number}"), "");
    batch
}

fn value(number: u64, part: usize) -> Vec<u8> {
    let length = if number.is_multiple_of(41) { 60_000 } else { 600 };
    let mut value = number.to_be_bytes().to_vec();
    value.resize(length + part, number as u8);
    value
}

fn survives(kind: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let mut last_acked = 0;
    for round in 0..ROUNDS {
        let goal = last_acked + 200 + round * 133;
        last_acked = commit_and_kill(dir.path(), kind, goal).max(last_acked);
        let store = super::open(dir.path(), kind).unwrap();
        let last = *store.appended().borrow();
        assert!(last >= last_acked, "{kind}: {last_acked} was acknowledged, {last} is there");
        let rows = store.scan(KeyRange::log(Log::Events), Order::Ascending, usize::MAX).unwrap();
        let numbers: Vec<u64> = rows.iter().map(|(key, _)| Log::Events.seq(key).unwrap()).collect();
        assert_eq!(numbers, (1..=last).collect::<Vec<_>>(), "{kind}: no gap, nothing behind the end");
        for number in last.saturating_sub(499).max(1)..=last {
            for part in 0..PARTS {
                let found = store.get(format!("part/{}/{part}", number % 500).as_bytes()).unwrap();
                assert!(found == Some(value(number, part)), "{kind}: part {part} of batch {number}");
            }
        }
        let gone = store.scan(KeyRange::prefix("gone/"), Order::Ascending, usize::MAX).unwrap();
        assert_eq!(gone.len() as u64, last.min(100), "{kind}");
        store.close();
        last_acked = last;
    }
}

/// Answers the last number that the child was told of, at least `goal`.
fn commit_and_kill(dir: &Path, kind: Kind, goal: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::killed::child_that_commits_until_it_is_killed", "--nocapture"])
        .env(ENV_KIND, kind.name())
        .env(ENV_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acked = None;
    let mut killed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        // What was printed before the death counts, so the pipe is read to its end. A torn last line does not.
        let line = line.unwrap();
        let Some((_, number)) = line.rsplit_once("acked ") else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        acked = acked.max(Some(number));
        if number >= goal && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself after {acked:?}");
    acked.unwrap()
}

#[test]
fn sled_survives_sigkill() {
    survives(Kind::Sled);
}

#[test]
fn redb_survives_sigkill() {
    survives(Kind::Redb);
}

#[test]
fn lsm_survives_sigkill() {
    survives(Kind::Lsm);
}
