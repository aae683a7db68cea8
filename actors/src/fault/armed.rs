//! What armed points do, over the crate `fail`. Exists only with the feature `fault-points`.
//!
//! The registry of `fail` is global to the process, as an environment variable is: the one exception to the rule
//! that there is none, and never in a release. Tests that arm points in their own process run one per process.

use std::fmt::Display;
use std::time::Duration;

use super::{ALL, Mode};

/// How long a delayed point stalls its thread.
const DELAY: Duration = Duration::from_millis(100);

/// Why points cannot be armed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArmError {
    /// There is no such point.
    #[error("there is no fault point `{0}`; `dogwatch_actors::fault::ALL` lists them")]
    NoPoint(String),
    /// The rest is not understood.
    #[error(
        "`{0}` is no fault; write `point=mode` with crash, panic, error or delay, and `@3`, `@3..8` or `@3..`"
    )]
    BadFault(String),
    /// The point has no error of its own.
    #[error("`{0}` has no error of its own; use crash, panic or delay there")]
    CannotFail(&'static str),
}

/// Arms points: `submit:committed=crash@3, step:taken[<text of a machine's id>]=panic@1..`.
///
/// A mode takes effect the first time; with `@n` the n-th time, with `@n..m` from the n-th to the m-th, with
/// `@n..` from the n-th on. What is armed stays so beside it.
pub fn arm(faults: &str) -> Result<(), ArmError> {
    for fault in faults.split(',').map(str::trim).filter(|fault| !fault.is_empty()) {
        let bad = || ArmError::BadFault(fault.to_owned());
        let (place, what) = fault.split_once('=').ok_or_else(bad)?;
        let name = place.split('[').next().unwrap_or(place);
        let point = ALL.iter().find(|point| point.name() == name);
        let point = point.ok_or_else(|| ArmError::NoPoint(name.to_owned()))?;
        let (mode, times) = what.split_once('@').unwrap_or((what, "1"));
        let mode = Mode::ALL.into_iter().find(|known| known.name() == mode).ok_or_else(bad)?;
        if mode == Mode::Error && !point.can_fail() {
            return Err(ArmError::CannotFail(point.name()));
        }
        let actions = actions(mode, times).ok_or_else(bad)?;
        fail::cfg(place, &actions).map_err(|_| bad())?;
    }
    Ok(())
}

/// The times in the language of `fail`: what was counted down gives way to the next.
fn actions(mode: Mode, times: &str) -> Option<String> {
    let (first, last) = match times.split_once("..") {
        None => (times, Some(times)),
        Some((first, "")) => (first, None),
        Some((first, last)) => (first, Some(last)),
    };
    let first: usize = first.parse().ok().filter(|first| *first > 0)?;
    let before = if first > 1 { format!("{}*off->", first - 1) } else { String::new() };
    let hits = match last {
        None => String::new(),
        Some(last) => format!("{}*", last.parse::<usize>().ok()?.checked_sub(first)? + 1),
    };
    Some(format!("{before}{hits}return({})", mode.name()))
}

/// Disarms every point.
pub fn disarm() {
    for (name, _) in fail::list() {
        fail::remove(name);
    }
}

pub(super) fn reach(name: &str) {
    strike(name);
}

pub(super) fn reach_of(name: &str, subject: &dyn Display) {
    strike(name);
    strike(&format!("{name}[{subject}]"));
}

pub(super) fn fails(name: &str) -> bool {
    strike(name) == Some(Mode::Error)
}

fn strike(name: &str) -> Option<Mode> {
    let text = fail::eval(name, |text| text)??;
    let mode = Mode::ALL.into_iter().find(|mode| mode.name() == text)?;
    tracing::warn!(point = name, mode = mode.name(), "fault point hit");
    match mode {
        Mode::Crash => std::process::abort(),
        Mode::Panic => panic!("fault point {name}"),
        Mode::Delay => std::thread::sleep(DELAY),
        Mode::Error => {}
    }
    Some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Point, check, reach_of};

    fn hits(point: Point, times: usize) -> Vec<bool> {
        (0..times).map(|_| check(point, || ()).is_err()).collect()
    }

    #[test]
    fn a_point_is_hit_when_it_is_told_to_and_not_before_or_after() {
        let (no, yes) = (false, true);
        for (point, times, expected) in [
            (Point::SubmitAdmitted, "", [yes, no, no, no]),
            (Point::SubmitCommitted, "@2", [no, yes, no, no]),
            (Point::SubmitReplayed, "@2..3", [no, yes, yes, no]),
            (Point::CancelAdmitted, "@3..", [no, no, yes, yes]),
        ] {
            arm(&format!("{}=error{times}", point.name())).unwrap();
            assert_eq!(hits(point, 4), expected, "{times}");
        }
    }

    #[test]
    fn a_machine_can_be_picked_out() {
        arm("actor:resumed[7]=panic@1..").unwrap();
        reach_of(Point::ActorResumed, 8);
        let panic = std::panic::catch_unwind(|| reach_of(Point::ActorResumed, 7)).unwrap_err();
        assert_eq!(crate::supervise::panic_text(&*panic), "fault point actor:resumed[7]");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert_eq!(arm("no:such=crash"), Err(ArmError::NoPoint("no:such".into())));
        assert_eq!(arm("step:taken=error"), Err(ArmError::CannotFail("step:taken")));
        for fault in ["step:taken", "step:taken=burn", "step:taken=crash@0", "step:taken=crash@3..2"] {
            assert_eq!(arm(fault), Err(ArmError::BadFault(fault.into())));
        }
        assert_eq!(arm(""), Ok(()));
    }
}
