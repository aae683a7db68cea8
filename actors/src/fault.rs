//! Named places in the life of a job at which a test lets the program crash, panic, fail or stall.
//!
//! Each step that may be the last one before a crash is a [`Point`]; [`ALL`] lists them, so that a test can go
//! through every one. Product code names a point in one line: [`reach`] where nothing can fail, [`check`] where
//! the step has an error of its own, [`reach_of`] where a test wants to hit one machine only. What a point does
//! is set by `arm`, which exists only with the crate feature `fault-points`; without it all of this compiles to
//! nothing.
//!
//! Not responsible for: what must hold afterwards (the tests say). No part of the crate's stable interface.
//!
//! Invariants:
//! - without the feature a point has no effect and no cost;
//! - a point in front of an effect and one behind it are two points: an error at the first means that nothing was
//!   done, at the second that it was done and nobody knows;
//! - a point that was hit says so in the log before it does anything, so that a test can tell whether it was.

#[cfg(feature = "fault-points")]
mod armed;
mod point;

pub use point::{ALL, Point};

#[cfg(feature = "fault-points")]
pub use armed::{ArmError, arm, disarm};

use std::fmt::Display;

/// What happens at a point that is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The process ends at once, as by a kill.
    Crash,
    /// The code panics.
    Panic,
    /// The step fails with its module's own error; only where [`Point::can_fail`] says so.
    Error,
    /// The thread stalls for a moment.
    Delay,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 4] = [Self::Crash, Self::Panic, Self::Error, Self::Delay];

    /// The name in settings and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Panic => "panic",
            Self::Error => "error",
            Self::Delay => "delay",
        }
    }
}

/// The program has come to `point`, which has no error of its own.
#[inline(always)]
pub fn reach(point: Point) {
    #[cfg(feature = "fault-points")]
    armed::reach(point.name());
    #[cfg(not(feature = "fault-points"))]
    let _ = point;
}

/// The program has come to `point` with this machine or attempt, by whose text a test may pick it out.
#[inline(always)]
pub fn reach_of(point: Point, subject: impl Display) {
    #[cfg(feature = "fault-points")]
    armed::reach_of(point.name(), &subject);
    #[cfg(not(feature = "fault-points"))]
    let _ = (point, subject);
}

/// The program has come to `point`, where the step may fail with `error`.
#[inline(always)]
pub fn check<E>(point: Point, error: impl FnOnce() -> E) -> Result<(), E> {
    #[cfg(feature = "fault-points")]
    if armed::fails(point.name()) {
        return Err(error());
    }
    let _ = (point, error);
    Ok(())
}
