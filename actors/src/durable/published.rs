//! The last durable snapshots of the machines that are in memory, for readers.
//!
//! A store may show a batch to readers a moment before it is durable; what a user was shown must never turn
//! out not to have happened. So readers take the snapshot of a hydrated machine from here, where its actor
//! puts it after each durable commit, and only those of machines at rest from the store.
//!
//! Of those at rest the last that were read are kept, too. That is safe because only its actor changes a machine, and an
//! actor shows itself here before it changes anything.
//!
//! Also wakes whoever waits for a machine to change. Who waits for one state of many says which: it is looked at where the
//! machine is shown, so that nobody is woken, often on another thread, only to find that it is not yet so.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::RwLock;
use tokio::sync::Notify;

use super::{Machine, keys};
use crate::limits::SNAPSHOTS_RESTING_MAX;
use crate::store::{self, KeyRange, Rows, Store, codec};

/// Locks are held for one map operation; this many keep readers and writers apart.
const STRIPES: usize = 64;

/// Snapshots of machines at rest in each stripe before the older half goes.
const RESTING_MAX: usize = SNAPSHOTS_RESTING_MAX / STRIPES;

type Snapshot<M> = Option<Arc<M>>;

/// Whether a machine is as somebody waits for it to be; `None` while there is none. Called where the machine is shown, under
/// a lock: it must be quick, look at nothing else, and be no code of users.
pub type Wanted<M> = Arc<dyn Fn(Option<&M>) -> bool + Send + Sync>;

/// Somebody who waits.
struct Watcher<M> {
    /// What for; `None` for any change.
    wanted: Option<Wanted<M>>,
    changed: Arc<Notify>,
}

impl<M> fmt::Debug for Watcher<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Stripe<M: Machine> {
    /// Those in memory. `None` stands for a machine that is not durable yet.
    shown: HashMap<M::Id, Snapshot<M>, RandomState>,
    /// Those at rest that were read: what was put there last, and what was before that.
    resting: [HashMap<M::Id, Arc<M>, RandomState>; 2],
    /// Counts what was shown and retired, so that whoever read the store meanwhile knows that it may be old.
    changes: u64,
    watchers: HashMap<M::Id, Vec<Watcher<M>>, RandomState>,
}

impl<M: Machine> Default for Stripe<M> {
    fn default() -> Self {
        let (shown, watchers) = (HashMap::default(), HashMap::default());
        Self { shown, resting: Default::default(), changes: 0, watchers }
    }
}

impl<M: Machine> Stripe<M> {
    fn find(&self, id: M::Id) -> Option<Snapshot<M>> {
        let resting = || self.resting.iter().find_map(|resting| resting.get(&id)).cloned().map(Some);
        self.shown.get(&id).cloned().or_else(resting)
    }

    fn keep(&mut self, id: M::Id, snapshot: Arc<M>) {
        if self.resting[0].len() >= RESTING_MAX / 2 {
            self.resting[1] = std::mem::take(&mut self.resting[0]);
        }
        self.resting[0].insert(id, snapshot);
    }

    /// Whom a machine concerns: where it is not known what it is now (`None`), everybody who waits for it.
    fn concerned(&self, id: M::Id, now: Option<&Snapshot<M>>) -> Vec<Arc<Notify>> {
        let concerns = |watcher: &&Watcher<M>| match (&watcher.wanted, now) {
            (Some(wanted), Some(snapshot)) => wanted(snapshot.as_deref()),
            _ => true,
        };
        let watchers = self.watchers.get(&id).into_iter().flatten();
        watchers.filter(concerns).map(|watcher| Arc::clone(&watcher.changed)).collect()
    }
}

/// The published snapshots of one kind.
#[derive(Debug)]
pub struct Published<M: Machine> {
    store: Arc<dyn Store>,
    stripes: Vec<RwLock<Stripe<M>>>,
    hasher: RandomState,
}

impl<M: Machine> Published<M> {
    /// Nothing published yet, over this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            stripes: (0..STRIPES).map(|_| RwLock::default()).collect(),
            hasher: RandomState::default(),
        }
    }

    fn stripe(&self, id: M::Id) -> &RwLock<Stripe<M>> {
        let hash = usize::try_from(self.hasher.hash_one(id) % STRIPES as u64).unwrap_or(0);
        &self.stripes[hash]
    }

    /// Shows `snapshot` as the machine's durable state; `None` while it has none.
    pub(super) fn show(&self, id: M::Id, snapshot: Snapshot<M>) {
        let concerned = {
            let mut stripe = self.stripe(id).write();
            stripe.changes += 1;
            let concerned = stripe.concerned(id, Some(&snapshot));
            if stripe.shown.insert(id, snapshot).is_none() {
                stripe.resting.iter_mut().for_each(|resting| drop(resting.remove(&id)));
            }
            concerned
        };
        concerned.iter().for_each(|changed| changed.notify_one());
    }

    /// Leaves the machine to the store: its actor is gone and what it committed is durable.
    pub(super) fn retire(&self, id: M::Id) {
        let concerned = {
            let mut stripe = self.stripe(id).write();
            stripe.changes += 1;
            stripe.shown.remove(&id);
            stripe.concerned(id, None)
        };
        concerned.iter().for_each(|changed| changed.notify_one());
    }

    /// How many machines are in memory.
    pub fn in_memory(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.read().shown.len()).sum()
    }

    /// The machine's last durable state where it is in memory; `None` where only the store knows.
    pub(crate) fn at_hand(&self, id: M::Id) -> Option<Snapshot<M>> {
        self.stripe(id).read().find(id)
    }

    /// The machine's last durable state.
    pub fn read(&self, id: M::Id) -> store::Result<Option<Arc<M>>> {
        let changes = {
            let stripe = self.stripe(id).read();
            if let Some(found) = stripe.find(id) {
                return Ok(found);
            }
            stripe.changes
        };
        let stored = load::<M>(id, |key| self.store.get(key))?.map(|stored| Arc::new(stored.machine));
        let mut stripe = self.stripe(id).write();
        // It may have been hydrated, and a commit begun, while we read.
        if let Some(found) = stripe.find(id) {
            return Ok(found);
        }
        // Or have come and gone, and what we read is what it was before.
        if let Some(snapshot) = &stored
            && stripe.changes == changes
        {
            stripe.keep(id, Arc::clone(snapshot));
        }
        Ok(stored)
    }

    /// Registers interest in a machine: [`Watching::changed`] resolves after each change of its durable state.
    /// Register first, read afterwards.
    pub fn watch(self: &Arc<Self>, id: M::Id) -> Watching<M> {
        self.register(id, None)
    }

    /// The machine's durable state as soon as it is as wanted, which it may have ceased to be since.
    pub async fn until(self: &Arc<Self>, id: M::Id, wanted: &Wanted<M>) -> store::Result<Option<Arc<M>>> {
        let mut watching = self.register(id, Some(Arc::clone(wanted)));
        loop {
            let snapshot = self.read(id)?;
            if wanted(snapshot.as_deref()) {
                return Ok(snapshot);
            }
            watching.changed().await;
        }
    }

    fn register(self: &Arc<Self>, id: M::Id, wanted: Option<Wanted<M>>) -> Watching<M> {
        let changed = Arc::new(Notify::new());
        let watcher = Watcher { wanted, changed: Arc::clone(&changed) };
        self.stripe(id).write().watchers.entry(id).or_default().push(watcher);
        Watching { published: Arc::clone(self), id, changed }
    }
}

/// Interest in one machine; ends when it is dropped.
#[derive(Debug)]
pub struct Watching<M: Machine> {
    published: Arc<Published<M>>,
    id: M::Id,
    changed: Arc<Notify>,
}

impl<M: Machine> Watching<M> {
    /// Resolves when the machine changed since the last call (or since the registration).
    pub async fn changed(&mut self) {
        self.changed.notified().await;
    }
}

impl<M: Machine> Drop for Watching<M> {
    fn drop(&mut self) {
        let mut stripe = self.published.stripe(self.id).write();
        if let Entry::Occupied(mut entry) = stripe.watchers.entry(self.id) {
            entry.get_mut().retain(|watcher| !Arc::ptr_eq(&watcher.changed, &self.changed));
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }
}

/// A machine as it is stored.
pub(crate) struct Stored<M> {
    /// The machine.
    pub(crate) machine: M,
    /// What it was given has a row of its own.
    pub(super) has_given_row: bool,
}

/// Rows beside a snapshot that are read at once.
const ROWS_PAGE: usize = 1_024;

/// Reads back what a machine keeps beside its snapshot; `scan` gives at most so many rows of a range, ascending.
pub(crate) fn load_rows<M: Machine>(
    id: M::Id,
    machine: &mut M,
    scan: impl Fn(KeyRange, usize) -> store::Result<Rows>,
) -> store::Result<()> {
    let all = keys::rows::<M>(id);
    for begins in M::ROWS {
        let mut range = KeyRange::prefix(keys::row::<M>(id, begins));
        loop {
            let rows = scan(range.clone(), ROWS_PAGE)?;
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            for (key, value) in &rows {
                machine.read_row(&key[all.len()..], value)?;
            }
        }
    }
    machine.rows_read();
    Ok(())
}

/// Reads a machine from its snapshot, upgrading older forms.
pub(crate) fn load<M: Machine>(
    id: M::Id,
    get: impl Fn(&[u8]) -> store::Result<Option<Vec<u8>>>,
) -> store::Result<Option<Stored<M>>> {
    let (key, given_key) = (keys::snapshot::<M>(id), keys::given::<M>(id));
    let mut row = get(&key)?;
    while let Some(bytes) = row {
        let record = codec::decode(&key, &bytes)?;
        if record.version != M::VERSION {
            let machine = M::upgrade(&record);
            let machine = machine.map_err(|reason| store::Error::Corrupt(reason.into()))?;
            return Ok(Some(Stored { machine, has_given_row: false }));
        }
        let (machine, given) = record.parse_both::<M, M::Given>(&key)?;
        if !M::HAS_GIVEN {
            return Ok(Some(Stored { machine, has_given_row: false }));
        }
        if let Some(given) = given {
            return Ok(Some(Stored { machine: machine.with_given(given), has_given_row: false }));
        }
        if let Some(given) = get(&given_key)? {
            let given = codec::decode(&given_key, &given)?.parse::<M::Given>(&given_key)?;
            return Ok(Some(Stored { machine: machine.with_given(given), has_given_row: true }));
        }
        // Come to rest or purged between the two looks, or lost.
        row = get(&key)?;
        if row.as_ref() == Some(&bytes) {
            let row = given_key.escape_ascii();
            let lost = format!("the row {row} of the {} {id} is missing", M::KIND);
            return Err(store::Error::Corrupt(lost.into()));
        }
    }
    Ok(None)
}
