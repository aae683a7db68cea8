//! Commit, then reply, then perform; and what is not committed is neither.

use std::sync::Arc;

use dogwatch_actors::durable::batch::Terms;
use dogwatch_actors::durable::shell::Error;
use dogwatch_actors::durable::{Machine as _, MachineId as _, keys};
use dogwatch_actors::limits::DELIVERIES_IN_FLIGHT_MAX;
use dogwatch_actors::store;
use dogwatch_actors::store::memory::Fault;
use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::bench::{Process, Settings, in_virtual_time, load};
use super::counter::{Counter, Effect, Event, Number};

#[test]
fn an_effect_is_performed_when_its_state_is_durable() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        assert_eq!(process.apply(1, Event::Added(5)).await.count, 5);
        process.until_performed(|lines| lines.len() == 2).await;
        let lines = process.journal.lines.lock().clone();
        assert_eq!(lines.iter().map(|line| line.stored).collect::<Vec<_>>(), [Some(0), Some(5)]);
        assert_eq!(process.effects(1), [Effect::Say(0), Effect::Say(5)]);
    });
}

#[test]
fn nothing_is_answered_or_performed_before_the_commit() {
    in_virtual_time(async || {
        let (store, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        store.inject(1, Fault::Freeze);
        let mut answer = process.host.deliver(Number(1), Event::Added(5), Terms::default());
        process.settle().await;
        assert!((&mut answer).now_or_never().is_none(), "not answered");
        assert_eq!(process.effects(1), [Effect::Say(0)], "not performed");
        assert_eq!(process.read(1).map(|counter| counter.count), Some(0), "not shown");
    });
}

#[test]
fn a_commit_that_fails_is_answered_with_the_fault_and_performs_nothing() {
    in_virtual_time(async || {
        for (fault, after) in [
            (Fault::Fail(store::Error::Full("enospc".into())), 0),
            (Fault::FailButKeep(store::Error::Failed("eio".into())), 5),
        ] {
            let (store, process) = Process::on_memory().await;
            process.apply(1, Event::Opened).await;
            store.inject(1, fault);
            let answer = process.deliver(1, Event::Added(5)).await;
            assert!(matches!(answer, Err(Error::Store(_))), "{answer:?}");
            process.settle().await;
            assert_eq!(process.effects(1), [Effect::Say(0)]);
            assert_eq!(process.read(1).map(|counter| counter.count), Some(0));
            let again = process.deliver(1, Event::Added(5)).await;
            assert!(matches!(again, Err(Error::Store(_))), "a failed store takes nothing more");
            let process = Process::start(Arc::new(store.crash()), Settings::new()).await;
            assert_eq!(process.read(1).map(|counter| counter.count), Some(after), "as the disk has it");
        }
    });
}

#[test]
fn a_fault_in_an_effect_does_not_swallow_the_answer() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        assert_eq!(process.apply(1, Event::Fumbled).await.count, 1);
        assert_eq!(process.apply(1, Event::Added(1)).await.count, 2, "and it goes on from there");
        assert_eq!(process.effects(1), [Effect::Say(0), Effect::Resume(1), Effect::Say(2)]);
    });
}

#[test]
fn events_are_applied_in_the_order_of_their_delivery() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        let answers = join_all((0..500).map(|_| process.deliver(1, Event::Added(1)))).await;
        let counts: Vec<u64> =
            answers.into_iter().map(|answer| answer.unwrap().state.unwrap().count).collect();
        assert_eq!(counts, (1..=500).collect::<Vec<_>>());
        let said: Vec<Effect> = (0..=500).map(Effect::Say).collect();
        process.until_performed(|lines| lines.len() == 501).await;
        assert_eq!(process.effects(1), said);
    });
}

#[test]
fn what_is_refused_is_not_committed() {
    in_virtual_time(async || {
        let (store, process) = Process::on_memory().await;
        assert!(matches!(process.deliver(1, Event::Refused).await, Err(Error::Missing)));
        process.apply(1, Event::Opened).await;
        let commits = store.commits();
        assert!(matches!(process.deliver(1, Event::Refused).await, Err(Error::Rejected(_))));
        process.apply(1, Event::Asked).await;
        assert_eq!(store.commits(), commits, "nor is what changes nothing");
        assert_eq!(
            process.effects(1),
            [Effect::Say(0), Effect::Say(0)],
            "its effects are performed all the same"
        );
    });
}

#[test]
fn a_claimed_key_is_taken_once() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        let claim =
            |value: &str| Terms { claim: Some((b"i/key".to_vec(), value.into())), ..Terms::default() };
        let many = (1..=8).map(|id| process.host.deliver(Number(id), Event::Opened, claim(&id.to_string())));
        let answers = join_all(many).await;
        assert!(answers[0].is_ok());
        for (id, answer) in (2..).zip(&answers[1..]) {
            assert!(matches!(answer, Err(Error::Claimed(value)) if value == b"1"), "{id}: {answer:?}");
            assert_eq!(process.read(id), None);
        }
    });
}

#[test]
fn an_event_with_a_digest_is_applied_once_for_ever() {
    in_virtual_time(async || {
        let (store, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        let terms = || Terms { digest: Some(b"d1".to_vec()), ..Terms::default() };
        let many = (0..5).map(|_| process.host.deliver(Number(1), Event::Added(1), terms()));
        let fresh = join_all(many).await.iter().filter(|answer| !answer.as_ref().unwrap().duplicate).count();
        assert_eq!((fresh, process.read(1).unwrap().count), (1, 1));
        let process = Process::start(Arc::new(store.crash()), Settings::new()).await;
        let again = process.host.deliver(Number(1), Event::Added(1), terms()).await.unwrap();
        assert_eq!((again.duplicate, again.state.unwrap().count), (true, 1));
        let other = process.host.deliver(
            Number(1),
            Event::Refused,
            Terms { digest: Some(b"d2".to_vec()), ..Terms::default() },
        );
        assert!(other.await.is_err());
        let retried = Terms { digest: Some(b"d2".to_vec()), ..Terms::default() };
        let retried = process.host.deliver(Number(1), Event::Added(1), retried).await.unwrap();
        assert!(!retried.duplicate, "what was refused was not applied");
    });
}

#[test]
fn too_many_deliveries_are_refused() {
    in_virtual_time(async || {
        let (store, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        store.inject(1, Fault::Freeze);
        let waiting: Vec<_> = (0..DELIVERIES_IN_FLIGHT_MAX)
            .map(|_| process.host.deliver(Number(1), Event::Added(1), Terms::default()))
            .collect();
        assert_eq!(process.host.in_flight(), DELIVERIES_IN_FLIGHT_MAX);
        let refused = process.deliver(2, Event::Opened).await;
        assert!(matches!(refused, Err(Error::Overloaded)), "{refused:?}");
        drop(waiting);
        process.settle().await;
        assert!(process.host.in_flight() > 0, "dropping the future does not recall the event");
    });
}

#[test]
fn the_rows_of_a_machine_follow_its_state_and_go_with_it() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        // Its bytes occur in no other key.
        const ONE: u64 = 0x0123_4567_89ab_cdef;
        let (id, key) = (Number(ONE), Number(ONE).to_key());
        let claim = Terms { claim: Some((b"own/counter".to_vec(), vec![])), ..Terms::default() };
        process.host.deliver(id, Event::Opened, claim).await.unwrap();
        process.apply(ONE, Event::Added(1)).await;
        process.apply(ONE, Event::Noted).await;
        process.apply(ONE, Event::LiveSet(false)).await;
        assert_eq!(process.rows(&keys::all_live(Counter::KIND)).len(), 0);
        process.apply(ONE, Event::LiveSet(true)).await;
        let terms = Terms { digest: Some(b"d".to_vec()), ..Terms::default() };
        process.host.deliver(id, Event::Added(1), terms).await.unwrap();
        process.apply(ONE, Event::DueSet(Some(super::bench::START))).await;
        process.until(ONE, |counter| counter.ticks == 1).await;
        assert_eq!(process.rows(&keys::listed(Counter::KIND, b"odd")).len(), 1);
        assert_eq!(process.rows(&keys::listed(Counter::KIND, b"even")).len(), 0);
        assert_eq!(process.rows(&keys::all_live(Counter::KIND)).len(), 1);
        // One entry for each event but the one that is not recorded, numbered from 1.
        let history = process.rows(&keys::history::<Counter>(id));
        let numbers: Vec<_> = (1..=7).map(|revision| keys::history_entry::<Counter>(id, revision)).collect();
        assert_eq!(history.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), numbers);
        process.apply(2, Event::Opened).await;
        let closed = process.deliver(ONE, Event::Closed).await.unwrap();
        assert_eq!((closed.state, process.read(ONE)), (None, None));
        let left = process.rows(b"");
        let of_it =
            left.iter().filter(|(row, _)| !row.starts_with(b"e/") && row.windows(8).any(|part| part == key));
        assert_eq!(of_it.count(), 0);
        assert!(left.iter().all(|(row, _)| row != b"own/counter"));
        process.settle().await;
        assert_eq!(*process.journal.purged.lock(), [id]);
        assert!(load(process.store.as_ref(), Number(2)).is_some());
        process.apply(ONE, Event::Opened).await;
    });
}
