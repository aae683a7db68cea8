//! A panic harms one machine only, which goes on from its last commit; one that keeps panicking is quarantined.

use std::sync::Arc;

use dogwatch_actors::durable::shell::Error;
use dogwatch_actors::store::memory::MemoryStore;
use dogwatch_actors::supervise::Intensity;
use futures_util::future::join_all;

use super::bench::{Process, Settings, in_virtual_time};
use super::counter::{Effect, Event, Number};

fn cursed() -> Event {
    Event::Cursed("a bad rule".into())
}

#[test]
fn a_machine_goes_on_from_its_last_commit_and_the_others_do_not_notice() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        for id in 0..20 {
            process.apply(id, Event::Opened).await;
        }
        process.apply(7, Event::Added(5)).await;
        let (boom, behind) = (process.deliver(7, cursed()), process.deliver(7, Event::Added(1)));
        let (boom, behind, others) = futures_util::join!(
            boom,
            behind,
            join_all((0..20).filter(|id| *id != 7).map(|id| process.deliver(id, Event::Added(1))))
        );
        assert!(matches!(boom, Err(Error::Lost)), "{boom:?}");
        assert_eq!(
            behind.unwrap().state.unwrap().count,
            6,
            "from the last commit, and what was queued is handled"
        );
        assert!(others.into_iter().all(|answer| answer.unwrap().state.unwrap().count == 1));
        assert_eq!(process.effects(7), [Effect::Say(0), Effect::Say(5), Effect::Resume(5), Effect::Say(6)]);
        for id in (0..20).filter(|id| *id != 7) {
            assert_eq!(process.effects(id), [Effect::Say(0), Effect::Say(1)], "{id} was not started again");
        }
        assert_eq!(process.host.in_flight(), 0, "no admission leaks");
    });
}

#[test]
fn a_machine_that_keeps_panicking_is_quarantined_with_the_reason() {
    in_virtual_time(async || {
        let (store, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        process.apply(2, Event::Opened).await;
        for _ in 0..=Intensity::default().restarts_max {
            assert!(process.deliver(1, cursed()).await.is_err());
        }
        let counter = process.until(1, |counter| counter.quarantined.is_some()).await;
        assert_eq!(counter.quarantined.as_deref(), Some("a bad rule"));
        assert_eq!(process.apply(1, Event::Added(3)).await.count, 3, "it still answers");
        assert_eq!(process.read(2).map(|counter| counter.quarantined.clone()), Some(None));
        let process = Process::start(Arc::new(store.crash()), Settings::new()).await;
        assert!(process.read(1).is_some_and(|counter| counter.quarantined.is_some()), "and it is durable");
    });
}

#[test]
fn a_machine_whose_resuming_panics_is_quarantined_without_resuming() {
    in_virtual_time(async || {
        let (store, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        drop(process);
        let settings = Settings { curse: Some((Number(1), u32::MAX)), ..Settings::new() };
        let process = Process::start(Arc::new(store.crash()), settings).await;
        process.recover().await;
        let counter = process.until(1, |counter| counter.quarantined.is_some()).await;
        assert_eq!(counter.quarantined.as_deref(), Some("cursed at the start"));
        assert_eq!(process.apply(1, Event::Added(1)).await.count, 1);
    });
}

#[test]
fn panics_at_the_start_that_pass_do_not_lose_the_resuming() {
    in_virtual_time(async || {
        let (store, process) = Process::on_memory().await;
        process.apply(1, Event::Added(4)).await;
        drop(process);
        let settings = Settings { curse: Some((Number(1), 3)), ..Settings::new() };
        let process = Process::start(Arc::new(store.crash()), settings).await;
        process.recover().await;
        assert_eq!(process.effects(1), [Effect::Resume(4)]);
        assert_eq!(process.read(1).and_then(|counter| counter.quarantined.clone()), None);
    });
}

#[test]
fn a_machine_that_cannot_even_be_quarantined_is_parked() {
    in_virtual_time(async || {
        let (store, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        process.apply(1, Event::CursedForEver).await;
        for _ in 0..=Intensity::default().restarts_max {
            assert!(process.deliver(1, cursed()).await.is_err());
        }
        // The quarantine panics too; after that every panic counts against the last chance.
        let mut answers = Vec::new();
        while !matches!(answers.last(), Some(Err(Error::Parked(_)))) {
            assert!(answers.len() < 20, "{answers:?}");
            answers.push(process.deliver(1, cursed()).await);
        }
        let Some(Err(Error::Parked(reason))) = answers.last() else { panic!("parked") };
        assert_eq!(reason, "a bad rule");
        assert!(matches!(process.deliver(1, Event::Added(1)).await, Err(Error::Parked(_))));
        assert_eq!(process.read(1).map(|counter| counter.count), Some(0), "it can still be read");
        assert_eq!(process.apply(2, Event::Added(1)).await.count, 1);
        let process = Process::start(Arc::new(store.crash()), Settings::new()).await;
        assert_eq!(process.apply(1, Event::Added(1)).await.count, 1, "the next start tries again");
    });
}

#[test]
fn a_parked_machine_is_released_by_whoever_wants_it_tried_again() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        process.apply(1, Event::CursedForEver).await;
        while !matches!(process.deliver(1, cursed()).await, Err(Error::Parked(_))) {}
        assert!(matches!(process.deliver(1, Event::Added(1)).await, Err(Error::Parked(_))));
        assert!(process.deliver(1, Event::Released).await.is_ok());
        assert_eq!(process.apply(1, Event::Added(1)).await.count, 1);
        // An actor as any other: it resumes after a panic, and has its whole budget again.
        let before = process.effects(1).len();
        for _ in 0..Intensity::default().restarts_max {
            assert!(process.deliver(1, cursed()).await.is_err());
        }
        assert_eq!(process.apply(1, Event::Added(1)).await.count, 2);
        let resumed = process.effects(1)[before..].iter().filter(|it| **it == Effect::Resume(1)).count();
        assert!(resumed >= 1, "{:?}", process.effects(1));
        assert_eq!(process.read(1).and_then(|counter| counter.quarantined.clone()), None);
    });
}

#[test]
fn a_stored_machine_that_cannot_be_read_is_an_error_and_is_left_alone() {
    in_virtual_time(async || {
        let store = Arc::new(MemoryStore::new());
        let mut batch = dogwatch_actors::store::Batch::new();
        let key = dogwatch_actors::durable::keys::snapshot::<super::counter::Counter>(Number(1));
        batch.put(key.clone(), "damaged");
        dogwatch_actors::store::Store::commit(store.as_ref(), batch).await.unwrap();
        let process = Process::start(store, Settings::new()).await;
        for event in [Event::Added(1), Event::Opened] {
            let answer = process.deliver(1, event).await;
            assert!(
                matches!(answer, Err(Error::Store(dogwatch_actors::store::Error::Corrupt(_)))),
                "{answer:?}"
            );
        }
        assert_eq!(process.rows(&key), [(key.clone(), b"damaged".to_vec())]);
        assert_eq!(process.apply(2, Event::Added(1)).await.count, 1);
    });
}
