//! The process dies at every commit in every way; on sled it is started again on the same files.

use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::clock::{Clock as _, SystemClock};
use dogwatch_actors::durable::keys;
use dogwatch_actors::store::memory::Fault;
use dogwatch_actors::store::{self, Error, Kind};

use super::bench::{PATIENCE, Process, Settings, in_real_time, in_virtual_time, load};
use super::counter::{Counter, Effect, Event, Number};

#[test]
fn what_was_committed_before_a_crash_is_resumed_after_it() {
    in_virtual_time(async || {
        let (store, process) = Process::on_memory().await;
        process.apply(1, Event::Opened).await;
        store.inject(1, Fault::KeepThenFreeze);
        drop(process.deliver(1, Event::Added(5)));
        process.settle().await;
        assert_eq!(process.effects(1), [Effect::Say(0)], "committed, and not performed");
        let store = Arc::new(store.crash());
        drop(process);
        let process = Process::start(store, Settings::new()).await;
        process.recover().await;
        assert_eq!(process.effects(1), [Effect::Resume(5)]);
    });
}

#[test]
fn only_what_is_live_is_brought_back() {
    in_virtual_time(async || {
        let (store, process) = Process::on_memory().await;
        for id in 0..6 {
            process.apply(id, Event::Added(id)).await;
        }
        process.apply(4, Event::LiveSet(false)).await;
        let store = Arc::new(store.crash());
        drop(process);
        let process = Process::start(store, Settings::new()).await;
        process.recover().await;
        assert_eq!(process.host.published().in_memory(), 5);
        assert_eq!(process.effects(4), []);
    });
}

/// At every commit, in every way: what was answered is there, nothing is there that was not asked for, and it
/// goes on.
#[test]
fn an_answer_is_a_promise_wherever_the_process_dies() {
    in_virtual_time(async || {
        for fault in [
            Fault::Freeze,
            Fault::KeepThenFreeze,
            Fault::Fail(Error::Full("enospc".into())),
            Fault::FailButKeep(Error::Failed("eio".into())),
        ] {
            for nth in 1..=8 {
                let (store, process) = Process::on_memory().await;
                process.apply(1, Event::Opened).await;
                store.inject(nth, fault.clone());
                let mut answered = 0;
                for _ in 0..8 {
                    let delivery = process.deliver(1, Event::Added(1));
                    match tokio::time::timeout(Duration::from_secs(1), delivery).await {
                        Ok(Ok(receipt)) => answered = receipt.state.unwrap().count,
                        Ok(Err(_)) | Err(_) => break,
                    }
                }
                let performed = process.effects(1).len() as u64 - 1;
                assert_eq!(performed, answered, "performed is what was answered, no more");
                let store = Arc::new(store.crash());
                drop(process);
                let kept = load(store.as_ref(), Number(1)).unwrap().count;
                assert!(kept == answered || kept == answered + 1, "{answered} answered, {kept} kept");
                let process = Process::start(store, Settings::new()).await;
                process.recover().await;
                assert_eq!(process.effects(1), [Effect::Resume(kept)]);
                assert_eq!(process.apply(1, Event::Added(1)).await.count, kept + 1);
            }
        }
    });
}

fn settings() -> Settings {
    Settings { clock: Arc::new(SystemClock), ..Settings::new() }
}

#[test]
fn on_sled_everything_is_there_after_a_restart() {
    in_real_time(async || {
        let dir = tempfile::tempdir().unwrap();
        let open = || store::open(dir.path(), Kind::Sled).unwrap();
        let process = Process::start(open(), settings()).await;
        process.apply(1, Event::Opened).await;
        process.apply(2, Event::Opened).await;
        process.apply(1, Event::Sent(Number(2), vec![1, 2])).await;
        process.until(2, |counter| counter.received == [1, 2]).await;
        process.apply(1, Event::DueSet(Some(SystemClock.now().after(Duration::from_millis(30))))).await;
        process.until(1, |counter| counter.ticks == 1).await;
        process.apply(2, Event::DueSet(Some(SystemClock.now().after(PATIENCE * 60)))).await;
        assert!(process.deliver(1, Event::Cursed("a bad rule".into())).await.is_err());
        assert_eq!(process.apply(1, Event::Added(5)).await.count, 5);
        let lines = process.journal.lines.lock().clone();
        let behind = |line: &super::bench::Performed| match line.effect {
            Effect::Say(count) | Effect::Resume(count) => line.stored != Some(count),
            Effect::Panic => true,
        };
        assert!(!lines.iter().any(behind), "each effect was performed when its state was stored: {lines:?}");
        process.store.close();
        drop(process);

        let process = Process::start(open(), settings()).await;
        process.recover().await;
        assert_eq!(
            (process.effects(1), process.effects(2)),
            (vec![Effect::Resume(5)], vec![Effect::Resume(0)])
        );
        let due = process.read(2).unwrap().due.unwrap();
        assert_eq!(process.rows(&keys::timers()), [(keys::timer::<Counter>(due, Number(2)), vec![])]);
        process.apply(2, Event::DueSet(Some(SystemClock.now()))).await;
        process.until(2, |counter| counter.ticks == 1).await;
        process.store.close();
    });
}

#[test]
fn on_sled_a_closed_store_answers_an_error_and_performs_nothing() {
    in_real_time(async || {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start(store::open(dir.path(), Kind::Sled).unwrap(), settings()).await;
        process.apply(1, Event::Opened).await;
        process.store.close();
        assert!(process.deliver(1, Event::Added(1)).await.is_err());
        assert_eq!(process.effects(1), [Effect::Say(0)]);
    });
}
