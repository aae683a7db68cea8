//! A backup that is made while commits go on shows the store exactly as it was at one of them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use dogwatch_actors::backup::{self, Error, Identity, Subject};
use dogwatch_actors::clock::SystemClock;
use dogwatch_actors::id::{Ids as _, RandomIds};
use dogwatch_actors::secret::Keyring;
use dogwatch_actors::store::{self, KeyRange, Kind, Order, Store};

use crate::store::power_loss::{batch, model};

fn subject(store: &Arc<dyn Store>) -> Subject {
    Subject {
        store: Arc::clone(store),
        keyring: Keyring::new([7; 32]),
        installation: RandomIds.installation_id(),
    }
}

/// Writes a backup to `file`; so slowly that a commit falls between any two of its parts.
async fn write(subject: Subject, file: &Path, commits: &Cell<u64>) -> Result<(), Error> {
    let mut parts = backup::start(subject, &SystemClock)?;
    let mut content = Vec::new();
    while let Some(part) = parts.recv().await {
        content.extend(part?);
        let seen = commits.get();
        while commits.get() == seen {
            tokio::task::yield_now().await;
        }
    }
    std::fs::write(file, content).unwrap();
    Ok(())
}

async fn shows_one_moment(kind: Kind, other: Kind) {
    let base = tempfile::tempdir().unwrap();
    let store = store::open(&base.path().join("original"), kind).unwrap();
    let (number, stop) = (Cell::new(0), Cell::new(false));
    let commit = async || {
        store.commit(batch(number.get() + 1)).await.unwrap();
        number.set(number.get() + 1);
    };
    while number.get() < 200 {
        commit().await;
    }
    let begun_at = number.get();
    let commits = async {
        while !stop.get() {
            commit().await;
        }
    };
    let file = base.path().join("backup");
    let backup = async {
        write(subject(&store), &file, &number).await.unwrap();
        stop.set(true);
    };
    tokio::join!(commits, backup);
    let number = number.get();
    assert!(number > begun_at + 3, "hardly anything was committed meanwhile: this proves nothing");

    let dir = base.path().join("restored");
    let restored = {
        let (file, dir) = (file.clone(), dir.clone());
        tokio::task::spawn_blocking(move || backup::restore(&file, &dir, other, Identity::New, &RandomIds))
    };
    restored.await.unwrap().unwrap();
    let copy = store::open(&dir.join("store"), other).unwrap();
    let last = *copy.appended().borrow();
    let rows = copy.scan(KeyRange::prefix(""), Order::Ascending, usize::MAX).unwrap();
    let rows: BTreeMap<_, _> = rows.into_iter().collect();
    assert!((begun_at..=number).contains(&last), "{last}");
    assert!(rows == model(last), "{kind} to {other}: not the rows of commit {last}");
    assert_eq!(copy.commit(batch(last + 1)).await.unwrap().first_seq, last + 1, "numbers go on");
    copy.close();
    store.close();
}

#[tokio::test]
async fn a_backup_amid_commits_shows_one_moment() {
    shows_one_moment(Kind::Sled, Kind::Redb).await;
    shows_one_moment(Kind::Redb, Kind::Lsm).await;
    shows_one_moment(Kind::Lsm, Kind::Sled).await;
}

#[tokio::test]
async fn one_backup_at_a_time_and_a_reader_that_is_gone_makes_room() {
    let base = tempfile::tempdir().unwrap();
    let store = store::open(base.path(), Kind::Sled).unwrap();
    for number in 1..400 {
        store.commit(batch(number)).await.unwrap();
    }
    let first = backup::start(subject(&store), &SystemClock).unwrap();
    let second = backup::start(subject(&store), &SystemClock);
    assert!(matches!(second, Err(Error::Store(store::Error::Busy))));
    drop(first);
    let freed = async {
        while backup::start(subject(&store), &SystemClock).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), freed).await.expect("in time");
    store.close();
}
