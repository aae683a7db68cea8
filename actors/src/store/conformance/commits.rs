//! Checks of single commits: what a batch does, what it requires, in which order, and which keys it may name.

use futures_util::FutureExt as _;

use super::super::{Batch, Error, KeyRange, Log, Order, Precondition, Rows};
use super::{Place, commit, everything, open, put, rows, scan, wait};
use crate::limits;

pub(super) fn a_batch_is_applied_in_order_and_read_back(place: &dyn Place) {
    let store = open(place);
    assert_eq!(store.get(b"a").expect("reads"), None);
    let mut batch = Batch::new();
    batch.put("a", "1").put("b", "1").delete("b").put("a", "2").delete("c").put("c", "3").put("empty", "");
    assert_eq!(commit(&store, batch).expect("commits"), 1);
    assert_eq!(everything(&store), rows(&[("a", "2"), ("c", "3"), ("empty", "")]));
    assert_eq!(commit(&store, Batch::new()).expect("commits"), 1, "an empty batch is fine");
    let mut batch = Batch::new();
    batch.delete("a").delete("never there");
    commit(&store, batch).expect("deleting needs no row");
    assert_eq!(store.get(b"a").expect("reads"), None);
}

pub(super) fn a_rejected_batch_changes_nothing(place: &dyn Place) {
    let store = open(place);
    put(&store, "taken", "by the first");
    let mut batch = Batch::new();
    batch.put("new", "x").append(Log::Events, "row");
    batch.require(Precondition::Absent(b"free".to_vec())).require(Precondition::Absent(b"taken".to_vec()));
    assert!(matches!(commit(&store, batch), Err(Error::Precondition { .. })));
    assert_eq!(everything(&store), rows(&[("taken", "by the first")]));
    let mut batch = Batch::new();
    batch.append(Log::Events, "first");
    assert_eq!(commit(&store, batch).expect("commits"), 1, "the rejected batch used no number");
}

pub(super) fn a_precondition_sees_every_batch_before_it(place: &dyn Place) {
    let store = open(place);
    // Queued without waiting, so that a store that groups takes them into few groups.
    let claims: Vec<_> = (0..100)
        .map(|number: u32| {
            let mut batch = Batch::new();
            batch.require(Precondition::Absent(b"claim".to_vec())).put("claim", number.to_string());
            store.commit(batch)
        })
        .collect();
    let mut release = Batch::new();
    release.require(Precondition::Present(b"claim".to_vec())).delete("claim");
    let release = store.commit(release);
    let mut again = Batch::new();
    again.require(Precondition::Present(b"claim".to_vec())).put("never", "");
    let again = store.commit(again);
    for (number, claim) in claims.into_iter().enumerate() {
        match (number, wait(claim)) {
            (0, Ok(_)) => {}
            (1.., Err(Error::Precondition { key, existing })) => {
                assert_eq!((key.as_slice(), existing.as_deref()), (&b"claim"[..], Some(&b"0"[..])));
            }
            (_, other) => panic!("claim {number} answered {other:?}"),
        }
    }
    wait(release).expect("the claim was there");
    assert!(matches!(wait(again), Err(Error::Precondition { existing: None, .. })));
    assert_eq!(everything(&store), Rows::new());
}

pub(super) fn a_failed_precondition_answers_what_stands_there(place: &dyn Place) {
    let store = open(place);
    put(&store, "k", "value");
    let mut batch = Batch::new();
    batch.require(Precondition::Absent(b"k".to_vec()));
    let answer = wait(store.commit(batch));
    assert!(
        matches!(&answer, Err(Error::Precondition { existing: Some(value), .. }) if value == b"value"),
        "{answer:?}"
    );
    let mut batch = Batch::new();
    batch.require(Precondition::Present(b"other".to_vec()));
    let answer = wait(store.commit(batch));
    assert!(matches!(&answer, Err(Error::Precondition { existing: None, .. })), "{answer:?}");
    assert!(!answer.is_err_and(|error| error.is_retryable()));
}

pub(super) fn commits_take_effect_in_the_order_of_the_calls(place: &dyn Place) {
    let store = open(place);
    let mut commits: Vec<_> = (0..200u32)
        .map(|number| {
            let mut batch = Batch::new();
            batch.put("last", number.to_string()).append(Log::Outbox, number.to_string());
            store.commit(batch)
        })
        .collect();
    // Awaiting the last one first changes nothing.
    commits.reverse();
    for commit in commits {
        wait(commit).expect("commits");
    }
    assert_eq!(store.get(b"last").expect("reads").as_deref(), Some(&b"199"[..]));
    let logged = scan(&store, KeyRange::log(Log::Outbox), Order::Ascending, 1_000);
    assert_eq!(logged.len(), 200);
    for (index, (key, value)) in logged.into_iter().enumerate() {
        assert_eq!(Log::Outbox.seq(&key), Some(index as u64 + 1));
        assert_eq!(value, index.to_string().into_bytes());
    }
}

pub(super) fn a_dropped_future_commits_all_the_same(place: &dyn Place) {
    let store = open(place);
    let mut batch = Batch::new();
    batch.put("dropped", "but there");
    drop(store.commit(batch));
    put(&store, "barrier", "");
    assert!(store.get(b"dropped").expect("reads").is_some());
}

pub(super) fn what_is_durable_is_published(place: &dyn Place) {
    let store = open(place);
    let mut appended = store.appended();
    assert_eq!(*appended.borrow_and_update(), 0);
    put(&store, "no", "append");
    assert!(!appended.has_changed().expect("the store is open"));
    let mut batch = Batch::new();
    batch.append(Log::Events, "1").append(Log::Events, "2");
    commit(&store, batch).expect("commits");
    // Published before the future resolves: whoever knows of the commit finds its number here.
    assert_eq!(appended.changed().now_or_never().map(|changed| changed.is_ok()), Some(true));
    assert_eq!(*appended.borrow_and_update(), 2);
}

pub(super) fn reserved_and_oversized_keys_are_refused(place: &dyn Place) {
    let store = open(place);
    put(&store, "before", "");
    let longest = vec![b'k'; limits::STORE_KEY_BYTES_MAX];
    let mut too_long = longest.clone();
    too_long.push(b'k');
    for key in [Vec::new(), vec![0], b"\0sequence".to_vec(), too_long] {
        let mut puts = Batch::new();
        puts.put("beside", "").put(key.clone(), "");
        let mut deletes = Batch::new();
        deletes.put("beside", "").delete(key.clone());
        let mut requires = Batch::new();
        requires.put("beside", "").require(Precondition::Absent(key.clone()));
        for batch in [puts, deletes, requires] {
            assert!(matches!(commit(&store, batch), Err(Error::InvalidKey { .. })), "{}", key.escape_ascii());
        }
        assert_eq!(store.get(&key).expect("reads"), None);
    }
    store.health().expect("a wrong key is no fault of the store");
    assert_eq!(everything(&store), rows(&[("before", "")]), "and what the store keeps for itself is hidden");
    let mut batch = Batch::new();
    batch.put(longest.clone(), "fits");
    commit(&store, batch).expect("the longest key fits");
    assert_eq!(store.get(&longest).expect("reads").as_deref(), Some(&b"fits"[..]));
}

pub(super) fn a_log_row_can_be_replaced_but_not_invented(place: &dyn Place) {
    let store = open(place);
    let mut batch = Batch::new();
    batch.append(Log::Outbox, "first try");
    commit(&store, batch).expect("commits");
    let mut batch = Batch::new();
    batch.put(Log::Outbox.key(1), "second try");
    commit(&store, batch).expect("the row exists");
    assert_eq!(store.get(&Log::Outbox.key(1)).expect("reads").as_deref(), Some(&b"second try"[..]));
    for key in [Log::Outbox.key(2), Log::Events.key(u64::MAX), b"o/x".to_vec(), b"e/".to_vec()] {
        let mut batch = Batch::new();
        batch.put(key, "");
        assert!(matches!(commit(&store, batch), Err(Error::InvalidKey { .. })));
    }
}
