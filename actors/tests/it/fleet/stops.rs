//! Stopping attempts, at every point of their life.

use std::time::Duration;

use dogwatch_actors::fleet::Report;
use dogwatch_actors::job::spec::StopSignal;
use dogwatch_actors::runtime::Observation;
use tokio::time::Instant;

use super::engine::running;
use super::world::{key, world};
use super::{exit_code, seconds};

#[test]
fn a_stop_while_creating_means_never_started() {
    for hangs in ["create", "created"] {
        world(1, |world| async move {
            world.engine.fault(|faults| faults.hangs = [(hangs, key(1))].into());
            world.start(key(1));
            world.until("creating", |world| world.engine.calls("create", key(1)) == 1).await;
            world.pass(seconds(60)).await;
            let began = Instant::now();
            world.stop(key(1), 10);
            assert_eq!(world.hears_end(key(1)).await, Report::NeverStarted);
            assert!(began.elapsed() < seconds(1), "{hangs}: the creation was waited for");
            assert_eq!(world.engine.observation(key(1)), Observation::Absent, "{hangs}: it was undone");
            assert_eq!(world.engine.runs(key(1)), 0);
        });
    }
}

#[test]
fn a_stop_during_an_outage_waits_for_the_truth() {
    world(1, |world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.engine.fault(|faults| faults.down = true);
        world.stop(key(1), 10);
        world.pass(seconds(600)).await;
        assert!(!world.heard(key(1)).iter().any(Report::is_terminal));
        world.engine.fault(|faults| faults.down = false);
        assert_eq!(exit_code(&world.hears_end(key(1)).await), Some(143));
    });
}

#[test]
fn a_stop_that_is_ignored_ends_in_a_kill_after_its_grace() {
    world(1, |world| async move {
        world.engine.fault(|faults| faults.stubborn = true);
        world.start(key(1));
        world.hears_started(key(1)).await;
        let began = Instant::now();
        world.stop(key(1), 10);
        world.pass(seconds(5)).await;
        world.stop(key(1), 10);
        assert_eq!(exit_code(&world.hears_end(key(1)).await), Some(137));
        let took = began.elapsed();
        assert!((seconds(10)..seconds(11)).contains(&took), "the repetition prolonged the grace: {took:?}");
    });
}

#[test]
fn a_second_stop_shortens_the_grace() {
    world(1, |world| async move {
        world.engine.fault(|faults| faults.stubborn = true);
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.fleet.stop(key(1), StopSignal::Sigterm, Duration::MAX);
        world.pass(seconds(5)).await;
        let began = Instant::now();
        world.fleet.stop(key(1), StopSignal::Sigkill, Duration::ZERO);
        assert_eq!(exit_code(&world.hears_end(key(1)).await), Some(137));
        assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
    });
}

#[test]
fn a_stop_that_comes_before_its_attempt_is_driven_is_kept() {
    world(1, |world| async move {
        world.engine.set(key(1), running());
        world.stop(key(1), 10);
        world.pass(seconds(60)).await;
        assert_eq!(world.heard(key(1)), []);
        world.attach(key(1));
        assert_eq!(exit_code(&world.hears_end(key(1)).await), Some(143));
    });
}

#[test]
fn what_waits_for_a_slot_can_be_stopped() {
    world(1, |world| async move {
        world.request(key(1), 1);
        world.request(key(2), 2);
        world.request(key(3), 3);
        world.stop(key(2), 10);
        assert_eq!(world.hears_end(key(2)).await, Report::NeverStarted);
        world.stop(key(1), 10);
        assert_eq!(world.hears_end(key(1)).await, Report::NeverStarted);
        world.hears(key(3), "granted", |report| *report == Report::Granted).await;
        world.fleet.withdraw(key(1));
        world.fleet.discard(key(2));
        world.until("forgotten", |world| world.fleet.snapshot().ended == 0).await;
    });
}
