//! What to do next with one attempt: a table over what is believed of it, what is wished for it and what was
//! just observed.
//!
//! Pure. Not responsible for: doing it, or pausing between tries (`driver.rs`).
//!
//! Invariants:
//! - only an observation ends an attempt; an error never does, but for the two that are facts themselves: it
//!   can never start, and its name is somebody else's;
//! - an attempt is created only while it is not known that it ever existed;
//! - an attempt is started only when the runtime says that it never was, or that the next part of it never was.

use super::Report;
use crate::runtime::{Due, Error, Observation, StartFault};

/// What is believed of an attempt, in the order of its life. Never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Belief {
    /// It may be created: nobody has seen it yet.
    Fresh,
    /// It exists or existed, and no start was asked for.
    Created,
    /// A start was asked for; whether it happened is not known.
    Asked,
    /// It was seen running, or over.
    Ran,
}

impl Belief {
    /// The belief after an observation.
    pub(super) fn with(self, observation: &Observation) -> Self {
        self.max(match observation {
            Observation::Absent | Observation::Incomplete => Self::Fresh,
            Observation::Created => Self::Created,
            Observation::Running(_) | Observation::Due(..) | Observation::Exited(_) => Self::Ran,
        })
    }
}

/// A call that changes something, or the one that looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Look.
    Observe,
    /// Create it.
    Create,
    /// Put its files where it finds them.
    Place,
    /// Start it.
    Start,
    /// Make it end.
    Stop,
    /// Remove what was created and never started, so that a start still under way finds nothing.
    Undo,
}

impl Step {
    /// The step's name in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Create => "create",
            Self::Place => "place its files",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Undo => "remove",
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// Take this step, then look again.
    Take(Step),
    /// Wait until something may have changed, then look again.
    Watch,
    /// Pause, then look again.
    Retry,
    /// It is over.
    End(Report),
}

/// What follows from an observation. `belief` is from before it; `stopping` is whether the attempt shall end.
pub(super) fn decide(belief: Belief, stopping: bool, observation: Observation) -> Next {
    match (observation, belief, stopping) {
        (Observation::Absent, Belief::Fresh, false) => Next::Take(Step::Create),
        (Observation::Absent, Belief::Fresh | Belief::Created, true) => Next::End(Report::NeverStarted),
        (Observation::Absent, _, _) => Next::End(Report::Vanished),
        // A half of a group that never began is completed, or cleared away.
        (Observation::Incomplete, Belief::Fresh | Belief::Created, false) => Next::Take(Step::Create),
        (Observation::Incomplete, Belief::Fresh | Belief::Created, true) => Next::Take(Step::Undo),
        // It may have run, and somebody else removed the rest.
        (Observation::Incomplete, _, _) => Next::End(Report::Vanished),
        (Observation::Created, _, false) => Next::Take(Step::Start),
        (Observation::Created, _, true) => Next::Take(Step::Undo),
        (Observation::Due(_, Due::Start(_)), _, false) => Next::Take(Step::Start),
        (Observation::Due(..), _, _) => Next::Take(Step::Stop),
        (Observation::Running(_), _, false) => Next::Watch,
        (Observation::Running(_), _, true) => Next::Take(Step::Stop),
        (Observation::Exited(exit), _, _) => Next::End(Report::Exited(exit)),
    }
}

/// What follows from the failure of a step.
pub(super) fn judge(belief: Belief, stopping: bool, step: Step, error: &Error) -> Next {
    match (error, step) {
        (Error::Start { fault, message }, Step::Create | Step::Place | Step::Start) => {
            Next::End(Report::StartFailed { fault: *fault, message: message.clone() })
        }
        (Error::Foreign { .. }, Step::Create) => Next::End(foreign(error)),
        // Somebody else has the name. Before anything of ours existed that only means that ours cannot; after
        // it, that ours is gone.
        (Error::Foreign { .. }, Step::Observe) if belief > Belief::Fresh => Next::End(Report::Vanished),
        (Error::Foreign { .. }, Step::Observe) if stopping => Next::End(Report::NeverStarted),
        (Error::Foreign { .. }, Step::Observe) => Next::End(foreign(error)),
        _ => Next::Retry,
    }
}

fn foreign(error: &Error) -> Report {
    Report::StartFailed { fault: StartFault::Rejected, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::Belief::{Asked, Created, Fresh, Ran};
    use super::*;
    use crate::clock::Timestamp;
    use crate::runtime::{Exit, Running};

    fn running() -> Observation {
        let started_at = Timestamp::from_millis(0);
        Observation::Running(Running { runtime_id: "r".to_owned(), started_at, address: None })
    }

    fn due(due: Due) -> Observation {
        let Observation::Running(running) = running() else { unreachable!() };
        Observation::Due(running, due)
    }

    fn exit() -> Exit {
        Exit {
            runtime_id: "r".to_owned(),
            code: Some(3),
            signal: None,
            oom_killed: false,
            container: None,
            unseen: None,
            started_at: None,
            finished_at: None,
            usage: None,
        }
    }

    #[test]
    fn every_observation_under_every_belief_and_wish() {
        use Observation::{Absent, Created as Made, Exited, Incomplete};
        let (go, stop) = (false, true);
        let table = [
            (Fresh, go, Absent, Next::Take(Step::Create)),
            (Created, go, Absent, Next::End(Report::Vanished)),
            (Asked, go, Absent, Next::End(Report::Vanished)),
            (Ran, go, Absent, Next::End(Report::Vanished)),
            (Fresh, stop, Absent, Next::End(Report::NeverStarted)),
            (Created, stop, Absent, Next::End(Report::NeverStarted)),
            (Asked, stop, Absent, Next::End(Report::Vanished)),
            (Ran, stop, Absent, Next::End(Report::Vanished)),
            (Fresh, go, Incomplete, Next::Take(Step::Create)),
            (Created, go, Incomplete, Next::Take(Step::Create)),
            (Asked, go, Incomplete, Next::End(Report::Vanished)),
            (Ran, go, Incomplete, Next::End(Report::Vanished)),
            (Fresh, stop, Incomplete, Next::Take(Step::Undo)),
            (Created, stop, Incomplete, Next::Take(Step::Undo)),
            (Asked, stop, Incomplete, Next::End(Report::Vanished)),
            (Ran, stop, Incomplete, Next::End(Report::Vanished)),
        ];
        for (belief, stopping, observation, next) in table {
            assert_eq!(decide(belief, stopping, observation), next, "{belief:?} {stopping}");
        }
        for belief in [Fresh, Created, Asked, Ran] {
            assert_eq!(decide(belief, go, Made), Next::Take(Step::Start));
            assert_eq!(decide(belief, stop, Made), Next::Take(Step::Undo));
            assert_eq!(decide(belief, go, running()), Next::Watch);
            assert_eq!(decide(belief, stop, running()), Next::Take(Step::Stop));
            for stopping in [go, stop] {
                assert_eq!(decide(belief, stopping, Exited(exit())), Next::End(Report::Exited(exit())));
                assert_eq!(decide(belief, stopping, due(Due::Stop)), Next::Take(Step::Stop));
            }
            let next = || Due::Start("proxy".to_owned());
            assert_eq!(decide(belief, go, due(next())), Next::Take(Step::Start));
            assert_eq!(decide(belief, stop, due(next())), Next::Take(Step::Stop));
        }
    }

    #[test]
    fn what_is_not_known_never_ends_an_attempt() {
        let unavailable = Error::Unavailable { runtime: "fake".to_owned(), message: "gone".to_owned() };
        let transient = Error::Transient { message: "pull: 503".to_owned() };
        for belief in [Fresh, Created, Asked, Ran] {
            for step in [Step::Observe, Step::Create, Step::Place, Step::Start, Step::Stop, Step::Undo] {
                for error in [&unavailable, &transient] {
                    for stopping in [false, true] {
                        assert_eq!(judge(belief, stopping, step, error), Next::Retry, "{belief:?} {step:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_can_never_start_ends_and_a_foreign_name_is_never_touched() {
        let start = Error::Start { fault: StartFault::ImageNotFound, message: "no image x".to_owned() };
        let failed =
            Report::StartFailed { fault: StartFault::ImageNotFound, message: "no image x".to_owned() };
        assert_eq!(judge(Fresh, false, Step::Create, &start), Next::End(failed.clone()));
        assert_eq!(judge(Asked, true, Step::Start, &start), Next::End(failed));
        assert_eq!(judge(Asked, false, Step::Observe, &start), Next::Retry);
        let foreign = Error::Foreign { name: "dogwatch-x-1".to_owned() };
        let rejected = Report::StartFailed { fault: StartFault::Rejected, message: foreign.to_string() };
        assert_eq!(judge(Fresh, false, Step::Create, &foreign), Next::End(rejected.clone()));
        assert_eq!(judge(Fresh, false, Step::Observe, &foreign), Next::End(rejected));
        assert_eq!(judge(Fresh, true, Step::Observe, &foreign), Next::End(Report::NeverStarted));
        for belief in [Created, Asked, Ran] {
            assert_eq!(judge(belief, true, Step::Observe, &foreign), Next::End(Report::Vanished));
        }
    }

    #[test]
    fn belief_never_goes_back() {
        assert_eq!(Fresh.with(&Observation::Created), Created);
        assert_eq!(Asked.with(&Observation::Created), Asked);
        assert_eq!(Ran.with(&Observation::Absent), Ran);
        assert_eq!(Asked.with(&running()), Ran);
        assert_eq!(Fresh.with(&Observation::Exited(exit())), Ran);
    }
}
