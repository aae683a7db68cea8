//! A database that lost acknowledged rows is not served as if nothing had happened.

use std::fs;
use std::path::Path;

use dogwatch_actors::store::conformance::wait;
use dogwatch_actors::store::{Batch, Error, KeyRange, Kind, Order};

const ROWS: u32 = 300;

fn fill(dir: &Path, kind: Kind) {
    let store = super::open(dir, kind).unwrap();
    for number in 0..ROWS {
        let mut batch = Batch::new();
        batch.put(format!("row/{number:04}"), vec![number as u8; 400]);
        wait(store.commit(batch)).unwrap();
    }
    store.close();
}

/// Every row is there and right, or the damage is told.
fn is_intact_or_told(dir: &Path, kind: Kind) -> Result<(), Error> {
    let store = super::open(dir, kind)?;
    let rows = store.scan(KeyRange::prefix("row/"), Order::Ascending, usize::MAX)?;
    assert_eq!(rows.len(), ROWS as usize, "rows are missing and nobody said so");
    store.close();
    Ok(())
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

#[test]
fn a_flipped_bit_in_sled_never_loses_rows_in_silence() {
    let original = tempfile::tempdir().unwrap();
    fill(original.path(), Kind::Sled);
    let log = fs::read(original.path().join("sled/db")).unwrap();
    let used = log.iter().rposition(|byte| *byte != 0).unwrap();
    let mut told = 0;
    for trial in 0..24 {
        let dir = tempfile::tempdir().unwrap();
        copy_tree(original.path(), dir.path());
        let mut damaged = log.clone();
        damaged[(used / 25) * (trial + 1)] ^= 0x10;
        fs::write(dir.path().join("sled/db"), damaged).unwrap();
        match is_intact_or_told(dir.path(), Kind::Sled) {
            Ok(()) => {}
            Err(Error::Corrupt(_)) => told += 1,
            Err(other) => panic!("trial {trial}: {other}"),
        }
    }
    assert!(told > 0, "no trial met any damage, so this test proves nothing");
}

#[test]
fn an_older_copy_of_the_database_is_refused_until_the_mark_is_removed() {
    for kind in Kind::ALL {
        let dir = tempfile::tempdir().unwrap();
        let old = tempfile::tempdir().unwrap();
        fill(dir.path(), kind);
        copy_tree(dir.path(), old.path());
        let store = super::open(dir.path(), kind).unwrap();
        let mut batch = Batch::new();
        batch.put("row/acknowledged", "");
        wait(store.commit(batch)).unwrap();
        store.close();
        fs::copy(dir.path().join("mark"), old.path().join("mark")).unwrap();
        let refused = super::open(old.path(), kind);
        assert!(matches!(&refused, Err(Error::Corrupt(text)) if text.contains("mark")), "{refused:?}");
        fs::remove_file(old.path().join("mark")).unwrap();
        is_intact_or_told(old.path(), kind).unwrap();
    }
}
