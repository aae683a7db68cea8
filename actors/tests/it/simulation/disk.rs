//! The store of a simulated world: durable when a sync says so, lost before that; slow, full or panicking as ordered.

use std::sync::Arc;

use dogwatch_actors::store::memory::MemoryStore;
use dogwatch_actors::store::{Batch, Committed, KeyRange, Op, Order, Result, Rows, Store};
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};

use super::faults::Panics;
use super::trace::{Trace, note};

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) memory: Arc<MemoryStore>,
    pub(super) trace: Trace,
    pub(super) panics: Panics,
    /// Rung when something waits for a sync.
    pub(super) written: Arc<Notify>,
}

impl Store for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.panics.perhaps();
        self.memory.get(key)
    }

    fn scan_all(&self, ranges: Vec<KeyRange>, order: Order, limit: usize) -> Result<Vec<Rows>> {
        self.panics.perhaps();
        self.memory.scan_all(ranges, order, limit)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Committed>> {
        self.panics.perhaps();
        note!(self.trace, "commit of {} changes", batch.ops.len());
        for op in &batch.ops {
            match op {
                Op::Put { key, value } => [key, value].map(|bytes| self.trace.bytes(bytes)).to_vec(),
                Op::Delete { key } => vec![self.trace.bytes(key)],
                Op::Append { value, .. } => vec![self.trace.bytes(value)],
            };
        }
        let answer = self.memory.commit(batch);
        self.written.notify_one();
        answer
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.memory.appended()
    }

    fn health(&self) -> Result<()> {
        self.memory.health()
    }

    fn size_on_disk(&self) -> Option<u64> {
        None
    }

    fn close(&self) {
        self.memory.close();
    }
}
