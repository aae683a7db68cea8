//! What is to be done for each instance, and the code that rests in memory between events.
//!
//! At most one driver works for an instance at a time. Of the code at rest the last [`INSTANCES_HOT_MAX`] are kept.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use parking_lot::Mutex;

use super::super::history::{Arrival, TaskResult};
use super::super::id::InstanceId;
use super::hot::Hot;
use super::resting::Resting;
use crate::limits::INSTANCES_HOT_MAX;

/// Locks are held for one map operation; this many keep instances apart.
const STRIPES: usize = 64;

/// Codes at rest in each stripe.
const RESTING_MAX: usize = INSTANCES_HOT_MAX / STRIPES;

/// What is to be done for an instance.
#[derive(Default)]
pub(super) struct Work {
    /// What is in memory is of no use.
    pub(super) forget: bool,
    /// The history may hold what the code has not seen.
    pub(super) look: bool,
    /// Arrivals: of which execution, which number, what.
    pub(super) fresh: Vec<(u32, u64, Arrival)>,
    /// Results of activities: of which execution, what.
    pub(super) results: Vec<(u32, TaskResult)>,
}

impl Work {
    fn is_empty(&self) -> bool {
        !self.forget && !self.look && self.fresh.is_empty() && self.results.is_empty()
    }
}

/// What is known of all instances.
pub(super) struct Seats {
    stripes: Vec<Mutex<Stripe>>,
    hasher: RandomState,
}

struct Stripe {
    /// Those that a driver works for, with what came meanwhile.
    driven: HashMap<InstanceId, Work>,
    /// Code at rest.
    resting: Resting<InstanceId, Box<Hot>>,
}

impl Default for Seats {
    fn default() -> Self {
        let stripe = |_| Mutex::new(Stripe { driven: HashMap::new(), resting: Resting::new(RESTING_MAX) });
        Self { stripes: (0..STRIPES).map(stripe).collect(), hasher: RandomState::new() }
    }
}

impl Seats {
    fn stripe(&self, id: InstanceId) -> &Mutex<Stripe> {
        let hash = usize::try_from(self.hasher.hash_one(id) % STRIPES as u64).unwrap_or(0);
        &self.stripes[hash]
    }

    /// Adds work; tells whether a driver must be started for it.
    pub(super) fn add(&self, id: InstanceId, add: impl FnOnce(&mut Work)) -> bool {
        let mut stripe = self.stripe(id).lock();
        match stripe.driven.get_mut(&id) {
            Some(work) => {
                add(work);
                false
            }
            None => {
                let mut work = Work::default();
                add(&mut work);
                stripe.driven.insert(id, work);
                true
            }
        }
    }

    /// Forgets the code of an instance.
    pub(super) fn forget(&self, id: InstanceId) {
        let mut stripe = self.stripe(id).lock();
        let dropped = stripe.resting.remove(&id);
        if let Some(work) = stripe.driven.get_mut(&id) {
            work.forget = true;
            work.fresh.clear();
        }
        // Outside of the lock: what the code holds may take a while to drop.
        drop(stripe);
        drop(dropped);
    }

    /// The code at rest of an instance.
    pub(super) fn wake(&self, id: InstanceId) -> Option<Box<Hot>> {
        let mut stripe = self.stripe(id).lock();
        stripe.resting.remove(&id)
    }

    /// The next work for the driver of an instance. When there is none it ends, and the code rests.
    pub(super) fn next(&self, id: InstanceId, hot: &mut Option<Box<Hot>>) -> Option<Work> {
        let mut old = HashMap::new();
        let mut stripe = self.stripe(id).lock();
        let work = stripe.driven.get_mut(&id)?;
        if !work.is_empty() {
            return Some(std::mem::take(work));
        }
        stripe.driven.remove(&id);
        if let Some(hot) = hot.take() {
            old = stripe.resting.insert(id, hot);
        }
        drop(stripe);
        drop(old);
        None
    }

    /// Puts back what could not be done.
    pub(super) fn put_back(&self, id: InstanceId, results: Vec<(u32, TaskResult)>) {
        if let Some(work) = self.stripe(id).lock().driven.get_mut(&id) {
            work.look = true;
            work.results.splice(0..0, results);
        }
    }
}
