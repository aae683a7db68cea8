//! Supervision: what panics where, how often, how it goes on, and who does not notice.

mod child;

use std::time::Duration;

use actix::prelude::*;
use dogwatch_actors::supervise::{ChildEvent, Intensity, supervise, supervise_in};
use tokio::time::Instant;

use child::{Add, Boom, BoomIn, Child, Get, Plan, Quit, Trace, Where};

/// Runs a test inside an actix system in virtual time.
fn run(test: impl AsyncFnOnce()) {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().expect("a runtime of one thread")
    };
    System::with_tokio_rt(runtime).block_on(async {
        tokio::time::timeout(Duration::from_secs(86_400), test()).await.expect("the test ends in time");
    });
}

fn start(trace: &Trace, intensity: Intensity, plan: Plan) -> Addr<Child> {
    let (for_child, for_report) = (trace.clone(), trace.clone());
    supervise(intensity, move |_| Child::new(for_child, plan), move |event| for_report.report(event))
}

fn intensity(restarts_max: u32) -> Intensity {
    Intensity { restarts_max, ..Intensity::default() }
}

#[test]
fn what_is_queued_behind_a_panic_is_handled_by_the_restarted_actor() {
    run(async || {
        let trace = Trace::default();
        let addr = start(&trace, Intensity::default(), Plan::default());
        addr.send(Add(40)).await.unwrap();
        let (boom, one, two) = (addr.send(Boom("first")), addr.send(Add(1)), addr.send(Add(2)));
        assert!(matches!(boom.await, Err(MailboxError::Closed)), "its caller learns that it was lost");
        assert_eq!(
            (one.await.unwrap(), two.await.unwrap()),
            (1, 3),
            "in order, and without what was in memory"
        );
        assert_eq!(trace.events(), [ChildEvent::Restarting { count: 1, cause: "first".into() }]);
        assert_eq!((trace.started(), trace.restarting()), (2, 1));
        assert!(addr.connected());
    });
}

#[test]
fn a_panic_counts_wherever_it_happens() {
    let places =
        [BoomIn::Handler, BoomIn::Timer, BoomIn::Interval, BoomIn::Spawned, BoomIn::Waited, BoomIn::Answer];
    for place in places {
        run(async || {
            let trace = Trace::default();
            let addr = start(&trace, Intensity::default(), Plan::default());
            // Where the panic comes later, its message has been answered.
            let _lost_or_answered = addr.send(place).await;
            trace.until_events(1).await;
            assert_eq!(trace.events(), [ChildEvent::Restarting { count: 1, cause: format!("in {place:?}") }]);
            assert_eq!(addr.send(Add(5)).await.unwrap(), 5, "{place:?}");
            assert_eq!((trace.started(), trace.restarting()), (2, 1), "{place:?}");
        });
    }
}

#[test]
fn a_panic_while_starting_counts() {
    run(async || {
        let trace = Trace::default();
        let plan = Plan { panics_in_started: 2, ..Plan::default() };
        let addr = start(&trace, Intensity::default(), plan);
        assert_eq!(addr.send(Add(5)).await.unwrap(), 5);
        let causes: Vec<_> = trace.events().iter().map(child::cause).collect();
        assert_eq!(causes, ["in started", "in started"]);
        assert_eq!((trace.started(), trace.restarting()), (3, 2));
    });
}

#[test]
fn a_panic_while_restarting_counts() {
    run(async || {
        let trace = Trace::default();
        let plan = Plan { panics_in_restarting: 2, ..Plan::default() };
        let addr = start(&trace, Intensity::default(), plan);
        let _lost = addr.send(Boom("first")).await;
        assert_eq!(addr.send(Add(5)).await.unwrap(), 5);
        let causes: Vec<_> = trace.events().iter().map(child::cause).collect();
        assert_eq!(causes, ["first", "in restarting", "in restarting"]);
    });
}

#[test]
fn one_panic_too_many_ends_the_child() {
    run(async || {
        let trace = Trace::default();
        let addr = start(&trace, intensity(3), Plan::default());
        let booms: Vec<_> = ["a", "b", "c", "d"].map(|text| addr.send(Boom(text))).into();
        let behind = addr.send(Add(1));
        for boom in booms {
            assert!(boom.await.is_err());
        }
        assert!(matches!(behind.await, Err(MailboxError::Closed)), "what was queued is answered");
        let restarting = |count, cause: &str| ChildEvent::Restarting { count, cause: cause.into() };
        let gave_up = ChildEvent::GaveUp { cause: "d".into() };
        assert_eq!(trace.events(), [restarting(1, "a"), restarting(2, "b"), restarting(3, "c"), gave_up]);
        assert!(!addr.connected());
        assert!(matches!(addr.send(Get).await, Err(MailboxError::Closed)));
    });
}

#[test]
fn no_restarts_means_the_first_panic_is_the_last() {
    run(async || {
        let trace = Trace::default();
        let addr = start(&trace, intensity(0), Plan::default());
        assert!(addr.send(Boom("only")).await.is_err());
        assert_eq!(trace.events(), [ChildEvent::GaveUp { cause: "only".into() }]);
    });
}

#[test]
fn panics_far_apart_never_use_up_the_budget() {
    run(async || {
        let trace = Trace::default();
        let within = Duration::from_secs(60);
        let addr = start(&trace, Intensity { within, ..intensity(1) }, Plan::default());
        for _ in 0..20 {
            let _lost = addr.send(Boom("again")).await;
            tokio::time::advance(within).await;
            assert_eq!(addr.send(Add(1)).await.unwrap(), 1);
        }
        assert_eq!(trace.events(), vec![ChildEvent::Restarting { count: 1, cause: "again".into() }; 20]);
        for _ in 0..2 {
            let _lost = addr.send(Boom("twice")).await;
        }
        assert_eq!(trace.events().last(), Some(&ChildEvent::GaveUp { cause: "twice".into() }));
    });
}

#[test]
fn the_pauses_double_up_to_the_longest() {
    run(async || {
        let trace = Trace::default();
        let addr = start(&trace, intensity(9), Plan::default());
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let began = Instant::now();
            let _lost = addr.send(Boom("again")).await;
            assert_eq!(began.elapsed(), Duration::ZERO);
            addr.send(Get).await.unwrap();
            pauses.push(began.elapsed().as_millis());
        }
        // The timer's resolution is a millisecond.
        let wanted = [20, 40, 80, 160, 320, 640, 1_280, 2_000, 2_000];
        let near = pauses.iter().zip(wanted).all(|(pause, wanted)| (wanted..=wanted + 2).contains(pause));
        assert!(near, "{pauses:?}");
    });
}

#[test]
fn timers_and_spawned_work_do_not_survive_a_panic() {
    run(async || {
        let trace = Trace::default();
        let addr = start(
            &trace,
            Intensity::default(),
            Plan { adds_every: Some(Duration::from_secs(1)), ..Plan::default() },
        );
        tokio::time::sleep_until(Instant::now() + Duration::from_millis(3_500)).await;
        assert_eq!(addr.send(Get).await.unwrap(), 3);
        let _lost = addr.send(Boom("first")).await;
        assert_eq!(addr.send(Get).await.unwrap(), 0);
        tokio::time::sleep_until(Instant::now() + Duration::from_millis(2_500)).await;
        assert_eq!(addr.send(Get).await.unwrap(), 2, "one interval, not two");
    });
}

#[test]
fn a_clean_stop_is_final() {
    run(async || {
        let trace = Trace::default();
        let addr = start(&trace, Intensity::default(), Plan::default());
        let (quit, behind) = (addr.send(Quit), addr.send(Add(1)));
        quit.await.unwrap();
        assert!(behind.await.is_err());
        trace.until_events(1).await;
        assert_eq!(trace.events(), [ChildEvent::Stopped]);
        assert_eq!((trace.started(), trace.restarting(), addr.connected()), (1, 0, false));
    });
}

#[test]
fn a_child_without_an_address_ends() {
    run(async || {
        let trace = Trace::default();
        drop(start(&trace, Intensity::default(), Plan::default()));
        trace.until_events(1).await;
        assert_eq!(trace.events(), [ChildEvent::Stopped]);
    });
}

#[test]
fn a_child_whose_last_address_goes_during_the_pause_ends() {
    run(async || {
        let trace = Trace::default();
        let addr = start(&trace, Intensity::default(), Plan::default());
        let _lost = addr.send(Boom("first")).await;
        drop(addr);
        trace.until_events(2).await;
        assert_eq!(trace.events()[1], ChildEvent::Stopped);
        assert_eq!(trace.restarting(), 0);
    });
}

#[test]
fn siblings_on_the_thread_do_not_notice() {
    run(async || {
        let (trace, calm) = (Trace::default(), Trace::default());
        let sibling = start(
            &calm,
            Intensity::default(),
            Plan { adds_every: Some(Duration::from_millis(10)), ..Plan::default() },
        );
        let addr = start(&trace, intensity(4), Plan::default());
        for text in ["a", "b", "c", "d", "e"] {
            let _lost = addr.send(Boom(text)).await;
            sibling.send(Add(1_000)).await.unwrap();
        }
        assert!(!addr.connected());
        tokio::time::sleep_until(Instant::now() + Duration::from_secs(1)).await;
        assert!(sibling.send(Get).await.unwrap() >= 5_100, "its memory and its timer are as they were");
        assert_eq!((calm.events().len(), calm.started()), (0, 1));
    });
}

#[test]
fn the_text_of_a_panic_is_told_where_it_has_one() {
    run(async || {
        let trace = Trace::default();
        let addr = start(&trace, Intensity::default(), Plan::default());
        let _lost = addr.send(BoomIn::Number).await;
        trace.until_events(1).await;
        assert_eq!(child::cause(&trace.events()[0]), "a panic without a text");
    });
}

#[test]
fn a_child_on_another_thread_is_supervised_there() {
    System::new().block_on(async {
        let arbiter = Arbiter::new();
        let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
        let quick = Intensity { pause_first: Duration::from_millis(1), ..intensity(1) };
        let addr = supervise_in(
            &arbiter.handle(),
            quick,
            |_| Child::new(Trace::default(), Plan::default()),
            move |event| drop(sender.send((std::thread::current().id(), event))),
        );
        let (early, place) = (addr.send(Add(2)), addr.send(Where).await.unwrap());
        assert_ne!(place, std::thread::current().id());
        assert_eq!(early.await.unwrap(), 2, "what is sent before it has started waits for it");
        let _lost = addr.send(Boom("there")).await;
        assert_eq!(addr.send(Add(1)).await.unwrap(), 1);
        assert_eq!(addr.send(Where).await.unwrap(), place);
        let _lost = addr.send(Boom("for ever")).await;
        let restarting = ChildEvent::Restarting { count: 1, cause: "there".into() };
        let gave_up = ChildEvent::GaveUp { cause: "for ever".into() };
        assert_eq!(events.recv().await, Some((place, restarting)));
        assert_eq!(events.recv().await, Some((place, gave_up)));
        assert!(addr.send(Get).await.is_err());
        arbiter.stop();
        arbiter.join().unwrap();
    });
}
