//! Who has an entity for itself, and who has to wait.

use super::*;

fn request(section: &str, by: &str, set: &[&str], position: usize) -> Event {
    let set = set.iter().map(|text| id(text)).collect();
    let (section, owner) = (section.to_owned(), caller(by));
    Event::LockRequested(Box::new(LockRequest { section, set, position, owner, task: 1, rewinds: 0 }))
}

/// The request for this entity alone.
fn lock(section: &str, by: &str) -> Event {
    request(section, by, &["@counter@a"], 0)
}

fn unlock(section: &str, by: &str, follows: bool) -> Event {
    Event::Unlocked(Box::new(Unlock { section: section.to_owned(), owner: caller(by), follows }))
}

fn holder(one: &One) -> Option<&str> {
    one.state().lock.as_ref().map(|lock| lock.section.as_str())
}

#[test]
fn a_request_goes_from_one_to_the_next_and_the_last_one_tells_the_owner() {
    let set = ["@counter@a", "@counter@b"];
    let one = One::after([request("s", "i", &set, 0)]);
    assert_eq!((holder(&one), one.told()), (Some("s"), vec![("lock", "@counter@b".to_owned())]));
    assert_eq!(one.outbox[0].event["lock_requested"]["position"], 1);
    assert!(one.entries.is_empty(), "where nothing waits nothing need be kept");
    let one = One::after([request("s", "i", &set, 1)]);
    assert_eq!((holder(&one), one.told()), (Some("s"), vec![("granted", "i".to_owned())]));
}

#[test]
fn while_it_is_locked_only_its_owner_has_its_turn() {
    let mut one =
        One::after([lock("s", "i"), signal("1"), call("other", "2"), call("i", "own"), lock("t", "j")]);
    assert_eq!(one.runs_all(), ["own"]);
    assert_eq!(one.state().backlog(), 3);
    one.does(&call("i/2", "of another execution")).unwrap();
    one.does(&unlock("s", "i", false)).unwrap();
    assert_eq!(one.runs_all(), ["1", "2"], "everything else kept its place");
    assert_eq!(holder(&one), Some("t"));
    one.does(&unlock("t", "j", false)).unwrap();
    assert_eq!(one.runs_all(), ["of another execution"]);
}

#[test]
fn a_request_waits_for_what_was_there_before_it() {
    let mut one = One::after([signal("1"), lock("s", "i"), signal("2")]);
    let batch = one.batch().unwrap();
    assert_eq!((batch.operations.len(), holder(&one)), (1, None), "the batch ends before the request");
    one.does(&Event::BatchEnded(Box::new(end_of(&batch, 1.into())))).unwrap();
    assert_eq!((one.batch(), holder(&one)), (None, Some("s")));
}

#[test]
fn an_unlock_waits_for_what_its_owner_had_asked_before() {
    // Else whoever waits would see the entity as the owner did not leave it.
    let mut one = One::after([lock("s", "i"), lock("t", "j"), call("i", "1")]);
    let batch = one.batch().unwrap();
    one.does(&call("i", "2")).unwrap();
    one.does(&unlock("s", "i", false)).unwrap();
    one.does(&call("i", "behind")).unwrap();
    assert_eq!(holder(&one), Some("s"));
    one.does(&Event::BatchEnded(Box::new(end_of(&batch, 1.into())))).unwrap();
    assert_eq!(holder(&one), Some("s"));
    assert_eq!(one.runs_all(), ["2"]);
    assert_eq!(holder(&one), Some("t"), "what the owner asked behind it waits as everything does");
    one.does(&unlock("t", "j", false)).unwrap();
    assert_eq!(one.runs_all(), ["behind"]);
}

#[test]
fn what_the_owner_asked_behind_its_request_is_found_when_it_has_the_lock() {
    let mut one = One::after([
        lock("s", "i"),
        signal("x"),
        lock("t", "j"),
        call("j", "1"),
        signal("y"),
        call("other", "z"),
        call("j", "2"),
    ]);
    one.does(&unlock("s", "i", false)).unwrap();
    assert_eq!(one.runs_all(), ["x", "1", "2"]);
    assert_eq!(holder(&one), Some("t"));
    one.does(&unlock("t", "j", false)).unwrap();
    assert_eq!(one.runs_all(), ["y", "z"]);
}

#[test]
fn what_was_left_of_the_owner_is_found_when_it_has_the_lock_again() {
    let mut one = One::after([lock("s", "i"), lock("t", "i"), call("i", "1")]);
    let batch = one.batch().unwrap();
    one.does(&unlock("s", "i", false)).unwrap();
    one.does(&call("i", "behind")).unwrap();
    one.does(&Event::BatchEnded(Box::new(end_of(&batch, 1.into())))).unwrap();
    assert_eq!(one.runs_all(), ["behind"]);
    assert_eq!(holder(&one), Some("t"));
}

#[test]
fn a_lock_whose_owner_gave_up_waiting_goes_no_further_than_its_unlock() {
    let set = ["@counter@a", "@counter@b"];
    let mut one = One::after([lock("s", "i"), request("t", "j", &set, 0), signal("x")]);
    one.does(&unlock("t", "j", true)).unwrap();
    assert_eq!((holder(&one), one.outbox.len()), (Some("s"), 0));
    one.does(&unlock("s", "i", false)).unwrap();
    assert_eq!(one.runs_all(), ["x"]);
    let (b, next) = ("@counter@b".to_owned(), ["lock", "unlock"]);
    assert_eq!((holder(&one), one.told()), (None, next.map(|what| (what, b.clone())).to_vec()));
}

#[test]
fn an_unlock_that_follows_is_passed_on_where_the_request_was() {
    let set = ["@counter@a", "@counter@b"];
    // Whether it follows, whether it is this lock's, and what it does.
    for (event, is_released, told) in [
        (unlock("s", "i", true), true, vec![("unlock", "@counter@b".to_owned())]),
        (unlock("s", "i", false), true, vec![]),
        (unlock("s", "j", true), false, vec![]),
        (unlock("t", "i", true), false, vec![]),
        (unlock("s", "i/2", true), false, vec![]),
    ] {
        let mut one = One::after([request("s", "i", &set, 0)]);
        one.does(&event).unwrap();
        assert_eq!((holder(&one).is_none(), one.told()), (is_released, told), "{event:?}");
        assert_eq!(one.state().is_empty(), is_released);
    }
}

#[test]
fn an_unlock_of_another_section_of_the_same_owner_waits_behind_its_request() {
    let mut one =
        One::after([signal("1"), lock("s", "i"), lock("t", "i"), unlock("t", "i", true), signal("2")]);
    assert_eq!(one.runs(), ["1"]);
    assert_eq!((one.batch(), holder(&one)), (None, Some("s")));
    one.does(&unlock("s", "i", false)).unwrap();
    assert_eq!(one.runs_all(), ["2"]);
    assert_eq!(holder(&one), None, "and is not lost meanwhile");
}

#[test]
fn a_lock_can_be_taken_from_an_owner_that_is_gone() {
    let mut one =
        One::after([request("s", "i", &["@counter@a", "@counter@b"], 0), call("i", "own"), lock("t", "j")]);
    let gone = |section: &str| {
        Event::OwnerGone(Box::new(Unlock { section: section.to_owned(), owner: caller("i"), follows: true }))
    };
    let running = one.batch().unwrap();
    one.does(&gone("another")).unwrap();
    assert_eq!(holder(&one), Some("s"));
    one.does(&gone("s")).unwrap();
    assert_eq!((holder(&one), one.told()), (None, vec![("unlock", "@counter@b".to_owned())]));
    // What is being run of it goes on, and then the next one has its turn.
    one.does(&Event::BatchEnded(Box::new(end_of(&running, 1.into())))).unwrap();
    assert_eq!((one.runs_all(), holder(&one)), (vec![], Some("t")));
}

#[test]
fn what_is_told_of_an_old_look_changes_nothing() {
    let mut one = One::after([signal("1"), lock("s", "i"), call("i", "own")]);
    assert_eq!(one.runs(), ["1"]);
    let before = one.state().clone();
    assert!(before.is_running && before.lock.is_none());
    let Some(Entry::LockRequested(lock_request)) = one.entries.get(&2).cloned() else {
        panic!("{:?}", one.entries)
    };
    let unlock = Box::new(Unlock { section: "s".to_owned(), owner: caller("i"), follows: true });
    let (number, request) = (before.batch, lock_request);
    for (event, looks_again) in [
        (Event::LockReached { number: number - 1, entry: 2, request: request.clone() }, false),
        (Event::LockReached { number, entry: 3, request: request.clone() }, true),
        (Event::UnlockReached { number: number + 1, entry: 2, unlock: unlock.clone() }, false),
        (Event::UnlockReached { number, entry: 9, unlock }, true),
        (Event::OwnFound { number: number - 1, entries: vec![3] }, false),
    ] {
        one.does(&event).unwrap();
        assert_eq!(one.state(), &before, "{event:?}");
        assert_eq!(!one.effects.is_empty(), looks_again, "{event:?}");
    }
    one.does(&Event::LockReached { number, entry: 2, request: request.clone() }).unwrap();
    assert_eq!(holder(&one), Some("s"));
    let held = one.state().clone();
    one.does(&Event::LockReached { number, entry: 2, request }).unwrap();
    assert_eq!(one.state(), &held, "once");
    assert_eq!(one.runs_all(), ["own"]);
}
