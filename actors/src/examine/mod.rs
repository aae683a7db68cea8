//! Whether everything in a store fits together: each record reads, each job's history is whole, each index row has
//! its job and each job its index rows.
//!
//! Responsible for finding and naming what is missing or broken. Not responsible for mending it, nor for what the
//! store itself vouches for (its checksums and counts, whose complaints are taken over).
//!
//! Invariants: rows are read a page at a time, so that memory does not grow with the store; a job that cannot be
//! read does not keep the others from being looked at. A store in use is looked at several times: what is only
//! changing looks different each time, what is broken looks the same.

mod rows;

use std::path::Path;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::rows::Examination;
use crate::store::{self, Key, KeyRange, Order, Salvage, Store};

/// Looks at a store in use are repeated so often, until they find nothing.
const LOOKS_MAX: usize = 4;

/// What an examination found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// Whether nothing is missing or broken.
    pub ok: bool,
    /// Whether a server was using the store.
    pub in_use: bool,
    /// Which database.
    pub kind: Option<String>,
    /// The version of what is in it.
    pub format: Option<u32>,
    /// The highest sequence number.
    pub last_sequence: u64,
    /// The groups of commits in it, when the server does not run.
    pub groups: Option<u64>,
    /// The groups of commits that were acknowledged, when that is known.
    pub acknowledged_groups: Option<u64>,
    /// Bytes on disk, where that is known.
    pub bytes: Option<u64>,
    /// What is in it.
    pub records: Records,
    /// What is missing or broken; the first of it, when there is much.
    pub faults: Vec<Fault>,
    /// How many faults there are in all.
    pub faults_found: u64,
}

/// The number of records by what they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Records {
    /// Jobs.
    pub jobs: u64,
    /// Webhook deliveries.
    pub webhooks: u64,
    /// Orchestrations.
    #[serde(default)]
    pub orchestrations: u64,
    /// Pools.
    #[serde(default)]
    pub pools: u64,
    /// Arrays.
    #[serde(default)]
    pub arrays: u64,
    /// Removals of what purged jobs left.
    #[serde(default)]
    pub sweeps: u64,
    /// Schedules.
    #[serde(default)]
    pub schedules: u64,
    /// Triggers.
    #[serde(default)]
    pub triggers: u64,
    /// Entities.
    #[serde(default)]
    pub entities: u64,
    /// Queues.
    #[serde(default)]
    pub queues: u64,
    /// Rows that queues keep of their messages, and triggers of their items.
    #[serde(default)]
    pub rows: u64,
    /// Entries of histories.
    pub history: u64,
    /// Rows by which jobs are listed, found again at a start, or woken.
    pub index: u64,
    /// Armed timers.
    pub timers: u64,
    /// Idempotency keys.
    pub claims: u64,
    /// Rows of the books of usage.
    #[serde(default)]
    pub usage: u64,
    /// Marks of callbacks and raised events that were applied.
    pub digests: u64,
    /// Events for followers.
    pub events: u64,
    /// Messages that are under way between machines.
    pub messages: u64,
}

/// Something that is missing or broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// The job that it concerns, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// What it is.
    pub message: String,
}

/// What an examination reads from.
pub(crate) trait Source {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> store::Result<Option<Vec<u8>>>;

    /// At most `limit` keys of `range`, ascending.
    fn keys(&self, range: KeyRange, limit: usize) -> store::Result<Vec<Key>>;
}

impl Source for Salvage {
    fn get(&self, key: &[u8]) -> store::Result<Option<Vec<u8>>> {
        Self::get(self, key)
    }

    fn keys(&self, range: KeyRange, limit: usize) -> store::Result<Vec<Key>> {
        Self::keys(self, range, limit)
    }
}

impl Source for &dyn Store {
    fn get(&self, key: &[u8]) -> store::Result<Option<Vec<u8>>> {
        Store::get(*self, key)
    }

    fn keys(&self, range: KeyRange, limit: usize) -> store::Result<Vec<Key>> {
        Ok(self.scan(range, Order::Ascending, limit)?.into_iter().map(|(key, _)| key).collect())
    }
}

/// Examines the store in `dir`, which nobody uses; `None` when there is none. Fails when it cannot even be looked
/// at. Blocking.
pub fn offline(dir: &Path) -> store::Result<Option<Report>> {
    let Some(salvage) = Salvage::open(dir)? else { return Ok(None) };
    let mut found = Examination::default();
    for complaint in &salvage.complaints {
        found.fault(None, complaint.to_string());
    }
    found.run(&salvage);
    let about = &salvage.about;
    Ok(Some(Report {
        kind: Some(about.kind.name().to_owned()),
        format: Some(about.format),
        last_sequence: about.last_sequence,
        groups: Some(about.groups),
        acknowledged_groups: about.acknowledged_groups,
        bytes: about.bytes,
        ..found.report()
    }))
}

/// Examines a store in use. Blocking.
pub fn online(store: &dyn Store) -> Report {
    let mut report = look(store);
    for _ in 1..LOOKS_MAX {
        if report.faults.is_empty() {
            break;
        }
        let again = look(store);
        report.faults.retain(|fault| again.faults.contains(fault));
        report.faults_found = report.faults.len() as u64;
        report.records = again.records;
    }
    report.ok = report.faults.is_empty();
    report.in_use = true;
    report.format = Some(store::FORMAT);
    report.last_sequence = *store.appended().borrow();
    report.bytes = store.size_on_disk();
    report
}

fn look(store: &dyn Store) -> Report {
    let mut found = Examination::default();
    found.run(&store);
    found.report()
}
