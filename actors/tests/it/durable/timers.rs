//! One armed deadline per machine, fired once, on time, across restarts and clock jumps.

use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::clock::{Clock, ManualClock, Timestamp};
use dogwatch_actors::durable::keys;
#[cfg(feature = "fault-points")]
use dogwatch_actors::durable::shell::Error;
use dogwatch_actors::store::memory::{Fault, MemoryStore};
use futures_util::future::join_all;

use super::bench::{Process, START, Settings, in_virtual_time};
use super::counter::{Counter, Event, Number};

fn after(millis: u64) -> Timestamp {
    START.after(Duration::from_millis(millis))
}

/// A counter with a deadline.
async fn due(process: &Process, id: u64, due: Timestamp) {
    process.apply(id, Event::Added(0)).await;
    process.apply(id, Event::DueSet(Some(due))).await;
}

#[test]
fn a_deadline_fires_once_and_on_time() {
    in_virtual_time(async || {
        let settings = Settings::new();
        let process = Process::start(Arc::new(MemoryStore::new()), settings.clone()).await;
        due(&process, 1, after(5_001)).await;
        process.until(1, |counter| counter.ticks == 1).await;
        let late = settings.clock.now().since(after(5_001));
        assert!(late <= Duration::from_millis(2), "{late:?}");
        assert_eq!(process.rows(&keys::timers()), []);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        process.settle().await;
        assert_eq!(process.read(1).map(|counter| counter.ticks), Some(1));
    });
}

#[test]
fn a_machine_has_one_armed_deadline_its_last() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        due(&process, 1, after(900_001)).await;
        for millis in [5_001, 700_001, 3_001] {
            process.apply(1, Event::DueSet(Some(after(millis)))).await;
            let armed = vec![(keys::timer::<Counter>(after(millis), Number(1)), vec![])];
            assert_eq!(process.rows(&keys::timers()), armed);
        }
        process.until(1, |counter| counter.ticks == 1).await;
        tokio::time::advance(Duration::from_secs(3_600)).await;
        process.settle().await;
        assert_eq!(process.read(1).map(|counter| counter.ticks), Some(1), "not at the others");
    });
}

#[test]
fn a_deadline_that_is_taken_back_does_not_fire() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        due(&process, 1, after(5_001)).await;
        process.apply(1, Event::DueSet(None)).await;
        assert_eq!(process.rows(&keys::timers()), []);
        tokio::time::advance(Duration::from_secs(60)).await;
        process.settle().await;
        assert_eq!(process.read(1).map(|counter| counter.ticks), Some(0));
    });
}

#[test]
fn a_deadline_that_comes_among_others_which_were_read_ahead_is_on_time_as_they_are() {
    in_virtual_time(async || {
        let settings = Settings::new();
        let process = Process::start(Arc::new(MemoryStore::new()), settings.clone()).await;
        due(&process, 1, after(100)).await;
        due(&process, 2, after(900)).await;
        due(&process, 3, after(950)).await;
        process.until(1, |counter| counter.ticks == 1).await;
        // All three have been read. One comes between, one moves up, and one is taken back.
        due(&process, 4, after(500)).await;
        process.apply(2, Event::DueSet(Some(after(400)))).await;
        process.apply(3, Event::DueSet(None)).await;
        for (id, millis) in [(2, 400), (4, 500)] {
            process.until(id, |counter| counter.ticks == 1).await;
            let late = settings.clock.now().since(after(millis));
            assert!(late <= Duration::from_millis(2), "{id}: {late:?}");
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        process.settle().await;
        let ticks = [1, 2, 3, 4].map(|id| process.read(id).map(|counter| counter.ticks));
        assert_eq!(ticks, [Some(1), Some(1), Some(0), Some(1)]);
    });
}

#[cfg(feature = "fault-points")]
#[test]
fn a_deadline_fires_whose_actor_died_before_it_could_tell_of_it() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(1, Event::Added(0)).await;
        dogwatch_actors::fault::arm("timer:armed=panic").unwrap();
        let answer = process.deliver(1, Event::DueSet(Some(after(5_001)))).await;
        assert!(matches!(answer, Err(Error::Lost)), "{answer:?}");
        process.until(1, |counter| counter.ticks == 1).await;
        dogwatch_actors::fault::disarm();
    });
}

#[test]
fn an_earlier_deadline_is_not_kept_waiting_by_a_later_one() {
    in_virtual_time(async || {
        let settings = Settings::new();
        let process = Process::start(Arc::new(MemoryStore::new()), settings.clone()).await;
        due(&process, 1, after(86_400_001)).await;
        process.settle().await;
        due(&process, 2, after(1_501)).await;
        process.until(2, |counter| counter.ticks == 1).await;
        assert!(settings.clock.now() < after(1_510));
    });
}

#[test]
fn a_repeated_deadline_fires_each_time() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        let full_minute = Timestamp::from_millis((START.as_millis() / 60_000 + 1) * 60_000);
        due(&process, 1, full_minute).await;
        process.until(1, |counter| counter.ticks == 5).await;
    });
}

#[test]
fn deadlines_survive_a_restart() {
    in_virtual_time(async || {
        let (store, process) = Process::on_memory().await;
        due(&process, 1, after(5_001)).await;
        due(&process, 2, after(600_001)).await;
        drop(process);
        tokio::time::advance(Duration::from_secs(60)).await;
        let clock = Arc::new(dogwatch_actors::clock::TokioClock::starting_at(after(60_000)));
        let settings = Settings { clock: clock.clone(), ..Settings::new() };
        let process = Process::start(Arc::new(store.crash()), settings).await;
        process.until(1, |counter| counter.ticks == 1).await;
        assert!(clock.now() < after(60_100), "one that passed meanwhile fires at once");
        process.until(2, |counter| counter.ticks == 1).await;
        assert!((after(600_001)..after(600_100)).contains(&clock.now()));
    });
}

#[test]
fn a_tick_that_was_committed_but_not_answered_does_not_fire_again() {
    in_virtual_time(async || {
        for (fault, before) in [(Fault::KeepThenFreeze, 1), (Fault::Freeze, 0)] {
            let (store, process) = Process::on_memory().await;
            due(&process, 1, after(5_001)).await;
            store.inject(1, fault);
            tokio::time::advance(Duration::from_secs(10)).await;
            process.settle().await;
            let store = Arc::new(store.crash());
            drop(process);
            assert_eq!(
                super::bench::load(store.as_ref(), Number(1)).map(|counter| counter.ticks),
                Some(before)
            );
            let process =
                Process::start(store, Settings { clock: clock_at(after(20_000)), ..Settings::new() }).await;
            process.until(1, |counter| counter.ticks == 1).await;
            tokio::time::advance(Duration::from_secs(60)).await;
            process.settle().await;
            assert_eq!(process.read(1).map(|counter| counter.ticks), Some(1));
        }
    });
}

fn clock_at(now: Timestamp) -> Arc<dyn Clock> {
    Arc::new(dogwatch_actors::clock::TokioClock::starting_at(now))
}

#[test]
fn a_wall_clock_that_jumps_takes_the_deadlines_along() {
    in_virtual_time(async || {
        let clock = Arc::new(ManualClock::starting_at(START));
        let settings = Settings { clock: Arc::<ManualClock>::clone(&clock), ..Settings::new() };
        let process = Process::start(Arc::new(MemoryStore::new()), settings).await;
        due(&process, 1, after(3_600_001)).await;
        tokio::time::advance(Duration::from_secs(7_200)).await;
        process.settle().await;
        assert_eq!(process.read(1).map(|counter| counter.ticks), Some(0), "the wall clock stood still");
        clock.set(after(3_600_000));
        tokio::time::advance(Duration::from_secs(5)).await;
        process.settle().await;
        assert_eq!(process.read(1).map(|counter| counter.ticks), Some(0));
        clock.set(after(3_700_000));
        let jumped = tokio::time::Instant::now();
        process.until(1, |counter| counter.ticks == 1).await;
        assert!(jumped.elapsed() < Duration::from_secs(5), "a jump is noticed soon");
        clock.set(START);
        tokio::time::advance(Duration::from_secs(7_200)).await;
        clock.set(after(3_700_000));
        process.settle().await;
        assert_eq!(process.read(1).map(|counter| counter.ticks), Some(1), "once, whatever the clock does");
    });
}

#[test]
fn thousands_of_deadlines_fire_at_the_same_moment() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        let many = 6_000;
        join_all((0..many).map(|id| due(&process, id, after(5_001)))).await;
        process.until(many - 1, |counter| counter.ticks == 1).await;
        join_all((0..many).map(|id| process.until(id, |counter| counter.ticks == 1))).await;
        assert_eq!(process.rows(&keys::timers()), []);
    });
}

#[test]
fn machines_with_many_deadlines_are_in_memory_before_their_time() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        let many = 3_000;
        join_all((0..many).map(|id| due(&process, id, after(5_001)))).await;
        join_all((0..many).map(|id| process.apply(id, Event::LiveSet(false)))).await;
        // A number that never comes is a test that hangs, and is ended as such; the time stands still meanwhile.
        let in_memory = async |wanted: usize| {
            while process.host.published().in_memory() != wanted {
                tokio::task::yield_now().await;
            }
        };
        in_memory(0).await;
        tokio::time::advance(Duration::from_millis(4_000)).await;
        in_memory(3_000).await;
        assert_eq!(process.read(0).map(|counter| counter.ticks), Some(0), "before its time");
        join_all((0..many).map(|id| process.until(id, |counter| counter.ticks == 1))).await;
        assert_eq!(process.rows(&keys::timers()), []);
    });
}

#[test]
fn many_deadlines_fire_each_once_among_those_that_come_and_move_after_they_were_read() {
    in_virtual_time(async || {
        let settings = Settings::new();
        let process = Process::start(Arc::new(MemoryStore::new()), settings.clone()).await;
        let many = 3_000;
        join_all((0..many).map(|id| due(&process, id, after(5_001 + id % 900)))).await;
        tokio::time::advance(Duration::from_millis(4_500)).await;
        process.settle().await;
        // All have been read. Every tenth moves up, and as many come between.
        for id in (0..many).step_by(10) {
            let at = after(5_003 + id % 700);
            process.apply(id, Event::DueSet(Some(at))).await;
            due(&process, many + id, at).await;
        }
        let all = (0..many).chain((0..many).step_by(10).map(|id| many + id));
        join_all(all.clone().map(|id| process.until(id, |counter| counter.ticks == 1))).await;
        assert!(settings.clock.now() <= after(5_910), "{:?}", settings.clock.now());
        tokio::time::advance(Duration::from_secs(60)).await;
        process.settle().await;
        let ticks: Vec<_> = all.map(|id| process.read(id).map(|counter| counter.ticks)).collect();
        assert!(ticks.iter().all(|ticks| *ticks == Some(1)), "{ticks:?}");
    });
}

#[test]
fn a_timer_of_nothing_is_dropped() {
    in_virtual_time(async || {
        let store = Arc::new(MemoryStore::new());
        let mut batch = dogwatch_actors::store::Batch::new();
        batch.put(keys::timer::<Counter>(START, Number(9)), "");
        dogwatch_actors::store::Store::commit(store.as_ref(), batch).await.unwrap();
        let process = Process::start(store, Settings::new()).await;
        due(&process, 1, after(5_001)).await;
        process.until(1, |counter| counter.ticks == 1).await;
        assert_eq!(process.rows(&keys::timers()), []);
    });
}
