//! Damage to the files of a store that a real server worked on: flipped bits, files cut off. Such a store opens with
//! everything that was acknowledged and every value as it was, or is refused as damaged, or answers the read
//! that meets the damage with an error. Never is anything missing or wrong in silence.
//!
//! `DOGWATCH_PROVE_FLIPS` sets the number of damages per kind of store (default 75, so 150 in all), `DOGWATCH_PROVE_SEED` the
//! seed.

use std::fs;
use std::path::{Path, PathBuf};

use dogwatch_actors::store::{self, Error, KeyRange, Kind, Order, Rows};
use rustix::process::Signal;
use serde_json::json;

use crate::bench::{Bench, On, with};
use crate::random::{Random, setting};

/// Jobs of the workload.
const JOBS: usize = 60;

/// A store's directory after jobs ran on it and the server was killed.
async fn worked_on(engine: &str) -> tempfile::TempDir {
    let mut bench = Bench::start_with(On::Process, &[("DOGWATCH_STORE__ENGINE", engine)]).await;
    let mut running = Vec::new();
    for number in 0..JOBS {
        let labels =
            json!({"labels": {"n": number.to_string()}, "env": {"PADDING": "x".repeat(number * 40)}});
        let spec = match number % 4 {
            0 => On::Process.script("exit 0"),
            1 => with(On::Process.script("exit 3"), json!({"restart_policy": "Never"})),
            2 => json!({"args": ["true"], "suspended": true, "secrets": {"TOKEN": "s3cret"}}),
            _ => json!({"args": ["true"], "start_at": "2099-01-01T00:00:00Z"}),
        };
        let id = bench.submit(&with(spec, labels)).await;
        if number % 4 < 2 {
            running.push(id);
        } else if number % 8 == 2 {
            bench.ask(&id, "cancel").await;
            let status =
                bench.request(reqwest::Method::DELETE, &format!("/v1/jobs/{id}")).send().await.unwrap();
            assert!(status.status().is_success());
        }
    }
    for id in running {
        bench.over(&id).await;
    }
    bench.end(Signal::KILL);
    let copy = tempfile::tempdir().unwrap();
    copy_tree(&bench.path().join("store"), copy.path());
    copy
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn everything(dir: &Path, kind: Kind) -> Result<(Rows, u64), Error> {
    let store = store::open(dir, kind)?;
    let rows = store.scan(KeyRange::prefix(""), Order::Ascending, usize::MAX);
    let last = *store.appended().borrow();
    store.close();
    Ok((rows?, last))
}

/// Flips a bit or cuts a file off; says what it did.
fn harm(dir: &Path, random: &mut Random) -> String {
    let files: Vec<PathBuf> =
        files(dir).into_iter().filter(|path| fs::metadata(path).unwrap().len() > 0).collect();
    // Half of the damages fall on the database, whatever else there is.
    let largest = files.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let index = usize::try_from(random.below(files.len() as u64)).unwrap();
    let path = if random.below(2) == 0 { largest } else { &files[index] };
    let mut content = fs::read(path).unwrap();
    let used = content.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64 + 1;
    let name = path.strip_prefix(dir).unwrap().display();
    let what = match random.below(8) {
        0 => {
            let length = random.below(used);
            content.truncate(usize::try_from(length).unwrap());
            format!("{name} cut off at {length} of {used}")
        }
        _ => {
            let (at, bit) = (random.below(used), random.below(8));
            content[usize::try_from(at).unwrap()] ^= 1 << bit;
            format!("{name}: bit {bit} of byte {at} of {used}")
        }
    };
    fs::write(path, content).unwrap();
    what
}

async fn never_in_silence(kind: Kind) {
    let (rounds, seed) = (setting("DOGWATCH_PROVE_FLIPS", 75), setting("DOGWATCH_PROVE_SEED", 20_261_121));
    let killed = worked_on(kind.name()).await;
    let closed = tempfile::tempdir().unwrap();
    copy_tree(killed.path(), closed.path());
    let (rows, last) = everything(closed.path(), kind).unwrap();
    assert!(rows.len() > JOBS * 5, "there is hardly anything to lose");
    let mut random = Random::new(seed);
    let (mut intact, mut told) = (0, 0);
    for round in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        // A database that was closed in order is opened with fewer questions.
        let original = if round % 2 == 0 { &killed } else { &closed };
        copy_tree(original.path(), dir.path());
        let what = harm(dir.path(), &mut random);
        let opened = std::panic::catch_unwind(|| everything(dir.path(), kind));
        match opened.unwrap_or_else(|_| panic!("{kind}, seed {seed}, round {round}, {what}: a panic")) {
            Ok(found) => {
                assert!(
                    found == (rows.clone(), last),
                    "{kind}, seed {seed}, round {round}, {what}: in silence"
                );
                intact += 1;
            }
            Err(Error::Corrupt(_)) => told += 1,
            Err(other) => panic!("{kind}, seed {seed}, round {round}, {what}: not called damage: {other}"),
        }
    }
    assert!(told > 0, "no round met any damage, so this test proves nothing");
    println!("{kind}: {rounds} damages, seed {seed}: {told} told, {intact} without any effect, 0 in silence");
}

#[tokio::test]
async fn no_damage_to_a_sled_store_is_served_in_silence() {
    never_in_silence(Kind::Sled).await;
}

#[tokio::test]
async fn no_damage_to_a_redb_store_is_served_in_silence() {
    never_in_silence(Kind::Redb).await;
}

#[tokio::test]
async fn no_damage_to_an_lsm_store_is_served_in_silence() {
    never_in_silence(Kind::Lsm).await;
}

/// What the server says of a damaged store names the damage and what to do.
#[tokio::test]
async fn a_damaged_store_is_refused_with_what_to_do() {
    let mut bench = Bench::start(On::Process).await;
    bench.submit(&json!({"args": ["true"], "suspended": true})).await;
    bench.end(Signal::KILL);
    // The whole database is an older one: as from a copy of files at the wrong moment.
    fs::remove_dir_all(bench.path().join("store/lsm")).unwrap();
    let refused = bench.command().output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(125), "{said}");
    for part in ["damaged", "missing", "dogwatch doctor --store", "dogwatch restore"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
