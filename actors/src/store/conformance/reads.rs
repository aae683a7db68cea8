//! Checks of what is read: ranges, the order of keys, large values, and reading while others write.

use std::thread;

use super::super::{Batch, Key, KeyRange, Log, Order, Rows};
use super::{Place, commit, everything, open, scan};

pub(super) fn scans_respect_bounds_order_and_limit(place: &dyn Place) {
    let store = open(place);
    assert_eq!(everything(&store), Rows::new());
    let mut batch = Batch::new();
    for key in ["a", "b", "b/1", "b/2", "b/3", "b/30", "b0", "c"] {
        batch.put(key, key);
    }
    commit(&store, batch).expect("commits");
    let keys = |range: KeyRange, order: Order, limit: usize| -> Vec<String> {
        let rows = scan(&store, range, order, limit);
        rows.into_iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect()
    };
    let all = || KeyRange::prefix("");
    let prefix = || KeyRange::prefix("b/");
    assert_eq!(keys(all(), Order::Ascending, usize::MAX).len(), 8);
    assert_eq!(keys(all(), Order::Descending, 2), ["c", "b0"]);
    assert_eq!(keys(prefix(), Order::Ascending, 10), ["b/1", "b/2", "b/3", "b/30"]);
    assert_eq!(keys(prefix(), Order::Descending, 3), ["b/30", "b/3", "b/2"]);
    assert_eq!(keys(prefix(), Order::Ascending, 0), [""; 0]);
    assert_eq!(keys(prefix().after(b"b/2"), Order::Ascending, 10), ["b/3", "b/30"]);
    assert_eq!(keys(prefix().after(b"b/2"), Order::Descending, 10), ["b/30", "b/3"]);
    assert_eq!(keys(prefix().before(b"b/3"), Order::Descending, 10), ["b/2", "b/1"]);
    assert_eq!(keys(prefix().before(b"b/3"), Order::Ascending, 10), ["b/1", "b/2"]);
    assert_eq!(keys(prefix().after(b"a"), Order::Ascending, 1), ["b/1"], "a bound outside changes nothing");
    assert_eq!(keys(prefix().before(b"c"), Order::Descending, 1), ["b/30"]);
    assert_eq!(keys(prefix().after(b"b/1").before(b"b/2"), Order::Ascending, 10), [""; 0]);
    assert_eq!(keys(prefix().after(b"b/3").before(b"b/1"), Order::Ascending, 10), [""; 0], "inverted");
    assert_eq!(keys(prefix().after(b"z"), Order::Descending, 10), [""; 0]);
    assert_eq!(keys(KeyRange::prefix("nothing"), Order::Ascending, 10), [""; 0]);
}

pub(super) fn ranges_are_read_together(place: &dyn Place) {
    let store = open(place);
    let mut batch = Batch::new();
    for key in ["a/1", "a/2", "a/3", "b/1", "c/1"] {
        batch.put(key, key);
    }
    commit(&store, batch).expect("commits");
    let keys = |ranges: Vec<KeyRange>, order: Order, limit: usize| -> Vec<Vec<String>> {
        let pages = store.scan_all(ranges, order, limit).expect("scans");
        let text = |(key, _): (Key, _)| String::from_utf8_lossy(&key).into_owned();
        pages.into_iter().map(|rows| rows.into_iter().map(text).collect()).collect()
    };
    let ranges = || vec![KeyRange::prefix("c/"), KeyRange::prefix("a/"), KeyRange::prefix("nothing")];
    assert_eq!(keys(ranges(), Order::Ascending, 2), [vec!["c/1"], vec!["a/1", "a/2"], vec![]]);
    assert_eq!(keys(ranges(), Order::Descending, 2), [vec!["c/1"], vec!["a/3", "a/2"], vec![]]);
    let inverted = KeyRange::prefix("a/").after(b"a/3").before(b"a/2");
    assert_eq!(keys(vec![inverted, KeyRange::prefix("b/")], Order::Ascending, 9), [vec![], vec!["b/1"]]);
    assert_eq!(keys(vec![], Order::Ascending, 9), [[""; 0]; 0]);
}

pub(super) fn what_moves_is_in_one_of_the_ranges(place: &dyn Place) {
    const MOVES: usize = 300;
    let (store, places) = (open(place), ["one/", "two/", "three/"]);
    let move_to = |turn: usize| {
        let mut batch = Batch::new();
        for (number, padding) in [(0, 10), (1, 40_000)] {
            let key = |turn: usize| format!("{}{number}", places[(turn + number) % places.len()]);
            batch.delete(key(turn)).put(key(turn + 1), vec![number as u8; padding]);
        }
        commit(&store, batch).expect("commits");
    };
    move_to(0);
    thread::scope(|scope| {
        let writer = scope.spawn(|| (1..=MOVES).for_each(move_to));
        let mut reads = 0;
        while !writer.is_finished() || reads < 10 {
            let ranges = places.iter().map(|place| KeyRange::prefix(*place)).collect();
            let rows = store.scan_all(ranges, Order::Descending, 8).expect("scans");
            let mut found: Vec<u8> = rows.iter().flatten().map(|(_, value)| value[0]).collect();
            found.sort_unstable();
            assert_eq!(found, [0, 1], "after {reads} reads");
            reads += 1;
        }
        writer.join().expect("the writer panicked");
    });
}

pub(super) fn keys_of_all_bytes_keep_their_order(place: &dyn Place) {
    let store = open(place);
    let mut keys: Vec<Key> = (1..=255u8).map(|byte| vec![byte]).collect();
    keys.extend([vec![1, 0], vec![0x7f, 0xff], vec![0xff, 0], vec![0xff, 0xff], vec![0xff, 0xff, 0xff]]);
    let mut batch = Batch::new();
    for key in &keys {
        batch.put(key.clone(), key.clone());
    }
    commit(&store, batch).expect("commits");
    keys.sort();
    let found: Vec<Key> = everything(&store).into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, keys);
    let found = scan(&store, KeyRange::prefix([0xff]), Order::Ascending, 10);
    assert_eq!(found.len(), 4, "0xff, and what begins with it");
    let found = scan(&store, KeyRange::prefix([0xff, 0xff]).after(&[0xff, 0xff]), Order::Descending, 10);
    assert_eq!(found, [(vec![0xff; 3], vec![0xff; 3])]);
    assert_eq!(scan(&store, KeyRange::prefix([0x7f, 0xff]), Order::Ascending, 10).len(), 1);
}

pub(super) fn large_values_come_and_go(place: &dyn Place) {
    let large = |seed: u32, bytes: usize| -> Vec<u8> {
        (0..bytes).map(|index| (index as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) as u8).collect()
    };
    let sizes = [1 << 20, 16 * 1024, 16 * 1024 + 1, 32 * 1024, 3 << 20, 1, 200_000];
    let store = open(place);
    for (round, size) in (0u32..).zip(sizes) {
        let mut batch = Batch::new();
        batch.put("big", large(round, size)).put("bigger", large(round + 100, size)).put("small", "x");
        batch.append(Log::Events, large(round + 200, size));
        commit(&store, batch).expect("commits");
        assert_eq!(store.get(b"big").expect("reads"), Some(large(round, size)), "size {size}");
        let found = scan(&store, KeyRange::prefix("b"), Order::Ascending, 10);
        let expected =
            [(b"big".to_vec(), large(round, size)), (b"bigger".to_vec(), large(round + 100, size))];
        assert!(found == expected, "size {size}");
    }
    let mut batch = Batch::new();
    batch.delete("big").put("bigger", "now small");
    commit(&store, batch).expect("commits");
    store.close();
    let store = open(place);
    assert_eq!(store.get(b"big").expect("reads"), None);
    assert_eq!(store.get(b"bigger").expect("reads").as_deref(), Some(&b"now small"[..]));
    for (round, size) in (0u32..).zip(sizes) {
        let row = store.get(&Log::Events.key(u64::from(round) + 1)).expect("reads");
        assert!(row == Some(large(round + 200, size)), "size {size}");
    }
    assert_eq!(everything(&store).len(), 2 + sizes.len());
}

pub(super) fn readers_see_whole_values_while_they_change(place: &dyn Place) {
    const ROUNDS: u8 = 40;
    let store = open(place);
    let value = |round: u8| vec![round; if round.is_multiple_of(3) { 100 } else { 40_000 }];
    let write = |round: u8| {
        let mut batch = Batch::new();
        for key in 0..20 {
            batch.put(format!("stable/{key:02}"), value(round));
            // Neighbours that come and go make the database move the stable rows about.
            let key = format!("stable/{key:02}/{}", round / 2);
            if round.is_multiple_of(2) {
                batch.put(key, "")
            } else {
                batch.delete(key)
            };
        }
        commit(&store, batch).expect("commits");
    };
    write(0);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while seen < ROUNDS {
                for order in [Order::Ascending, Order::Descending] {
                    let found = scan(&store, KeyRange::prefix("stable/"), order, usize::MAX);
                    let stable: Vec<_> = found.iter().filter(|(key, _)| key.len() == 9).collect();
                    assert_eq!(stable.len(), 20, "{order:?}");
                    for (key, found) in stable {
                        let round = found.first().copied().expect("no value is empty");
                        assert!(*found == value(round), "{} is torn", key.escape_ascii());
                    }
                }
                let last = store.get(b"stable/19").expect("reads").expect("is there");
                assert!(last[0] >= seen, "reads went back from {seen} to {}", last[0]);
                seen = last[0];
            }
        });
        (1..=ROUNDS).for_each(write);
        reader.join().expect("the reader panicked");
    });
}
