//! What random lives are made of: a job's spec, and what happens to it next.
//!
//! Not responsible for what follows from it: that is `crash.rs`.

use proptest::prelude::*;

use super::super::sample::{at, hooked, service_spec, spec};
use crate::admission::{Concurrency, OnConflict};
use crate::job::spec::{Completion, ExitCodes, RestartPolicy, RetryAction, RetryRule, Spec};
use crate::units::Span;

/// Where the process dies within a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    Nowhere,
    BeforeCommit,
    AfterCommit,
}

/// What happens next.
#[derive(Debug, Clone)]
pub(super) enum What {
    /// One of the events that the world would send now.
    Plausible(prop::sample::Index),
    /// Any event, about the newest attempt, the one before it or the one after it.
    Any(prop::sample::Index, u32),
    /// A tick at the deadline, when there is one.
    Deadline,
}

#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) what: What,
    /// The wall clock moves by so many seconds; it may jump back.
    pub(super) moves: i64,
    pub(super) crash: Crash,
}

pub(super) fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let what = prop_oneof![
        6 => any::<prop::sample::Index>().prop_map(What::Plausible),
        3 => (any::<prop::sample::Index>(), 0..3u32).prop_map(|(index, offset)| What::Any(index, offset)),
        2 => Just(What::Deadline),
    ];
    let moves = prop_oneof![4 => Just(0), 4 => 1..9i64, 2 => 10..700i64, 1 => Just(4_000), 1 => Just(-500)];
    let crash =
        prop_oneof![6 => Just(Crash::Nowhere), 1 => Just(Crash::BeforeCommit), 2 => Just(Crash::AfterCommit)];
    let input = (what, moves, crash).prop_map(|(what, moves, crash)| Input { what, moves, crash });
    prop::collection::vec(input, 1..70)
}

pub(super) fn specs() -> impl Strategy<Value = Spec> {
    let policy =
        prop::sample::select(vec![RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never]);
    let completion = prop::sample::select(vec![Completion::Exit, Completion::Callback, Completion::Either]);
    let limit = |secs: u64| prop::option::weighted(0.3, Just(Span::from_secs(secs)));
    let max = prop::sample::select(vec![None, Some(1), Some(2), Some(4)]);
    let times = (limit(900), limit(60), limit(30), prop::option::weighted(0.1, Just(at(40))));
    let flags =
        (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.2), 0..3usize, any::<bool>());
    (policy, completion, max, times, flags).prop_map(
        |(restart_policy, completion, max_attempts, times, flags)| {
            let (timeout, attempt_timeout, queue_timeout, start_at) = times;
            let (is_service, suspended, has_rules, targets, has_key) = flags;
            let concurrency =
                Concurrency { key: "k".into(), limit: Some(1), on_conflict: OnConflict::Queue, rate: None };
            let is_service = is_service && completion != Completion::Exit;
            let free = RetryRule {
                exit_codes: vec![ExitCodes::One(1)],
                causes: vec![],
                action: RetryAction::RetryFree,
            };
            Spec {
                restart_policy,
                completion,
                max_attempts,
                timeout,
                attempt_timeout,
                queue_timeout,
                start_at,
                suspended,
                retry_rules: if has_rules { vec![free] } else { vec![] },
                on_complete: hooked(targets),
                concurrency: has_key.then_some(concurrency),
                ..if is_service { service_spec() } else { spec() }
            }
        },
    )
}
