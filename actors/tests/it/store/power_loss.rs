//! Power is lost at a moment of the store's work: what was synced is there, what was only written is not, or in
//! part. Every commit that was answered before must be in what is left, and the store must open.
//!
//! A process works under `tests/shared/faultfs.c`, which writes down every write and every sync of its files.
//! From that the disk is rebuilt as it was just before each sync, in two forms: everything that was not synced
//! is dropped, and each write that was not synced is kept or dropped by chance. A new name of a file counts as
//! there only once its directory was synced.
//!
//! `DOGWATCH_PROVE_POWER_LOSS` sets at how many syncs, spread over the work, power is lost (default 6; more
//! than there are means every one), `DOGWATCH_PROVE_SEED` the seed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use dogwatch_actors::store::conformance::wait;
use dogwatch_actors::store::{self, Batch, Key, KeyRange, Kind, Log, Order};

use crate::faultfs;
use crate::random::{Random, setting};

/// Set in the environment of the process that works: the kind and the directory.
const ENV_KIND: &str = "DOGWATCH_TEST_POWER_KIND";
const ENV_DIR: &str = "DOGWATCH_TEST_POWER_DIR";

/// Commits of the work. In the middle the store is closed and opened again.
const COMMITS: u64 = 500;

/// Not a test by itself: the process whose writes are written down. Without its environment it does nothing.
#[test]
fn child_that_works() {
    let (Ok(kind), Ok(dir)) = (std::env::var(ENV_KIND), std::env::var(ENV_DIR)) else { return };
    let dir = Path::new(&dir);
    let kind = Kind::ALL.into_iter().find(|known| known.name() == kind).unwrap();
    let mut store = super::open(&dir.join("store"), kind).unwrap();
    for number in 1..=COMMITS {
        if number == COMMITS / 2 {
            store.close();
            store = super::open(&dir.join("store"), kind).unwrap();
        }
        wait(store.commit(batch(number))).unwrap();
        // One byte per answer.
        let acks = fs::OpenOptions::new().create(true).append(true).open(dir.join("acks"));
        std::io::Write::write_all(&mut acks.unwrap(), b"a").unwrap();
    }
    store.close();
}

/// What commit `number` does: rows come, change and go, some are large.
pub(crate) fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    let bytes = if number.is_multiple_of(37) { 50_000 } else { 300 + (number as usize * 7) % 900 };
    let mut value = number.to_be_bytes().to_vec();
    value.resize(bytes, number as u8);
    batch.put(format!("row/{}", number % 61), value);
    batch.put(format!("index/{number}"), "");
    if number > 40 {
        batch.delete(format!("index/{}", number - 40));
    }
    batch.append(Log::Events, number.to_string());
    batch
}

/// The rows after so many commits.
pub(crate) fn model(commits: u64) -> BTreeMap<Key, Vec<u8>> {
    let mut rows = BTreeMap::new();
    for number in 1..=commits {
        for op in batch(number).ops {
            match op {
                store::Op::Put { key, value } => drop(rows.insert(key, value)),
                store::Op::Delete { key } => drop(rows.remove(&key)),
                store::Op::Append { log, value } => drop(rows.insert(log.key(number), value)),
            }
        }
    }
    rows
}

/// One call of the trace; `faultfs.c` has the form.
struct Call<'a> {
    what: u8,
    path: &'a str,
    offset: u64,
    data: &'a [u8],
}

fn calls(mut trace: &[u8]) -> Vec<Call<'_>> {
    let mut calls = Vec::new();
    while let Some((head, rest)) = trace.split_first_chunk::<17>() {
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte));
        let (path_bytes, data_bytes) = (number(&head[1..5]) as usize, number(&head[13..17]) as usize);
        let (path, rest) = rest.split_at(path_bytes);
        let (data, rest) = rest.split_at(data_bytes);
        let path = std::str::from_utf8(path).unwrap();
        calls.push(Call { what: head[0], path, offset: number(&head[5..13]), data });
        trace = rest;
    }
    calls
}

/// A change of a file that is not synced.
#[derive(Clone)]
enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Default)]
struct FileState {
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

impl FileState {
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            apply(&mut self.durable, &change);
        }
    }
}

fn apply(content: &mut Vec<u8>, change: &Pending) {
    match change {
        Pending::Write(offset, data) => {
            let (from, to) = (*offset as usize, *offset as usize + data.len());
            content.resize(content.len().max(to), 0);
            content[from..to].copy_from_slice(data);
        }
        Pending::Length(length) => content.resize(*length as usize, 0),
    }
}

/// What a disk holds, and what it would hold after the loss of power.
#[derive(Default)]
struct Disk {
    files: HashMap<usize, FileState>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    made: usize,
    acks: u64,
}

impl Disk {
    fn file(&mut self, path: &str) -> &mut FileState {
        let made = &mut self.made;
        let id = *self.names.entry(path.to_owned()).or_insert_with(|| {
            *made += 1;
            *made
        });
        self.files.entry(id).or_default()
    }

    fn apply(&mut self, call: &Call<'_>) {
        if call.path.ends_with("/acks") {
            self.acks += call.data.len() as u64;
            return;
        }
        match call.what {
            b'c' if call.offset == 0 => drop(self.file(call.path)),
            b'c' => self.file(call.path).pending.push(Pending::Length(0)),
            b'w' => self.file(call.path).pending.push(Pending::Write(call.offset, call.data.to_vec())),
            b't' => self.file(call.path).pending.push(Pending::Length(call.offset)),
            b'r' => {
                let to = std::str::from_utf8(call.data).unwrap().to_owned();
                let id = self.names.remove(call.path).expect("what is renamed was made");
                self.names.insert(to, id);
            }
            b'u' => drop(self.names.remove(call.path)),
            b's' if self.names.contains_key(call.path) => self.file(call.path).sync(),
            b's' => self.sync_directory(call.path),
            other => panic!("an unknown call {other}"),
        }
    }

    fn sync_directory(&mut self, dir: &str) {
        let is_in = |path: &String| Path::new(path).parent() == Some(Path::new(dir));
        self.durable_names.retain(|path, _| !is_in(path));
        let now = self.names.iter().filter(|(path, _)| is_in(path));
        self.durable_names.extend(now.map(|(path, id)| (path.clone(), *id)));
    }

    /// Writes what is left to `to`; `keeps` says which of the writes that were not synced reached the disk.
    fn lose_power(&self, from: &Path, to: &Path, mut keeps: impl FnMut() -> bool) {
        for (path, id) in &self.durable_names {
            let file = &self.files[id];
            let mut content = file.durable.clone();
            for change in &file.pending {
                if keeps() {
                    apply(&mut content, change);
                }
            }
            let path = to.join(Path::new(path).strip_prefix(from).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
}

fn trace(kind: Kind, dir: &Path) -> (PathBuf, Vec<u8>) {
    let dir = dir.canonicalize().unwrap();
    let (data, trace) = (dir.join("data"), dir.join("trace"));
    fs::create_dir(&data).unwrap();
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::power_loss::child_that_works"])
        .env(ENV_KIND, kind.name())
        .env(ENV_DIR, &data)
        .env("LD_PRELOAD", faultfs::compile(&dir))
        .env("FAULTFS_UNDER", data.to_str().unwrap())
        .env("FAULTFS_TRACE", &trace)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    (data, fs::read(trace).unwrap())
}

/// Everything that was answered is in what is left, and nothing that was not begun.
fn is_whole(dir: &Path, kind: Kind, acked: u64, when: &str) {
    if acked == 0 && !dir.join("store").exists() {
        return;
    }
    let store = super::open(&dir.join("store"), kind).unwrap_or_else(|error| panic!("{when}: {error}"));
    let found: BTreeMap<_, _> =
        store.scan(KeyRange::prefix(""), Order::Ascending, usize::MAX).unwrap().into_iter().collect();
    let commits = *store.appended().borrow();
    assert!((acked..=acked + 1).contains(&commits), "{when}: {acked} were answered, {commits} are there");
    assert!(found == model(commits), "{when}: the rows are not those of {commits} commits");
    store.close();
}

fn survives_the_loss_of_power(kind: Kind) {
    let (points, seed) =
        (setting("DOGWATCH_PROVE_POWER_LOSS", 6), setting("DOGWATCH_PROVE_SEED", 20_261_121));
    let base = tempfile::tempdir().unwrap();
    let (data, trace) = trace(kind, base.path());
    let calls = calls(&trace);
    let syncs = calls.iter().filter(|call| call.what == b's').count() as u64;
    let mut random = Random::new(seed);
    let (mut disk, mut seen, mut lost_at) = (Disk::default(), 0, 0);
    for call in &calls {
        if call.what == b's' {
            seen += 1;
            if points >= syncs || random.below(syncs) < points {
                lost_at += 1;
                let when = format!("{kind}, before sync {seen} of {syncs}, seed {seed}");
                for torn in [false, true] {
                    let left = tempfile::tempdir().unwrap();
                    disk.lose_power(&data, left.path(), || torn && random.below(2) == 0);
                    is_whole(left.path(), kind, disk.acks, &format!("{when}, torn {torn}"));
                }
            }
        }
        disk.apply(call);
    }
    let left = tempfile::tempdir().unwrap();
    disk.lose_power(&data, left.path(), || false);
    is_whole(left.path(), kind, disk.acks, &format!("{kind}, at the end"));
    assert_eq!(disk.acks, COMMITS);
    assert!(syncs > COMMITS, "the commits were not synced one by one");
    println!(
        "{kind}: {COMMITS} commits, {syncs} syncs, power lost at {lost_at} of them, twice each; 0 lost; seed {seed}"
    );
}

#[test]
fn sled_survives_the_loss_of_power() {
    survives_the_loss_of_power(Kind::Sled);
}

#[test]
fn redb_survives_the_loss_of_power() {
    survives_the_loss_of_power(Kind::Redb);
}

#[test]
fn lsm_survives_the_loss_of_power() {
    survives_the_loss_of_power(Kind::Lsm);
}
