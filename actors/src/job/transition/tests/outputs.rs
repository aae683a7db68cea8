//! What attempts leave.

use super::sample::{ID, Life, exit, spec};
use crate::durable::Machine as _;
use crate::files::sweep::Sweep;
use crate::files::{Artifact, Collected, Output};
use crate::job::cause::Cause;
use crate::job::effect::Effect;
use crate::job::event::Event;
use crate::job::spec::{Completion, Spec};
use crate::limits::{ARTIFACTS_KEPT_MAX, OUTPUT_FILES_MAX};
use serde_json::Value;

fn left(count: usize, fault: Option<&str>) -> Box<Collected> {
    let artifact = |number| Artifact { name: format!("out/{number}"), bytes: 1, sha256: "00".repeat(32) };
    Box::new(Collected { artifacts: (0..count).map(artifact).collect(), fault: fault.map(str::to_owned) })
}

fn leaves(life: &mut Life, code: i32, outputs: Box<Collected>) {
    life.apply(Event::OutputsCollected { attempt: life.job.attempt, exit: exit(code), outputs });
}

#[test]
fn a_fault_of_the_outputs_fails_only_what_would_have_succeeded() {
    use Completion::{Callback, Either};
    let missing = || left(1, Some("output `x` is missing"));
    let table = [
        (Either, 0, left(1, None), "succeeded", Cause::Success),
        (Either, 0, missing(), "failed", Cause::OutputFailed),
        (Either, 3, missing(), "failed", Cause::ExitCode),
        (Callback, 0, missing(), "failed", Cause::OutputFailed),
    ];
    for (completion, code, outputs, state, cause) in table {
        let mut life = Life::of(Spec { completion, max_attempts: Some(1), ..spec() });
        life.running();
        leaves(&mut life, code, outputs);
        if completion == Callback {
            // What was missing is remembered until the callback says that all is well.
            life.calls_back("completed", Value::Null);
        }
        assert_eq!(life.outcome(), Some((state, cause)), "{completion:?} {code}");
        assert_eq!(life.job.artifact("out/0", None).map(|(number, _)| number), Some(1));
    }
}

#[test]
fn what_the_oldest_attempts_left_goes_first() {
    let mut life = Life::of(Spec { max_attempts: None, ..spec() });
    let full = ARTIFACTS_KEPT_MAX / OUTPUT_FILES_MAX;
    for number in 1..=full + 2 {
        life.running();
        leaves(&mut life, 1, left(OUTPUT_FILES_MAX, None));
        let dropped = life.effects.iter().filter_map(|effect| match effect {
            Effect::DropArtifacts { attempt } => Some(*attempt),
            _ => None,
        });
        let expected =
            number.checked_sub(full).filter(|gone| *gone > 0).and_then(|gone| u32::try_from(gone).ok());
        assert_eq!(dropped.collect::<Vec<_>>(), Vec::from_iter(expected), "after attempt {number}");
        let kept: usize = life.job.attempts.iter().map(|attempt| attempt.artifacts.len()).sum();
        assert!(
            kept <= ARTIFACTS_KEPT_MAX && life.job.artifact("out/0", Some(1)).is_some() == (number <= full)
        );
        life.tick();
    }
}

#[test]
fn a_purge_orders_the_removal_of_what_was_left() {
    for outputs in [vec![], vec![Output { path: "out".into(), ..Output::default() }]] {
        let expected = outputs.len();
        let mut life = Life::of(Spec { outputs, max_attempts: Some(1), ..spec() });
        life.running().exits(0);
        let step = life.try_apply(&Event::PurgeRequested).unwrap();
        let orders: Vec<_> = step.outbox.iter().filter(|message| message.kind == Sweep::KIND).collect();
        assert_eq!(orders.len(), expected);
        assert!(orders.iter().all(|order| order.id == ID.as_bytes()));
    }
}
