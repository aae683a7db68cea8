//! The last durable snapshots of the machines that are in memory, for readers.
//!
//! A store may show a batch to readers a moment before it is durable; what a user was shown must never turn
//! out not to have happened. So readers take the snapshot of a hydrated machine from here, where its actor
//! puts it after each durable commit, and only those of machines at rest from the store.
//!
//! Also wakes whoever waits for a machine to change.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::{Machine, keys};
use crate::store::{self, Store, codec};

/// Locks are held for one map operation; this many keep readers and writers apart.
const STRIPES: usize = 64;

type Snapshot<M> = Option<Arc<M>>;
type Interest = HashMap<Vec<u8>, (watch::Sender<u64>, usize)>;

/// The published snapshots of one kind. `None` stands for a machine that is not durable yet.
#[derive(Debug)]
pub struct Published<M: Machine> {
    store: Arc<dyn Store>,
    stripes: Vec<RwLock<HashMap<M::Id, Snapshot<M>>>>,
    hasher: RandomState,
    interest: Mutex<Interest>,
    interested: AtomicUsize,
}

impl<M: Machine> Published<M> {
    /// Nothing published yet, over this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            stripes: (0..STRIPES).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            interest: Mutex::default(),
            interested: AtomicUsize::new(0),
        }
    }

    fn stripe(&self, id: M::Id) -> &RwLock<HashMap<M::Id, Snapshot<M>>> {
        let hash = usize::try_from(self.hasher.hash_one(id) % STRIPES as u64).unwrap_or(0);
        &self.stripes[hash]
    }

    /// Shows `snapshot` as the machine's durable state; `None` while it has none.
    pub(super) fn show(&self, id: M::Id, snapshot: Snapshot<M>) {
        self.stripe(id).write().insert(id, snapshot);
        self.wake(id);
    }

    /// Leaves the machine to the store: its actor is gone and what it committed is durable.
    pub(super) fn retire(&self, id: M::Id) {
        self.stripe(id).write().remove(&id);
        self.wake(id);
    }

    /// How many machines are in memory.
    pub fn in_memory(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.read().len()).sum()
    }

    /// The machine's last durable state.
    pub fn read(&self, id: M::Id) -> store::Result<Option<Arc<M>>> {
        if let Some(shown) = self.shown(id) {
            return Ok(shown);
        }
        let stored = load::<M>(id, |key| self.store.get(key))?;
        // It may have been hydrated, and a commit begun, while we read.
        Ok(self.shown(id).unwrap_or_else(|| stored.map(|stored| Arc::new(stored.machine))))
    }

    fn shown(&self, id: M::Id) -> Option<Snapshot<M>> {
        self.stripe(id).read().get(&id).cloned()
    }

    fn wake(&self, id: M::Id) {
        if self.interested.load(Ordering::SeqCst) == 0 {
            return;
        }
        let interest = self.interest.lock();
        if let Some((sender, _)) = interest.get(&super::MachineId::to_key(id)) {
            sender.send_modify(|changes| *changes += 1);
        }
    }

    /// Registers interest in a machine: [`Watching::changed`] resolves after each change of its durable state.
    /// Register first, read afterwards.
    pub fn watch(self: &Arc<Self>, id: M::Id) -> Watching<M> {
        let key = super::MachineId::to_key(id);
        let mut interest = self.interest.lock();
        let changes = match interest.entry(key) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().1 += 1;
                entry.get().0.subscribe()
            }
            Entry::Vacant(entry) => entry.insert((watch::Sender::new(0), 1)).0.subscribe(),
        };
        self.interested.fetch_add(1, Ordering::SeqCst);
        Watching { published: Arc::clone(self), id, changes }
    }
}

/// Interest in one machine; ends when it is dropped.
#[derive(Debug)]
pub struct Watching<M: Machine> {
    published: Arc<Published<M>>,
    id: M::Id,
    changes: watch::Receiver<u64>,
}

impl<M: Machine> Watching<M> {
    /// Resolves when the machine changed since the last call (or since the registration).
    pub async fn changed(&mut self) {
        // The sender lives in the map for as long as this registration does.
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl<M: Machine> Drop for Watching<M> {
    fn drop(&mut self) {
        let key = super::MachineId::to_key(self.id);
        let mut interest = self.published.interest.lock();
        if let Entry::Occupied(mut entry) = interest.entry(key) {
            entry.get_mut().1 -= 1;
            if entry.get().1 == 0 {
                entry.remove();
            }
        }
        self.published.interested.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A machine as it is stored.
pub(crate) struct Stored<M> {
    /// The machine.
    pub(crate) machine: M,
    /// What it was given has a row of its own, or needs none.
    pub(super) given: bool,
}

/// Reads a machine from rows, upgrading older forms.
pub(crate) fn load<M: Machine>(
    id: M::Id,
    get: impl Fn(&[u8]) -> store::Result<Option<Vec<u8>>>,
) -> store::Result<Option<Stored<M>>> {
    let key = keys::snapshot::<M>(id);
    let Some(bytes) = get(&key)? else { return Ok(None) };
    let record = codec::decode(&key, &bytes)?;
    if record.version != M::VERSION {
        let machine = M::upgrade(record.version, record.body);
        let machine = machine.map_err(|reason| store::Error::Corrupt(reason.into()))?;
        return Ok(Some(Stored { machine, given: !M::HAS_GIVEN }));
    }
    let machine = record.parse::<M>(&key)?;
    if !M::HAS_GIVEN {
        return Ok(Some(Stored { machine, given: true }));
    }
    let given_key = keys::given::<M>(id);
    let Some(bytes) = get(&given_key)? else {
        // Purged between the two looks, or lost.
        let lost = || format!("the row {} of the {} {id} is missing", given_key.escape_ascii(), M::KIND);
        return get(&key)?.map_or(Ok(None), |_| Err(store::Error::Corrupt(lost().into())));
    };
    let given = codec::decode(&given_key, &bytes)?.parse::<M::Given>(&given_key)?;
    Ok(Some(Stored { machine: machine.with_given(given), given: true }))
}
