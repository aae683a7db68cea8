//! Reading the history of an instance from the store.

use std::sync::Arc;

use super::super::history::Entry;
use super::super::state::Orchestration;
use crate::durable::keys;
use crate::store::{Key, KeyRange, Order, Result, Store, codec};

/// Rows read at once.
const PAGE: usize = 256;

/// The entries of the current execution up to this state, from number `from` on; read as they are asked for.
pub(crate) fn entries(
    store: &Arc<dyn Store>,
    state: &Orchestration,
    from: u64,
) -> impl Iterator<Item = Result<Entry>> + use<> {
    let entry = |number| keys::history_entry::<Orchestration>(state.id, number);
    let mut range = KeyRange { from: entry(from), to: Some(entry(state.revision + 1)) };
    let mut page: std::vec::IntoIter<(Key, Vec<u8>)> = Vec::new().into_iter();
    let store = Arc::clone(store);
    std::iter::from_fn(move || {
        loop {
            if let Some((key, row)) = page.next() {
                return Some(codec::decode(&key, &row).and_then(|record| record.parse(&key)));
            }
            let rows = match store.scan(range.clone(), Order::Ascending, PAGE) {
                Ok(rows) => rows,
                Err(error) => return Some(Err(error)),
            };
            range = range.clone().after(&rows.last()?.0);
            page = rows.into_iter();
        }
    })
}
