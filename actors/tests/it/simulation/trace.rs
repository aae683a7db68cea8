//! Everything that happened in a world, as a hash: two runs of one seed have the same. With `DOGWATCH_SIM_TRACE` set
//! it is printed as well.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use parking_lot::Mutex;

use super::time::Time;

#[derive(Clone)]
pub(super) struct Trace {
    kept: Arc<Mutex<(DefaultHasher, Vec<String>)>>,
    time: Time,
    prints: bool,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").finish_non_exhaustive()
    }
}

impl Trace {
    pub(super) fn new(time: Time) -> Self {
        Self { kept: Arc::default(), time, prints: std::env::var_os("DOGWATCH_SIM_TRACE").is_some() }
    }

    pub(super) fn note(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:>9} {what}", self.time.millis());
        if self.prints {
            println!("{line}");
        }
        let mut kept = self.kept.lock();
        line.hash(&mut kept.0);
        kept.1.push(line);
    }

    /// Bytes that are hashed but not printed.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        bytes.hash(&mut self.kept.lock().0);
    }

    /// The lines, which are gone from here.
    pub(super) fn take_lines(&self) -> Vec<String> {
        std::mem::take(&mut self.kept.lock().1)
    }

    pub(super) fn hash(&self) -> u64 {
        self.kept.lock().0.finish()
    }
}

/// Notes a line, written as for `format!`.
macro_rules! note {
    ($trace:expr, $($what:tt)*) => { $trace.note(format_args!($($what)*)) };
}
pub(super) use note;
