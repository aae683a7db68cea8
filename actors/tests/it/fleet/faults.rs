//! Engines that lose replies, hang, go away or lie, and jobs whose mailbox panics.

use dogwatch_actors::fleet::{Drive, Report};
use dogwatch_actors::limits;
use dogwatch_actors::runtime::{Error, Observation, StartFault};
use tokio::time::Instant;

use super::world::{key, plan, world};
use super::{exit_code, seconds};

#[test]
fn a_lost_reply_is_no_reason_to_do_anything_twice() {
    for lost in ["create", "start", "observe"] {
        world(1, |world| async move {
            world.engine.fault(|faults| faults.lost_replies.push(lost));
            world.start(key(1));
            world.hears_started(key(1)).await;
            assert_eq!((world.engine.calls("create", key(1)), world.engine.runs(key(1))), (1, 1), "{lost}");
            let heard = world.heard(key(1));
            assert!(matches!(heard[0], Report::Trouble { .. }), "{heard:?}");
            assert_eq!(heard.len(), 2, "{heard:?}");
        });
    }
}

#[test]
fn an_engine_that_is_away_for_an_hour_ends_nothing() {
    world(2, |world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.engine.fault(|faults| faults.down = true);
        world.engine.cut_hints();
        world.start(key(2));
        world.pass(seconds(3_600)).await;
        for job in [1, 2] {
            let heard = world.heard(key(job));
            assert!(!heard.iter().any(Report::is_terminal), "{heard:?}");
            let troubles = heard.iter().filter(|report| matches!(report, Report::Trouble { .. })).count();
            assert!((60..=121).contains(&troubles), "{troubles} reports of the same trouble in an hour");
        }
        let view = world.fleet.snapshot();
        assert_eq!((view.unknown, view.slots_held), (2, 2));
        assert!(!view.runtimes["fake"].reachable && view.runtimes["fake"].last_error.is_some());
        world.engine.fault(|faults| faults.down = false);
        world.hears_started(key(2)).await;
        world.until("known again", |world| world.fleet.snapshot().running == 2).await;
        assert!(world.fleet.snapshot().runtimes["fake"].reachable);
        world.engine.exit(key(1), 0);
        assert_eq!(exit_code(&world.hears_end(key(1)).await), Some(0));
        assert_eq!((world.engine.runs(key(1)), world.engine.runs(key(2))), (1, 1));
    });
}

#[test]
fn one_attempt_that_hangs_delays_no_other() {
    world(2, |world| async move {
        world.engine.fault(|faults| faults.hangs = [("observe", key(1))].into());
        world.start(key(1));
        let began = Instant::now();
        world.start(key(2));
        world.hears_started(key(2)).await;
        world.engine.exit(key(2), 0);
        world.hears_end(key(2)).await;
        world.fleet.discard(key(2));
        world.until("removed", |world| world.engine.observation(key(2)) == Observation::Absent).await;
        assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
        world.hears(key(1), "trouble", |report| matches!(report, Report::Trouble { .. })).await;
        world.engine.fault(|faults| faults.hangs.clear());
        world.hears_started(key(1)).await;
    });
}

#[test]
fn a_change_that_nobody_hints_at_is_seen_all_the_same() {
    world(1, |world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.engine.fault(|faults| faults.silent = true);
        let began = Instant::now();
        world.engine.exit(key(1), 4);
        assert_eq!(exit_code(&world.hears_end(key(1)).await), Some(4));
        assert!(began.elapsed() <= limits::WATCH_PATIENCE + seconds(1));
    });
}

#[test]
fn the_list_finds_what_a_hanging_wait_hides_and_the_other_way_round() {
    for blind in [false, true] {
        world(1, |world| async move {
            world.engine.fault(|faults| faults.silent = true);
            world.engine.fault(|faults| faults.hangs = [("wait", key(1))].into());
            world.engine.fault(|faults| faults.blind = blind);
            world.engine.cut_hints();
            world.start(key(1));
            world.hears_started(key(1)).await;
            world.engine.exit(key(1), 4);
            assert_eq!(exit_code(&world.hears_end(key(1)).await), Some(4));
        });
    }
}

#[test]
fn waits_that_return_at_once_cost_few_looks() {
    world(1, |world| async move {
        world.engine.fault(|faults| faults.jumpy = true);
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.pass(seconds(600)).await;
        assert!(world.engine.calls("observe", key(1)) < 200, "{}", world.engine.calls("observe", key(1)));
    });
}

#[test]
fn a_start_that_has_no_effect_is_trouble_and_repeated_with_pauses() {
    world(1, |world| async move {
        world.engine.fault(|faults| faults.idle = ["start"].into());
        world.start(key(1));
        world.hears(key(1), "trouble", |report| matches!(report, Report::Trouble { .. })).await;
        world.pass(seconds(600)).await;
        assert!(world.engine.calls("start", key(1)) < 200, "{}", world.engine.calls("start", key(1)));
        world.engine.fault(|faults| faults.idle.clear());
        world.hears_started(key(1)).await;
    });
}

#[test]
fn what_is_gone_right_after_its_creation_has_vanished() {
    world(1, |world| async move {
        world.engine.fault(|faults| faults.idle = ["create"].into());
        world.start(key(1));
        assert_eq!(world.hears_end(key(1)).await, Report::Vanished);
        assert_eq!(world.engine.calls("create", key(1)), 1);
    });
}

#[test]
fn a_driver_that_panics_is_started_again() {
    world(1, |world| async move {
        world.panic_at_next_report();
        world.start(key(1));
        world.until("running", |world| world.engine.runs(key(1)) == 1).await;
        world.engine.exit(key(1), 6);
        assert_eq!(exit_code(&world.hears_end(key(1)).await), Some(6));
        world.panic_at_next_report();
        world.until("panicked", |world| world.heard(key(1)).len() > 4).await;
        assert_eq!(world.engine.runs(key(1)), 1);
    });
}

#[test]
fn a_driver_that_panics_forgets_neither_that_its_attempt_ran_nor_that_it_failed() {
    world(2, |world| async move {
        world.start(key(1));
        world.hears_started(key(1)).await;
        world.panic_at_next_report();
        world.engine.vanish(key(1));
        world.start(key(1));
        assert_eq!(world.hears_end(key(1)).await, Report::Vanished);
        assert_eq!(world.engine.calls("create", key(1)), 1);

        let (fault, message) = (StartFault::Rejected, "no".to_owned());
        world.engine.fault(|faults| faults.create = Some(Error::Start { fault, message }));
        world.panic_at_next_report();
        world.start(key(2));
        world.until("reported again", |world| world.heard(key(2)).len() > 2).await;
        assert_eq!(world.engine.calls("create", key(2)), 1);
    });
}

#[test]
fn a_grant_whose_report_panicked_is_repeated() {
    world(1, |world| async move {
        world.panic_at_next_report();
        world.request(key(1), 1);
        world.until("granted again", |world| world.heard(key(1)).len() > 1).await;
    });
}

#[test]
fn a_runtime_that_is_not_configured_is_trouble_and_no_end() {
    world(1, |world| async move {
        world.fleet.drive(plan(key(1)), "elsewhere".to_owned(), Drive::Attach);
        world.hears(key(1), "trouble", |report| matches!(report, Report::Trouble { .. })).await;
        world.pass(seconds(600)).await;
        assert!(!world.heard(key(1)).iter().any(Report::is_terminal));
        world.fleet.discard(key(1));
        world.until("forgotten", |world| world.fleet.snapshot().slots_held == 0).await;
    });
}
