//! Every named point at which the program may be interrupted, against the real binary: it crashes, panics, fails
//! or stalls there, and afterwards everything that was promised holds (`workload.rs`).
//!
//! `DOGWATCH_PROVE_POINTS` is `all` for every point in every mode, or a comma-separated list of `point=mode`;
//! without it every point crashes, and what was broken once and a sample of the other modes, another one each
//! time, is added.

mod figures;
mod given_up;
mod site;
mod workload;

use std::panic::AssertUnwindSafe;

use dogwatch_actors::fault::{ALL, Mode, Point};
use dogwatch_actors::supervise::panic_text;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::Notify;

use self::site::Site;
use self::workload::Workload;

/// Servers at the same time: most of a case is waiting.
const LANES: usize = 8;

/// How many of the other cases are run when nothing is said.
const SAMPLE: usize = 8;

type Case = (Point, Mode);

/// Cases that once were broken: run every time.
const ALWAYS: &[Case] = &[
    (Point::RecoveryRunningRoused, Mode::Panic),
    (Point::AttemptGranted, Mode::Panic),
    (Point::AttemptDriven, Mode::Panic),
    (Point::StopOrdered, Mode::Panic),
    (Point::WebhookAnswered, Mode::Panic),
    (Point::CommitWritten, Mode::Error),
];

/// The cases of this run, and how they can be had again.
fn cases() -> Vec<Case> {
    let mut all: Vec<Case> = ALL.iter().flat_map(|point| Mode::ALL.map(|mode| (*point, mode))).collect();
    all.retain(|(point, mode)| *mode != Mode::Error || point.can_fail());
    match std::env::var("DOGWATCH_PROVE_POINTS").as_deref() {
        Ok("all") => all,
        Ok(list) => {
            let wanted: Vec<&str> = list.split(',').collect();
            let found: Vec<Case> =
                all.into_iter().filter(|case| wanted.contains(&name(*case).as_str())).collect();
            assert_eq!(found.len(), wanted.len(), "some of these are no cases: {list}");
            found
        }
        Err(_) => {
            let is_fixed = |case: &Case| case.1 == Mode::Crash || ALWAYS.contains(case);
            let (fixed, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_fixed);
            let (count, from) = (others.len(), std::process::id() as usize * SAMPLE);
            let sample = (0..SAMPLE).map(|index| others[(from + index * (count / SAMPLE)) % count]);
            fixed.into_iter().chain(sample).collect()
        }
    }
}

fn name((point, mode): Case) -> String {
    format!("{}={}", point.name(), mode.name())
}

#[tokio::test]
async fn at_every_point_the_promises_hold() {
    let cases = cases();
    let run = |case| async move { (case, AssertUnwindSafe(run(case)).catch_unwind().await) };
    let done: Vec<_> = stream::iter(cases.clone()).map(run).buffer_unordered(LANES).collect().await;
    let mut broken = Vec::new();
    for (case, result) in done {
        if let Err(panic) = result {
            broken.push(format!("{}: {}", name(case), panic_text(&*panic)));
        }
    }
    assert!(
        broken.is_empty(),
        "{} of {} cases; run one with DOGWATCH_PROVE_POINTS=point=mode\n{}",
        broken.len(),
        cases.len(),
        broken.join("\n")
    );
    let crashes = cases.iter().filter(|(_, mode)| *mode == Mode::Crash).count();
    println!(
        "{} points, {} cases ({crashes} crashes): every one hit, every promise held",
        ALL.len(),
        cases.len()
    );
}

async fn run(case: Case) {
    let (point, mode) = case;
    let site = Site::new();
    // What happens while a server comes back is hit when there is something to bring back.
    let at_return = point.name().starts_with("recovery:");
    let fault = name(case);
    site.spawn(if at_return { "" } else { &fault });
    let (running, done) = (Notify::new(), Notify::new());
    let keep = async {
        if at_return {
            running.notified().await;
            site.kill();
            site.spawn(&fault);
        }
        tokio::select! {
            () = keep(&site, case) => {}
            () = done.notified() => {}
        }
    };
    let work = async {
        let workload = Workload::run(&site, &running).await;
        workload.check(&site).await;
        done.notify_one();
    };
    tokio::join!(keep, work);
    assert!(site.was_hit(point), "the point was never reached");
    if mode == Mode::Crash {
        assert_eq!(site.crashes(), 1, "it is hit once");
    }
}

/// Starts the server again, without the fault, when it ended. A store that failed serves nobody any more.
async fn keep(site: &Site, (point, mode): Case) {
    let store_fails = point.name().starts_with("commit:") && matches!(mode, Mode::Error | Mode::Panic);
    loop {
        site.look_again().await;
        if store_fails && site.lives() == 1 && site.was_hit(point) {
            site.kill();
        }
        if site.has_ended() {
            site.spawn("");
        }
    }
}
