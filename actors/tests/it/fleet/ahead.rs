//! Attempts that are prepared while every slot is taken: created, and started only with a slot.

use std::time::Duration;

use dogwatch_actors::fleet::{Ahead, Drive, Report};
use dogwatch_actors::limits::ATTEMPTS_AHEAD_MAX;
use dogwatch_actors::runtime::Observation;
use tokio::time::Instant;

use super::engine::running;
use super::world::{World, key, plan, world};

const AHEAD_MAX: u8 = ATTEMPTS_AHEAD_MAX as u8;

/// One attempt runs in the only slot, and so many others ask; those granted are driven.
async fn crowd(world: &World, others: u8) {
    world.request_ahead(key(1), 1, Ahead::Yes);
    world.hears(key(1), "granted", |report| *report == Report::Granted).await;
    world.start(key(1));
    world.hears_started(key(1)).await;
    for job in 2..others + 2 {
        world.request_ahead(key(job), job.into(), Ahead::Yes);
    }
    for job in 2..(AHEAD_MAX + 2).min(others + 2) {
        world.hears(key(job), "granted ahead", |report| *report == Report::GrantedAhead).await;
        world.start(key(job));
    }
    world.pass(Duration::from_secs(60)).await;
}

fn created(world: &World, jobs: impl IntoIterator<Item = u8>) -> bool {
    jobs.into_iter().all(|job| world.engine.observation(key(job)) == Observation::Created)
}

#[test]
fn the_next_few_are_created_and_none_is_started_before_it_has_a_slot() {
    world(1, |world| async move {
        crowd(&world, AHEAD_MAX + 2).await;
        assert!(created(&world, 2..AHEAD_MAX + 2));
        assert_eq!(world.heard(key(AHEAD_MAX + 2)), [], "no more are prepared than may be");
        let seen = world.fleet.snapshot();
        assert_eq!((seen.running, seen.slots_held, seen.waiting), (1, 1, usize::from(AHEAD_MAX) + 2));

        let ended = Instant::now();
        world.engine.exit(key(1), 0);
        world.until("the next one runs", |world| world.engine.runs(key(2)) == 1).await;
        let looks_every = Duration::from_millis(5);
        assert!(ended.elapsed() <= looks_every, "nothing stands between an end and the next start");
        world.hears(key(AHEAD_MAX + 2), "its turn", |report| *report == Report::GrantedAhead).await;
        world.pass(Duration::from_secs(60)).await;
        assert!(created(&world, 3..AHEAD_MAX + 2));
    });
}

#[test]
fn what_was_prepared_is_not_started_by_a_restart_while_the_slots_are_taken() {
    world(1, |mut world| async move {
        crowd(&world, 3).await;
        world.restart().await;
        world.attach(key(1));
        // The one was let start, as far as is durable, and the other not yet.
        world.fleet.drive(plan(key(2)), "fake".to_owned(), Drive::MayHaveStarted);
        world.start(key(3));
        world.hears_started(key(1)).await;
        world.pass(Duration::from_secs(60)).await;
        assert!(created(&world, [2, 3]), "{:?}", world.fleet.snapshot());
        assert_eq!(world.fleet.snapshot().slots_held, 1);
        world.engine.exit(key(1), 0);
        world.until("one of them runs", |world| world.engine.runs(key(2)) == 1).await;
        world.pass(Duration::from_secs(60)).await;
        assert_eq!(world.engine.runs(key(3)), 0);
        world.engine.exit(key(2), 0);
        world.until("and then the other", |world| world.engine.runs(key(3)) == 1).await;
    });
}

#[test]
fn one_that_may_not_go_ahead_waits_in_the_queue() {
    world(1, |world| async move {
        crowd(&world, 0).await;
        world.request_ahead(key(2), 2, Ahead::No);
        world.pass(Duration::from_secs(60)).await;
        assert_eq!(world.heard(key(2)), []);
        world.engine.exit(key(1), 0);
        world.hears(key(2), "granted", |report| *report == Report::Granted).await;
    });
}

#[test]
fn what_is_prepared_is_removed_when_it_is_stopped_and_seen_when_somebody_else_starts_it() {
    world(1, |world| async move {
        crowd(&world, 2).await;
        world.stop(key(2), 10);
        assert_eq!(world.hears_end(key(2)).await, Report::NeverStarted);
        assert_eq!((world.engine.runs(key(2)), world.fleet.snapshot().slots_held), (0, 1));
        world.engine.set(key(3), running());
        world.hears_started(key(3)).await;
        world.until("counted", |world| world.fleet.snapshot().slots_held == 2).await;
    });
}
