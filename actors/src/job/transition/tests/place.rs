//! The place of a job under its concurrency key: when it asks for one, has one and gives it back.

use super::sample::{Life, spec};
use crate::admission::{Concurrency, OnConflict};
use crate::durable::{Liveness, Machine as _};
use crate::id::JobId;
use crate::job::cause::Cause;
use crate::job::effect::Effect;
use crate::job::event::Event;
use crate::job::spec::Spec;
use crate::job::state::Phase;

fn keyed() -> Spec {
    let key = "db".to_owned();
    let concurrency = Concurrency { key, limit: Some(1), on_conflict: OnConflict::Skip, rate: None };
    Spec { concurrency: Some(concurrency), ..spec() }
}

const BY: JobId = JobId::from_bytes([8; 16]);

fn leaves(life: &Life) -> bool {
    life.effects.contains(&Effect::LeavePlace)
}

fn held(life: &Life) -> Option<bool> {
    life.job.place.map(|place| place.held)
}

#[test]
fn it_has_its_place_from_the_first_grant_to_its_end_pauses_included() {
    let mut life = Life::of(keyed());
    assert_eq!(held(&life), Some(false));
    let since = life.job.place.map(|place| place.since);
    life.granted();
    assert_eq!(held(&life), Some(true));
    life.started().exits(1);
    assert!(matches!(life.job.phase, Phase::BackingOff { .. }) && !leaves(&life));
    assert_eq!((held(&life), life.job.liveness()), (Some(true), Liveness::Live), "a start must know of it");
    assert_eq!(life.job.resume(), [Effect::HoldPlace]);
    life.tick();
    assert_eq!((held(&life), life.job.place.map(|place| place.since)), (Some(true), since));
    life.running().exits(0);
    assert!(leaves(&life) && held(&life).is_none());
    assert_eq!(life.job.resume(), [Effect::LeavePlace], "said again, should it be lost");
}

#[test]
fn it_gives_its_place_back_while_it_is_suspended() {
    let mut life = Life::of(keyed());
    life.running().apply(Event::SuspendRequested);
    assert!(!leaves(&life) && held(&life) == Some(true), "not before its attempt has ended");
    life.exits(143);
    assert!(leaves(&life) && held(&life).is_none());
    life.apply_at(50, Event::ResumeRequested);
    assert_eq!(held(&life), Some(false), "it asks anew");
    life.apply(Event::SuspendRequested);
    assert!(leaves(&life));
}

#[test]
fn a_job_without_a_key_has_no_place_and_one_without_attempts_gives_it_up_when_cancelled() {
    let mut life = Life::of(spec());
    assert!(life.job.place.is_none() && !leaves(life.running().exits(0)));
    let mut life = Life::of(keyed());
    assert!(leaves(life.apply(Event::CancelRequested)));
}

#[test]
fn it_is_skipped_before_it_was_accepted_and_never_after() {
    let skipped = Event::Skipped { attempt: 1, message: "full".into() };
    let mut life = Life::of(keyed());
    life.apply(skipped.clone());
    assert_eq!((life.outcome(), life.message()), (Some(("cancelled", Cause::Skipped)), "full".into()));
    assert!(leaves(&life));
    let mut life = Life::of(keyed());
    let revision = life.job.revision;
    life.apply(Event::PlaceAccepted { attempt: 1 });
    assert_eq!(life.job.revision, revision, "nobody wants to read of it");
    life.apply(skipped.clone());
    assert!(life.outcome().is_none());
    life.running().apply(skipped);
    assert!(life.outcome().is_none());
}

#[test]
fn it_gives_way_wherever_it_stands() {
    let displaced = || Event::Displaced { by: BY };
    let gone = Some(("cancelled", Cause::Preempted));
    let mut life = Life::of(keyed());
    assert_eq!(life.apply(displaced()).outcome(), gone, "queued");
    let mut life = Life::of(keyed());
    assert_eq!(life.running().exits(1).apply(displaced()).outcome(), gone, "backing off");
    let mut life = Life::of(keyed());
    assert!(life.running().apply(displaced()).stops());
    assert!(life.outcome().is_none() && held(&life) == Some(true), "its place is free when it has ended");
    life.apply(displaced());
    assert!(life.effects.is_empty(), "said again it changes nothing");
    assert_eq!(life.exits(143).outcome(), gone);
    assert!(life.message().contains(&BY.to_string()) && leaves(&life));
    assert_eq!(life.apply(displaced()).outcome(), gone);
    let mut life = Life::of(keyed());
    life.running().apply(Event::RestartRequested).apply(displaced());
    assert_eq!(life.exits(143).outcome(), gone, "restarting");
    let mut life = Life::of(keyed());
    life.running().apply(Event::SuspendRequested).exits(143);
    assert!(life.apply(displaced()).outcome().is_none(), "one that is suspended has no place to give");
}
