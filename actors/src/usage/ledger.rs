//! The books: charges of attempts, folded into sums by hour and account.
//!
//! Responsible for: folding, forgetting what is old, and reading. Not responsible for: writing charges, which come with
//! the commits of their jobs, nor for what a report shows.
//!
//! Invariants:
//! - a charge is in its sum or still a row of its own, never both and never neither: one commit adds the one and deletes
//!   the other;
//! - nothing is folded while somebody reads, who adds charges to sums: a report has everything that was acknowledged
//!   before it was asked for, and writes nothing;
//! - only the background folds, to the end of each commit: one that is given up while it is under way would be repeated
//!   on what it has changed;
//! - sums of an hour are bounded, whatever labels there are.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Usage;
use super::charge::{Account, Charge, VERSION, hour_of};
use crate::admission::Rules;
use crate::clock::Clock;
use crate::durable::keys;
use crate::job::spec::Spec;
use crate::limits::{
    USAGE_ACCOUNTS_MAX, USAGE_FOLD_EVERY, USAGE_FOLD_PAGE, USAGE_KEPT_HOURS, USAGE_READ_PAGE,
    USAGE_TENANTS_MAX,
};
use crate::store::{Batch, Key, KeyRange, Order, Result, Rows, Store, codec};

/// What one account used in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Whose.
    #[serde(rename = "a")]
    pub account: Account,
    /// How many attempts ended.
    #[serde(rename = "c")]
    pub attempts: u64,
    /// What they used.
    #[serde(rename = "u")]
    pub usage: Usage,
}

/// The books of a store.
pub(crate) struct Ledger {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Who the tenant of a job is that names none.
    rules: Rules,
    folding: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Those of this store.
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, rules: Rules) -> Self {
        Self { store, clock, rules, folding: tokio::sync::Mutex::default() }
    }

    /// Whose a job is, and what it used counts for.
    pub(crate) fn tenant_of<'a>(&self, spec: &'a Spec) -> &'a str {
        self.rules.tenant_of(spec)
    }

    /// Folds and forgets, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut forgot_in = None;
        loop {
            tokio::time::sleep(USAGE_FOLD_EVERY).await;
            let hour = hour_of(self.clock.now());
            let done = async {
                self.fold().await?;
                if forgot_in != Some(hour) {
                    self.forget(USAGE_KEPT_HOURS).await?;
                }
                Ok::<_, crate::store::Error>(())
            };
            let done = done.await;
            forgot_in = Some(hour);
            if let Err(error) = done {
                tracing::error!(%error, "the usage of ended attempts cannot be summed up; nothing of it is lost");
            }
        }
    }

    /// Gives every sum of these hours to `each`.
    pub(crate) async fn read(&self, hours: Range<u32>, mut each: impl FnMut(Sum)) -> Result<()> {
        // Held to the end: what is read must not be folded meanwhile.
        let _folding = self.folding.lock().await;
        let sums = KeyRange { from: keys::sums(hours.start), to: Some(keys::sums(hours.end)) };
        self.pages(sums, |key, value| {
            each(codec::decode(key, value)?.parse(key)?);
            Ok(())
        })
        .await?;
        let charges = KeyRange { from: keys::charges_of(hours.start), to: Some(keys::charges_of(hours.end)) };
        self.pages(charges, |key, value| {
            let Charge { account, usage } = self.charge(key, value)?;
            each(Sum { account, attempts: 1, usage });
            Ok(())
        })
        .await
    }

    async fn pages(
        &self,
        mut range: KeyRange,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        while !range.is_empty() {
            let rows = self.store.scan(range.clone(), Order::Ascending, USAGE_READ_PAGE)?;
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            for (key, value) in &rows {
                each(key, value)?;
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// A charge, with the tenant that admission takes it to be of.
    fn charge(&self, key: &[u8], value: &[u8]) -> Result<Charge> {
        let mut charge: Charge = codec::decode(key, value)?.parse(key)?;
        let account = &mut charge.account;
        let tenant = self.rules.tenant(account.tenant.as_ref(), &account.labels).to_owned();
        account.tenant = Some(tenant);
        Ok(charge)
    }

    /// Folds the charges that there are; those that come meanwhile may wait for the next time.
    async fn fold(&self) -> Result<()> {
        let mut range = KeyRange::prefix(keys::charges());
        loop {
            let _folding = self.folding.lock().await;
            let rows = self.store.scan(range.clone(), Order::Ascending, USAGE_FOLD_PAGE)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            // What is deleted need not be passed over again.
            range = range.after(last);
            let is_last = rows.len() < USAGE_FOLD_PAGE;
            self.store.commit(self.folded(rows)?).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// The commit that folds these charges.
    fn folded(&self, rows: Rows) -> Result<Batch> {
        let mut hours: BTreeMap<u32, Hour> = BTreeMap::new();
        let mut batch = Batch::new();
        for (key, value) in rows {
            let charge = self.charge(&key, &value)?;
            // A key that names no hour was not made by us; what it says is still owed.
            let hour = keys::hour_of(&key).unwrap_or(0);
            let sums = match hours.entry(hour) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(self.hour(hour)?),
            };
            sums.add(hour, charge);
            batch.delete(key);
        }
        for (key, sum) in hours.into_values().flat_map(Hour::changed) {
            batch.put(key, codec::encode(VERSION, &sum));
        }
        Ok(batch)
    }

    fn hour(&self, hour: u32) -> Result<Hour> {
        let range = KeyRange { from: keys::sums(hour), to: Some(keys::sums(hour.saturating_add(1))) };
        let rows = self.store.scan(range, Order::Ascending, USAGE_TENANTS_MAX + 1)?;
        let sums = rows.into_iter().map(|(key, value)| {
            let sum = codec::decode(&key, &value)?.parse(&key)?;
            Ok((key, (sum, false)))
        });
        Ok(Hour { sums: sums.collect::<Result<_>>()? })
    }

    /// Deletes the sums of the oldest hours, so that so many are left. Hours with sums are counted, not hours that have
    /// passed: a clock that is wrong for a moment must not take a year of bills with it.
    async fn forget(&self, kept: u32) -> Result<()> {
        let mut range = KeyRange::prefix(keys::all_sums());
        for _ in 0..kept {
            let newest = self.store.scan(range.clone(), Order::Descending, 1)?;
            let Some(hour) = newest.first().and_then(|(key, _)| keys::hour_of(key)) else {
                return Ok(());
            };
            range = range.before(&keys::sums(hour));
            tokio::task::yield_now().await;
        }
        loop {
            let rows = self.store.scan(range.clone(), Order::Ascending, USAGE_FOLD_PAGE)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            range = range.after(last);
            let mut batch = Batch::new();
            for (key, _) in rows {
                batch.delete(key);
            }
            self.store.commit(batch).await?;
        }
    }
}

/// The sums of one hour, and which of them have changed.
struct Hour {
    sums: HashMap<Key, (Sum, bool)>,
}

impl Hour {
    fn add(&mut self, hour: u32, charge: Charge) {
        let known = self.sums.len();
        let key = keys::sum(hour, &digest(&charge.account));
        let (key, account) = match &charge.account {
            account if self.sums.contains_key(&key) || known < USAGE_ACCOUNTS_MAX => (key, account.clone()),
            account => self.beyond(hour, account, known),
        };
        let empty = || (Sum { account, attempts: 0, usage: Usage::default() }, true);
        let (sum, changed) = self.sums.entry(key).or_insert_with(empty);
        sum.attempts += 1;
        sum.usage += charge.usage;
        *changed = true;
    }

    /// Where something goes for which there is no account of its own any more in this hour.
    fn beyond(&self, hour: u32, account: &Account, known: usize) -> (Key, Account) {
        let account = account.of_tenant();
        let key = keys::sum(hour, &digest(&account));
        if self.sums.contains_key(&key) || known < USAGE_TENANTS_MAX {
            return (key, account);
        }
        let all = Account::of_all();
        (keys::sum(hour, &digest(&all)), all)
    }

    fn changed(self) -> impl Iterator<Item = (Key, Sum)> {
        self.sums.into_iter().filter(|(_, (_, changed))| *changed).map(|(key, (sum, _))| (key, sum))
    }
}

/// What an account is found by. Users choose its parts, so that it must not be possible to make two that collide.
fn digest(account: &Account) -> [u8; 16] {
    let text = serde_json::to_vec(account).unwrap_or_default();
    let mut front = [0; 16];
    front.copy_from_slice(&Sha256::digest(text)[..16]);
    front
}

#[cfg(test)]
mod tests;
