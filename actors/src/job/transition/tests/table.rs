//! Every phase with every event: what becomes of the job.
//!
//! The cells are the words below. A phase or an event that is added without a column or a row of its own makes
//! a test here fail.

use std::collections::BTreeSet;

use super::sample::{Life, every_event, every_phase, phase_word};
use crate::durable::Change;
use crate::job::effect::Effect;
use crate::job::event::Event;
use crate::job::state::Phase;
use crate::job::transition::Rejected;

/// The columns: the word of the phase, and what it is called in the cells.
const PHASES: [(&str, &str); 18] = [
    ("delayed", "De"),
    ("queued", "Qu"),
    ("suspended", "Su"),
    ("starting", "St"),
    ("running", "Ru"),
    ("service:starting", "S0"),
    ("service:started", "S1"),
    ("awaiting_callback", "Aw"),
    ("stopping:cancel", "Xc"),
    ("stopping:suspend", "Xs"),
    ("stopping:restart", "Xr"),
    ("stopping:done", "Xd"),
    ("stopping:ended", "Xe"),
    ("stopping:fail", "Xf"),
    ("backing_off", "Bo"),
    ("succeeded", "Ok"),
    ("failed", "Fa"),
    ("cancelled", "Ca"),
];

/// One row per event. A cell is the phase that follows, or
/// `+` the same phase with something noted, `.` nothing at all, `again` nothing but the effects that must hold,
/// `disc` the attempt is not wanted, `wdraw` the slot is not wanted, `purge` the job is deleted,
/// `409` refused by the state, `410` that attempt is over, `404` there is no such attempt.
const TABLE: &str = "
                            De    Qu    Su    St    Ru    S0    S1    Aw    Xc    Xs    Xr    Xd    Xf    Bo    Ok    Fa
submitted                   409   409   409   409   409   409   409   409   409   409   409   409   409   409   409   409
ticked                      .     .     .     .     .     .     .     .     .     .     .     .     .     .     .     .
ticked:due                  Qu    .     .     .     .     +     +     Bo    .     .     .     +     .     Qu    purge purge
slot_granted                wdraw wdraw wdraw again again again again again again again again again again wdraw wdraw wdraw
slot_granted:next           wdraw St    wdraw wdraw wdraw wdraw wdraw wdraw wdraw wdraw wdraw wdraw wdraw wdraw wdraw wdraw
place_accepted              .     .     .     .     .     .     .     .     .     .     .     .     .     .     .     .
skipped                     .     .     .     .     .     .     .     .     .     .     .     .     .     .     .     .
displaced                   .     .     .     .     .     .     .     .     .     .     .     .     .     .     .     .
attempt_prepared            disc  disc  disc  +     .     .     .     .     .     .     .     .     .     disc  disc  disc
attempt_started             disc  disc  disc  Ru    .     .     .     .     .     .     .     .     .     disc  disc  disc
attempt_exited              disc  disc  disc  Bo    Bo    Bo    Bo    .     Ca    Su    Qu    Ok    Fa    disc  disc  disc
outputs_collected           disc  disc  disc  Bo    Bo    Bo    Bo    .     Ca    Su    Qu    Bo    Fa    disc  disc  disc
attempt_start_failed        disc  disc  disc  Fa    Fa    Fa    Fa    .     Ca    Su    Qu    Ok    Fa    disc  disc  disc
attempt_never_started       disc  disc  disc  Bo    Bo    Bo    Bo    .     Ca    Su    Qu    Ok    Fa    disc  disc  disc
attempt_vanished            disc  disc  disc  Bo    Bo    Bo    Bo    .     Ca    Su    Qu    Ok    Fa    disc  disc  disc
trouble_seen                disc  disc  disc  +     +     +     +     .     +     +     +     +     +     disc  disc  disc
probe_failed                disc  disc  disc  .     .     .     .     .     .     .     .     .     .     disc  disc  disc
probe_passed                disc  disc  disc  .     .     .     .     .     .     .     .     .     .     disc  disc  disc
service_started             disc  disc  disc  .     .     S1    .     .     .     .     .     .     .     disc  disc  disc
service_start_failed        disc  disc  disc  .     .     +     .     .     .     .     .     .     .     disc  disc  disc
service_polled              disc  disc  disc  .     .     .     +     .     .     .     .     .     .     disc  disc  disc
service_poll_failed         disc  disc  disc  .     .     .     +     .     .     .     .     .     .     disc  disc  disc
callback_received:completed 404   410   410   Xd    Xd    Xd    Xd    Ok    409   409   409   409   409   410   409   409
callback_received:failed    404   410   410   Xe    Xe    Xe    Xe    Bo    409   409   409   409   409   410   409   409
callback_received:progress  404   410   410   +     +     +     +     +     +     +     +     +     +     410   409   409
callback_received:other     404   410   410   +     +     +     +     +     +     +     +     +     +     410   409   409
event_raised:completed      409   409   409   Xd    Xd    Xd    Xd    Ok    409   409   409   409   409   409   409   409
event_raised:progress       +     +     +     +     +     +     +     +     +     +     +     +     +     +     409   409
event_raised:other          +     +     +     +     +     +     +     +     +     +     +     +     +     +     409   409
cancel_requested            Ca    Ca    Ca    Xc    Xc    Xc    Xc    Ca    .     Xc    Xc    409   Xc    Ca    409   409
suspend_requested           Su    Su    .     Xs    Xs    Xs    Xs    409   409   .     409   409   409   Su    409   409
resume_requested            409   409   Qu    409   409   409   409   409   409   409   409   409   409   409   409   409
restart_requested           Qu    .     Qu    Xr    Xr    Xr    Xr    Qu    409   409   .     409   409   Qu    409   409
retry_requested             409   409   409   409   409   409   409   409   409   409   409   409   409   409   409   Qu
purge_requested             409   409   409   409   409   409   409   409   409   409   409   409   409   409   purge purge
quarantined                 Fa    Fa    Fa    Xf    Xf    Xf    Xf    Fa    Ca    Fa    Fa    Ok    Fa    Fa    .     .";

fn short(word: &str) -> &str {
    PHASES.iter().find(|(long, _)| *long == word).map_or(word, |(_, short)| short)
}

fn cell(life: &Life, event: &Event) -> String {
    let step = match life.try_apply(event) {
        Ok(step) => step,
        Err(Rejected::Conflict { state, .. }) => {
            assert_eq!(state, life.job.state());
            return "409".into();
        }
        Err(Rejected::Stale { .. }) => return "410".into(),
        Err(Rejected::NoAttempt { .. }) => return "404".into(),
        Err(Rejected::TooManyEvents) => return "429".into(),
    };
    let next = match step.change {
        Change::Purge => return "purge".into(),
        Change::Next(next, _) => next,
        Change::None => {
            let word = match step.effects.as_slice() {
                [] => ".",
                [Effect::Discard { .. }] => "disc",
                [Effect::Withdraw { .. }] => "wdraw",
                effects if *effects == life.job.resume_effects() => "again",
                _ => "?",
            };
            return word.into();
        }
    };
    if std::mem::discriminant(&next.phase) == std::mem::discriminant(&life.job.phase)
        && phase_word(&next.phase) == phase_word(&life.job.phase)
    {
        return "+".into();
    }
    short(phase_word(&next.phase)).to_owned()
}

/// The events of the table: those about an attempt are about the newest one, but for a slot, which is also
/// granted for the one after it; and a tick comes early, and when it is due.
fn rows(life: &Life) -> Vec<(&'static str, Event, Life)> {
    let mut rows = Vec::new();
    for (name, event) in every_event(life.job.attempt, life.now) {
        rows.push((name, event.clone(), life.clone()));
        match event {
            Event::SlotGranted { attempt, ahead } => {
                let next = Event::SlotGranted { attempt: attempt + 1, ahead };
                rows.push(("slot_granted:next", next, life.clone()));
            }
            Event::Ticked => {
                let now = crate::durable::Machine::deadline(&life.job)
                    .unwrap_or_else(|| super::sample::at(99_999_999));
                rows.push(("ticked:due", Event::Ticked, Life { now, ..life.clone() }));
            }
            _ => {}
        }
    }
    rows
}

fn drawn() -> String {
    let lives = every_phase();
    let mut text = format!("{:27}", "");
    for (word, _) in &lives {
        text += &format!(" {:5}", short(word));
    }
    let names: Vec<&str> = rows(&lives[0].1).into_iter().map(|(name, _, _)| name).collect();
    for (row, name) in names.iter().enumerate() {
        text += &format!("\n{name:27}");
        for (_, life) in &lives {
            let (_, event, life) = &rows(life)[row];
            text += &format!(" {:5}", cell(life, event));
        }
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_pair_does_what_the_table_says() {
    let (drawn, wanted) = (drawn(), TABLE.trim_start_matches('\n'));
    for (drawn, wanted) in drawn.lines().zip(wanted.lines()) {
        assert_eq!(drawn, wanted, "the rules (left) and the table differ; all of it:\n{}", self::drawn());
    }
    assert_eq!(drawn.lines().count(), wanted.lines().count());
}

/// The names of the variants of an enum, as serde tells them to whoever asks for one that is not there.
fn variants<T: serde::de::DeserializeOwned + std::fmt::Debug>() -> BTreeSet<String> {
    let error = serde_json::from_str::<T>("{\"no_such_variant\": 1}")
        .expect_err("there is no such variant")
        .to_string();
    let listed = error.split_once("expected").expect("serde lists what it expects").1;
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn heads<'a>(words: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    words.map(|word| word.split(':').next().unwrap_or(word).to_owned()).collect()
}

#[test]
fn every_phase_has_a_column_and_every_event_a_row() {
    let lives = every_phase();
    for (word, life) in &lives {
        assert_eq!(phase_word(&life.job.phase), *word, "the sample is in another phase");
    }
    let phases: BTreeSet<String> = lives
        .iter()
        .map(|(_, life)| serde_json::to_value(&life.job.phase).expect("a phase is JSON"))
        .map(|value| match value {
            serde_json::Value::String(name) => name,
            value => value.as_object().and_then(|object| object.keys().next().cloned()).unwrap_or_default(),
        })
        .collect();
    assert_eq!(phases, variants::<Phase>());
    let events = every_event(1, super::sample::START);
    assert_eq!(heads(events.iter().map(|(name, _)| *name)), variants::<Event>());
    for (name, event) in &events {
        let stored = serde_json::to_value(event).expect("an event is JSON").to_string();
        assert!(
            stored.contains(&format!("\"{}\"", name.split(':').next().unwrap_or(name))),
            "{name}: {stored}"
        );
    }
}

#[test]
fn what_is_said_of_an_earlier_attempt_changes_nothing() {
    for (word, life) in every_phase().into_iter().filter(|(_, life)| life.job.attempt > 1) {
        for (name, event) in every_event(life.job.attempt - 1, life.now) {
            let wanted = match (&event, life.job.outcome()) {
                (Event::SlotGranted { .. }, _) => "wdraw",
                (Event::CallbackReceived { .. }, None) => "410",
                (Event::CallbackReceived { .. }, Some(_)) => "409",
                (event, _) if event.reported_attempt().is_some() => "disc",
                _ => continue,
            };
            assert_eq!(cell(&life, &event), wanted, "{name} in {word}");
        }
    }
}

#[test]
fn what_is_said_of_an_attempt_to_come_is_refused() {
    for (word, life) in every_phase() {
        let number = life.job.attempt + 1;
        for (name, event) in every_event(number, life.now) {
            let wanted = match (&event, life.job.outcome()) {
                (Event::CallbackReceived { .. }, None) => "404",
                (Event::CallbackReceived { .. }, Some(_)) => "409",
                (Event::SlotGranted { .. }, _) => continue,
                (event, _) if event.reported_attempt().is_some() => "disc",
                _ => continue,
            };
            assert_eq!(cell(&life, &event), wanted, "{name} in {word}");
        }
    }
}

#[test]
fn a_job_is_created_by_a_submission_only() {
    use crate::durable::Machine as _;
    use crate::job::state::Job;
    for (name, event) in every_event(1, super::sample::START) {
        let created = Job::create(super::sample::ID, &event, super::sample::START);
        assert_eq!(created.is_some(), name == "submitted", "{name}");
    }
}
