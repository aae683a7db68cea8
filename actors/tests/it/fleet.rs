//! The fleet over an engine in memory, in virtual time: its promises under lost replies, outages, restarts,
//! hangs and panics.

mod ahead;
mod engine;
mod faults;
mod stops;
mod world;

use std::time::Duration;

use dogwatch_actors::fleet::{Drive, Fleet, Report};
use dogwatch_actors::limits;
use dogwatch_actors::runtime::{Error, Observation, StartFault};
use tokio::time::Instant;

use self::engine::{Engine, exited, running};
use self::world::{key, plan, quiet, world};

fn exit_code(report: &Report) -> Option<i32> {
    match report {
        Report::Exited(exit) => exit.code,
        other => panic!("not an exit: {other:?}"),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_fresh_attempt_is_created_started_once_watched_and_removed_with_its_log_saved() {
    world(1, |world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.engine.print(key(1), "hello");
        world.until("saved so far", |world| world.log(key(1)) == ["hello"]).await;
        world.engine.print(key(1), "the last line");
        world.engine.exit(key(1), 3);
        assert_eq!(exit_code(&world.hears_end(key(1)).await), Some(3));
        world.fleet.discard(key(1));
        world.until("removed", |world| world.engine.observation(key(1)) == Observation::Absent).await;
        assert_eq!(world.log(key(1)), ["hello", "the last line"]);
        assert_eq!((world.engine.calls("create", key(1)), world.engine.runs(key(1))), (1, 1));
        world.until("forgotten", |world| world.fleet.snapshot().removing == 0).await;
    });
}

#[test]
fn an_attempt_that_vanishes_is_reported_and_not_created_again() {
    world(1, |world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.engine.vanish(key(1));
        assert_eq!(world.hears_end(key(1)).await, Report::Vanished);
        world.attach(key(2));
        assert_eq!(world.hears_end(key(2)).await, Report::Vanished);
        assert_eq!((world.engine.calls("create", key(1)), world.engine.calls("create", key(2))), (1, 0));
    });
}

#[test]
fn an_exit_while_nobody_watched_is_found_with_its_code() {
    for phase in [Drive::Start, Drive::Attach] {
        world(1, |world| async move {
            world.engine.set(key(1), exited(7));
            world.fleet.drive(plan(key(1)), "fake".to_owned(), phase);
            assert_eq!(exit_code(&world.hears_end(key(1)).await), Some(7));
            assert_eq!((world.engine.calls("create", key(1)), world.engine.runs(key(1))), (0, 0));
        });
    }
}

#[test]
fn twenty_attempts_are_attached_again_after_a_restart_and_none_is_started() {
    world(20, |mut world| async move {
        let keys = || (1..=20).map(key);
        for key in keys() {
            world.start(key);
        }
        world.until("all run", |world| world.fleet.snapshot().running == 20).await;
        world.budget.attempts_max = 4;
        world.restart().await;
        world.engine.exit(key(20), 5);
        for key in keys() {
            world.attach(key);
        }
        world.request(key(99), 1);
        world.until("attached", |world| world.fleet.snapshot().running == 19).await;
        assert_eq!(exit_code(&world.hears_end(key(20)).await), Some(5));
        for key in keys().take(19) {
            world.hears_started(key).await;
            assert_eq!((world.engine.runs(key), world.engine.calls("create", key)), (1, 1));
        }
        assert_eq!(world.heard(key(99)), [], "19 run on 4 slots, so nobody else may");
    });
}

#[test]
fn a_log_goes_on_after_a_restart_where_it_ended() {
    world(1, |mut world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.engine.print(key(1), "one");
        world.engine.print(key(1), "two");
        world.until("saved so far", |world| world.log(key(1)) == ["one", "two"]).await;
        world.restart().await;
        world.engine.print(key(1), "three");
        world.engine.exit(key(1), 0);
        world.attach(key(1));
        world.hears_end(key(1)).await;
        world.fleet.discard(key(1));
        world.until("removed", |world| world.engine.observation(key(1)) == Observation::Absent).await;
        assert_eq!(world.log(key(1)), ["one", "two", "three"]);
    });
}

#[test]
fn a_fleet_may_live_on_an_arbiter_of_its_own() {
    actix::System::new().block_on(async {
        let (engine, arbiter) = (Engine::new(), actix::Arbiter::new());
        let fleet = Fleet::start(quiet(&engine), Some(&arbiter.handle()));
        fleet.drive(plan(key(1)), "fake".to_owned(), Drive::Start);
        fleet.start(key(1));
        let mut view = fleet.watch();
        let runs = view.wait_for(|view| view.running == 1);
        assert!(tokio::time::timeout(seconds(30), runs).await.is_ok(), "{:?}", fleet.snapshot());
        assert_eq!(engine.runs(key(1)), 1);
        arbiter.stop();
    });
}

#[test]
fn remains_of_attempts_that_are_over_are_removed_and_nothing_else_is() {
    world(4, |world| async move {
        for (job, observation) in [(1, exited(0)), (2, Observation::Created), (3, running()), (4, running())]
        {
            world.engine.set(key(job), observation);
        }
        world.engine.print(key(1), "saved late");
        world.damage_ledger(true);
        for job in [1, 2, 3] {
            world.finish(key(job));
        }
        world.pass(limits::RECONCILE_EVERY * 3).await;
        for job in 1..=4 {
            assert_ne!(
                world.engine.observation(key(job)),
                Observation::Absent,
                "{job}: the ledger is silent"
            );
        }
        world.damage_ledger(false);
        world
            .until("removed", |world| {
                (1..=3).all(|job| world.engine.observation(key(job)) == Observation::Absent)
            })
            .await;
        assert_eq!(world.log(key(1)), ["saved late"]);
        world.pass(limits::RECONCILE_EVERY * 3).await;
        assert_eq!(world.engine.observation(key(4)), running(), "an active one waits for its job");
        assert_eq!(world.engine.calls("stop", key(4)), 0);
        assert_eq!(world.heard(key(4)), []);
    });
}

#[test]
fn a_slot_is_given_on_the_moment_an_exit_is_seen() {
    world(1, |world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        for (job, since) in [(3, 20), (2, 10)] {
            world.request(key(job), since);
        }
        world.pass(seconds(60)).await;
        assert_eq!((world.heard(key(2)), world.heard(key(3))), (vec![], vec![]));
        let ended = Instant::now();
        world.engine.exit(key(1), 0);
        world.hears(key(2), "granted", |report| *report == Report::Granted).await;
        assert_eq!(world.heard_at(key(2))[0].0, ended, "nothing stands between an end and the next start");
        assert_eq!(world.heard(key(3)), []);
        world.fleet.withdraw(key(2));
        world.hears(key(3), "granted", |report| *report == Report::Granted).await;
    });
}

#[test]
fn a_grant_is_repeated_for_a_job_that_asks_again_or_lost_it() {
    world(1, |world| async move {
        world.request(key(1), 1);
        world.hears(key(1), "granted", |report| *report == Report::Granted).await;
        world.request(key(1), 1);
        world.pass(Duration::from_millis(50)).await;
        assert_eq!(world.heard(key(1)), [Report::Granted, Report::Granted]);
        world.until("said again", |world| world.heard(key(1)).len() > 3).await;
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.forget_reports();
        world.pass(seconds(600)).await;
        assert_eq!(world.heard(key(1)), [], "a slot that is used is spoken of no more");
    });
}

#[test]
fn an_end_is_reported_until_it_is_discarded() {
    world(1, |world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.engine.exit(key(1), 1);
        world.until("five times", |world| world.heard(key(1)).len() > 5).await;
        let heard = world.heard_at(key(1));
        let pauses: Vec<Duration> = heard[1..].windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(pauses.is_sorted() && pauses.iter().all(|it| *it <= limits::REPORT_PAUSE_MAX), "{pauses:?}");
        assert_ne!(world.engine.observation(key(1)), Observation::Absent, "it is kept until it is recorded");
        assert_eq!(world.fleet.snapshot().slots_held, 0);
        world.fleet.discard(key(1));
        world.until("removed", |world| world.engine.observation(key(1)) == Observation::Absent).await;
        world.forget_reports();
        world.pass(seconds(3_600)).await;
        assert_eq!(world.heard(key(1)), []);
    });
}

#[test]
fn a_removal_is_tried_until_it_succeeds_and_what_was_discarded_stays_dead() {
    world(1, |world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.engine.fault(|faults| faults.removals = 5);
        world.fleet.discard(key(1));
        world.start(key(1));
        assert_eq!(world.hears_end(key(1)).await, Report::Vanished);
        world.until("removed", |world| world.engine.observation(key(1)) == Observation::Absent).await;
        assert_eq!(world.engine.calls("remove", key(1)), 6);
        assert_eq!(world.engine.runs(key(1)), 1);
        assert_eq!(world.fleet.snapshot().slots_held, 0);
    });
}

#[test]
fn a_repeated_drive_says_again_what_is_known() {
    world(1, |world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.forget_reports();
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.engine.exit(key(1), 0);
        world.hears_end(key(1)).await;
        world.forget_reports();
        let began = Instant::now();
        world.attach(key(1));
        world.hears_end(key(1)).await;
        assert!(began.elapsed() < seconds(1));
        assert_eq!(world.engine.runs(key(1)), 1);
    });
}

#[test]
fn what_can_never_start_is_reported_and_frees_its_slot() {
    world(1, |world| async move {
        let (fault, message) = (StartFault::ImageNotFound, "no such image".to_owned());
        let error = Error::Start { fault, message: message.clone() };
        world.engine.fault(|faults| faults.create = Some(error));
        world.start(key(1));
        assert_eq!(world.hears_end(key(1)).await, Report::StartFailed { fault, message });
        world.until("free", |world| world.fleet.snapshot().slots_held == 0).await;
        world.pass(seconds(600)).await;
        assert_eq!(world.engine.calls("create", key(1)), 1, "it is not tried again");
    });
}

#[test]
fn before_its_end_what_is_over_is_removed_and_nothing_new_gets_a_slot() {
    world(1, |world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.request(key(2), 2);
        world.engine.exit(key(1), 0);
        world.fleet.close();
        world.hears_end(key(1)).await;
        let began = Instant::now();
        world.fleet.cleared(seconds(30)).await;
        assert_eq!(began.elapsed(), seconds(30), "its end is not recorded");
        world.fleet.discard(key(1));
        world.fleet.cleared(seconds(30)).await;
        assert_eq!(world.engine.observation(key(1)), Observation::Absent);
        world.pass(seconds(60)).await;
        assert_eq!((world.heard(key(2)), world.fleet.snapshot().waiting), (vec![], 1));
    });
}

#[test]
fn an_engine_that_is_away_does_not_hold_up_the_end() {
    world(1, |world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.engine.exit(key(1), 0);
        world.hears_end(key(1)).await;
        world.engine.fault(|faults| faults.down = true);
        world.fleet.close();
        world.fleet.discard(key(1));
        let began = Instant::now();
        world.fleet.cleared(seconds(3)).await;
        assert_eq!((began.elapsed(), world.fleet.snapshot().removing), (seconds(3), 1));
    });
}
