//! What follows from the list of everything a runtime knows: one comparison, made at every start, after every
//! interruption and at a fixed pace, whether or not anything hinted at a change.
//!
//! Pure. Not responsible for: what an attempt's state means. It never ends an attempt and never adopts one: a
//! driven attempt that looks different is looked at again by its own driver, and one that is active without a
//! driver is left alone, because its job will drive it.

use std::collections::HashSet;

use super::Standing;
use super::roster::{Hold, Roster, Seen};
use crate::id::AttemptKey;
use crate::runtime::Observation;

/// One row of the list, with what the ledger says of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed {
    /// Which attempt.
    pub(super) key: AttemptKey,
    /// What the runtime knows of it.
    pub(super) observation: Observation,
    /// What its job says of it; `None` when the ledger could not answer.
    pub(super) standing: Option<Standing>,
}

/// What to do about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Have its driver look at once.
    Kick(AttemptKey),
    /// Nobody will ever ask for it again: save its log and remove it.
    Discard(AttemptKey),
}

/// Compares what `runtime` knows with the books.
pub(super) fn reconcile(runtime: &str, listed: &[Listed], roster: &Roster) -> Vec<Action> {
    let mut actions = Vec::new();
    for row in listed {
        match (roster.hold(row.key), row.standing) {
            // Also what is still driven or told of: that it is over is final, and its job may have died of saying so.
            (None | Some(Hold::Driven { .. } | Hold::Ended), Some(Standing::Over)) => {
                actions.push(Action::Discard(row.key));
            }
            (Some(Hold::Driven { runtime: on, seen, .. }), _)
                if on == runtime && differs(*seen, &row.observation) =>
            {
                actions.push(Action::Kick(row.key));
            }
            _ => {}
        }
    }
    let listed: HashSet<AttemptKey> = listed.iter().map(|row| row.key).collect();
    let missing =
        roster.driven_on(runtime).filter(|(key, seen)| *seen != Seen::Starting && !listed.contains(key));
    actions.extend(missing.map(|(key, _)| Action::Kick(key)));
    actions
}

/// Whether a look may tell the driver something: it could not look before, or would see something else.
const fn differs(seen: Seen, observation: &Observation) -> bool {
    match seen {
        Seen::Unknown => true,
        Seen::Running => !matches!(observation, Observation::Running(_)),
        Seen::Starting => {
            matches!(observation, Observation::Running(_) | Observation::Due(..) | Observation::Exited(_))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Rules, Ticket};
    use crate::clock::Timestamp;
    use crate::fleet::roster::{Ahead, Budget, Demand};
    use crate::id::JobId;
    use crate::runtime::{Exit, Running};

    fn key(job: u8) -> AttemptKey {
        AttemptKey::new(JobId::from_bytes([job; 16]), 1)
    }

    fn running() -> Observation {
        let started_at = Timestamp::from_millis(0);
        Observation::Running(Running { runtime_id: "r".to_owned(), started_at, address: None })
    }

    fn exited() -> Observation {
        Observation::Exited(Exit {
            runtime_id: "r".to_owned(),
            code: Some(0),
            signal: None,
            oom_killed: false,
            container: None,
            unseen: None,
            started_at: None,
            finished_at: None,
            usage: None,
        })
    }

    fn row(key: AttemptKey, observation: Observation, standing: Option<Standing>) -> Listed {
        Listed { key, observation, standing }
    }

    #[test]
    fn only_what_the_ledger_calls_over_is_discarded_whoever_holds_it() {
        let mut roster = Roster::new(Budget::default(), Rules::default());
        roster.drive(key(1), "fake", Demand::default(), true, Ticket::default());
        roster.drive(key(2), "fake", Demand::default(), true, Ticket::default());
        roster.end(key(2));
        roster.request(key(3), Timestamp::from_millis(1), Demand::default(), Ahead::No, Ticket::default());
        let listed: Vec<Listed> = [1, 2, 3, 4]
            .into_iter()
            .map(|job| row(key(job), Observation::Created, Some(Standing::Over)))
            .chain([row(key(5), running(), Some(Standing::Active)), row(key(6), exited(), None)])
            .collect();
        let over = [1, 2, 4].map(|job| Action::Discard(key(job)));
        assert_eq!(
            reconcile("fake", &listed, &roster),
            over,
            "the third one asks anew and has no attempt yet"
        );
    }

    #[test]
    fn a_driver_is_kicked_when_the_list_differs_from_what_it_last_saw() {
        let kicked = |seen: Seen, listed: Option<Observation>| {
            let mut roster = Roster::new(Budget::default(), Rules::default());
            roster.drive(key(1), "fake", Demand::default(), true, Ticket::default());
            roster.see(key(1), seen);
            let listed: Vec<Listed> =
                listed.into_iter().map(|it| row(key(1), it, Some(Standing::Active))).collect();
            assert_eq!(reconcile("other", &listed, &roster), [], "the runtime is another");
            reconcile("fake", &listed, &roster) == [Action::Kick(key(1))]
        };
        let table = [
            (Seen::Starting, None, false),
            (Seen::Starting, Some(Observation::Created), false),
            (Seen::Starting, Some(running()), true),
            (Seen::Starting, Some(exited()), true),
            (Seen::Running, None, true),
            (Seen::Running, Some(running()), false),
            (Seen::Running, Some(exited()), true),
            (Seen::Unknown, None, true),
            (Seen::Unknown, Some(running()), true),
            (Seen::Unknown, Some(Observation::Created), true),
        ];
        for (seen, listed, expected) in table {
            assert_eq!(kicked(seen, listed.clone()), expected, "{seen:?} {listed:?}");
        }
    }
}
