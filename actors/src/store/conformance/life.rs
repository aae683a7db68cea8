//! Checks over the life of a store: opening again, closing, many writers, and numbers that go on.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use super::super::{Batch, Error, KeyRange, Log, Order, Rows};
use super::{Place, commit, everything, open, put, rows, scan, wait};

pub(super) fn everything_is_there_after_reopening(place: &dyn Place) {
    let mut expected = Rows::new();
    for round in 0..4u32 {
        let store = open(place);
        assert_eq!(everything(&store), expected);
        let mut batch = Batch::new();
        for number in 0..300u32 {
            batch.put(format!("{round}/{number:04}"), format!("{}", round * number));
            expected.push((
                format!("{round}/{number:04}").into_bytes(),
                format!("{}", round * number).into_bytes(),
            ));
        }
        commit(&store, batch).expect("commits");
        // Dropping the last handle closes as well.
        if round.is_multiple_of(2) {
            store.close();
        }
    }
}

pub(super) fn many_writers_lose_nothing(place: &dyn Place) {
    const WRITERS: u64 = 16;
    const EACH: u64 = 50;
    let store = open(place);
    let start = Barrier::new(usize::try_from(WRITERS).expect("a few"));
    let firsts: Vec<u64> = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, start) = (&store, &start);
                scope.spawn(move || {
                    start.wait();
                    let commits = (0..EACH).map(|number| {
                        let mut batch = Batch::new();
                        batch.put(format!("w/{writer:02}/{number:03}"), number.to_string());
                        batch.append(Log::Events, format!("{writer}/{number}")).append(Log::Outbox, "");
                        let first = commit(store, batch).expect("commits");
                        // Reads see what was answered.
                        let row = store.get(&Log::Events.key(first)).expect("reads");
                        assert_eq!(row, Some(format!("{writer}/{number}").into_bytes()));
                        first
                    });
                    commits.collect::<Vec<u64>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer panicked")).collect()
    });
    let firsts: BTreeSet<u64> = firsts.into_iter().collect();
    assert_eq!(firsts, (0..WRITERS * EACH).map(|number| 2 * number + 1).collect());
    assert_eq!(scan(&store, KeyRange::prefix("w/"), Order::Ascending, usize::MAX).len(), 800);
    assert_eq!(*store.appended().borrow(), 2 * WRITERS * EACH);
}

pub(super) fn closing_waits_for_what_is_queued_and_refuses_the_rest(place: &dyn Place) {
    let store = open(place);
    let queued: Vec<_> = (0..50u32)
        .map(|number| {
            let mut batch = Batch::new();
            batch.put(number.to_string(), "");
            store.commit(batch)
        })
        .collect();
    store.close();
    for commit in queued {
        wait(commit).expect("was queued before the close");
    }
    let mut late = Batch::new();
    late.put("late", "");
    assert!(matches!(commit(&store, late), Err(Error::Closed)));
    assert!(matches!(store.get(b"0"), Err(Error::Closed)));
    assert!(matches!(store.scan(KeyRange::prefix(""), Order::Ascending, 1), Err(Error::Closed)));
    assert!(matches!(store.health(), Err(Error::Closed)));
    store.close();
    let reopened = open(place);
    assert_eq!(everything(&reopened).len(), 50);
}

pub(super) fn a_second_open_is_refused(place: &dyn Place) {
    let store = open(place);
    put(&store, "a", "1");
    let second = place.open();
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
    put(&store, "b", "2");
    store.close();
    assert_eq!(everything(&open(place)), rows(&[("a", "1"), ("b", "2")]));
}

pub(super) fn numbers_never_repeat_after_their_rows_are_gone(place: &dyn Place) {
    let store = open(place);
    let mut batch = Batch::new();
    batch.append(Log::Events, "1").append(Log::Outbox, "2").append(Log::Outbox, "3");
    commit(&store, batch).expect("commits");
    let mut batch = Batch::new();
    for seq in 1..=3 {
        batch.delete(Log::Events.key(seq)).delete(Log::Outbox.key(seq));
    }
    commit(&store, batch).expect("commits");
    assert_eq!(everything(&store), Rows::new());
    store.close();
    let store = open(place);
    assert_eq!(*store.appended().borrow(), 3);
    let mut batch = Batch::new();
    batch.append(Log::Events, "4");
    assert_eq!(commit(&store, batch).expect("commits"), 4);
}

pub(super) fn appends_are_numbered_without_gaps(place: &dyn Place) {
    let mut expected = 1;
    for round in 0..3 {
        let store = open(place);
        for size in 0..4u64 {
            let mut batch = Batch::new();
            for number in 0..size {
                let log = if number % 2 == 0 { Log::Events } else { Log::Outbox };
                batch.append(log, format!("{round}"));
            }
            assert_eq!(commit(&store, batch).expect("commits"), expected);
            expected += size;
        }
        store.close();
    }
    let store = open(place);
    let seqs = |log: Log| -> Vec<u64> {
        let rows = scan(&store, KeyRange::log(log), Order::Ascending, 1_000);
        rows.iter().map(|(key, _)| log.seq(key).expect("keys of a log have a number")).collect()
    };
    let mut all = seqs(Log::Events);
    all.extend(seqs(Log::Outbox));
    all.sort_unstable();
    assert_eq!(all, (1..expected).collect::<Vec<_>>());
}
