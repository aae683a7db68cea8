use futures_util::FutureExt as _;

use super::*;
use crate::clock::ManualClock;
use crate::examine;
use crate::id::{Ids as _, JobId, RandomIds};
use crate::store::memory::{Fault, MemoryStore};
use crate::usage::charge::begin_of;

const HOUR: u32 = 500_000;

fn ledger(store: &Arc<MemoryStore>) -> Ledger {
    Ledger::new(
        Arc::<MemoryStore>::clone(store),
        Arc::new(ManualClock::starting_at(begin_of(HOUR))),
        Rules::default(),
    )
}

fn id() -> JobId {
    RandomIds.job_id(begin_of(HOUR))
}

fn account(tenant: &str) -> Account {
    Account { tenant: Some(tenant.to_owned()), ..Account::default() }
}

fn used(running_ms: u64) -> Usage {
    Usage { running_ms, cpu_us: 1, ..Usage::default() }
}

/// Charges one attempt each; the commit is one.
async fn charge(store: &MemoryStore, hour: u32, accounts: impl IntoIterator<Item = Account>) {
    let mut batch = Batch::new();
    for account in accounts {
        let charge = Charge { account, usage: used(10) };
        batch.put(keys::charge(hour, id(), 1), codec::encode(VERSION, &charge));
    }
    store.commit(batch).await.unwrap();
}

/// What is read, by account.
async fn totals(ledger: &Ledger, hours: Range<u32>) -> BTreeMap<Account, (u64, u64)> {
    let mut sums: BTreeMap<Account, (u64, u64)> = BTreeMap::new();
    let add = |sum: Sum| {
        let known = sums.entry(sum.account).or_default();
        known.0 += sum.attempts;
        known.1 += sum.usage.running_ms;
    };
    ledger.read(hours, add).await.unwrap();
    sums
}

/// The same when all is folded.
async fn sums(ledger: &Ledger, hours: Range<u32>) -> BTreeMap<Account, (u64, u64)> {
    ledger.fold().await.unwrap();
    totals(ledger, hours).await
}

fn rows(store: &MemoryStore, prefix: Key) -> usize {
    store.scan(KeyRange::prefix(prefix), Order::Ascending, usize::MAX).unwrap().len()
}

#[actix_rt::test]
async fn charges_become_sums_and_each_counts_once() {
    let store = Arc::new(MemoryStore::new());
    let ledger = ledger(&store);
    for round in 1..=3 {
        charge(&store, HOUR, [account("a"), account("a"), account("b")]).await;
        // Read before and after they are folded, it is the same, and reading changes nothing.
        for left in [3, 0] {
            let known = rows(&store, keys::all_sums());
            let sums = totals(&ledger, HOUR..HOUR + 1).await;
            assert_eq!(sums[&account("a")], (2 * round, 20 * round));
            assert_eq!(sums[&account("b")], (round, 10 * round));
            assert_eq!((rows(&store, keys::charges()), rows(&store, keys::all_sums())), (left, known));
            ledger.fold().await.unwrap();
        }
        assert_eq!((rows(&store, keys::charges()), rows(&store, keys::all_sums())), (0, 2));
    }
}

#[actix_rt::test]
async fn the_tenant_is_who_admission_says_it_is() {
    let store = Arc::new(MemoryStore::new());
    let rules = Rules { tenant_label: Some("team".into()), ..Rules::default() };
    let ledger = Ledger::new(
        Arc::<MemoryStore>::clone(&store),
        Arc::new(ManualClock::starting_at(begin_of(HOUR))),
        rules,
    );
    let labelled =
        || Account { labels: [("team".to_owned(), "red".to_owned())].into(), ..Account::default() };
    charge(
        &store,
        HOUR,
        [labelled(), Account { tenant: Some("a".into()), ..labelled() }, Account::default()],
    )
    .await;
    let tenants: Vec<_> =
        sums(&ledger, HOUR..HOUR + 1).await.into_keys().filter_map(|account| account.tenant).collect();
    assert_eq!(tenants, ["a", "default", "red"]);
}

#[actix_rt::test]
async fn an_hour_begins_and_ends_where_it_should() {
    let store = Arc::new(MemoryStore::new());
    let ledger = ledger(&store);
    for hour in [HOUR - 1, HOUR, HOUR + 1] {
        charge(&store, hour, [account(&format!("of {hour}"))]).await;
    }
    let names = |sums: BTreeMap<Account, (u64, u64)>| sums.into_keys().filter_map(|account| account.tenant);
    let read = async |hours| names(sums(&ledger, hours).await).collect::<Vec<_>>();
    assert_eq!(read(HOUR..HOUR + 1).await, [format!("of {HOUR}")]);
    assert_eq!(read(HOUR - 1..HOUR + 1).await.len(), 2);
    assert_eq!(read(0..u32::MAX).await.len(), 3);
    #[expect(clippy::reversed_empty_ranges, reason = "a client may ask for that")]
    let none = read(HOUR + 1..HOUR).await;
    assert!(none.is_empty());
}

#[actix_rt::test]
async fn a_crash_at_any_moment_loses_and_doubles_nothing() {
    for (nth, fault) in
        [(1, Fault::Freeze), (1, Fault::KeepThenFreeze), (2, Fault::Freeze), (2, Fault::KeepThenFreeze)]
    {
        let store = Arc::new(MemoryStore::new());
        charge(&store, HOUR, (0..USAGE_FOLD_PAGE + 10).map(|_| account("a"))).await;
        let what = format!("{fault:?} at commit {nth} of the folding");
        store.inject(nth, fault);
        let folding = ledger(&store);
        assert!(folding.fold().now_or_never().is_none(), "it ends in spite of {what}");
        let left = Arc::new(store.crash());
        let sum = sums(&ledger(&left), HOUR..HOUR + 1).await[&account("a")];
        assert_eq!(sum.0, USAGE_FOLD_PAGE as u64 + 10, "{what}");
    }
}

#[actix_rt::test]
async fn sums_are_bounded_whatever_labels_there_are() {
    let store = Arc::new(MemoryStore::new());
    let ledger = ledger(&store);
    let labelled = |run: usize| Account {
        labels: [("run".to_owned(), run.to_string())].into(),
        ..account(&format!("tenant-{}", run % 3))
    };
    charge(&store, HOUR, (0..USAGE_ACCOUNTS_MAX + 300).map(labelled)).await;
    let all = sums(&ledger, HOUR..HOUR + 1).await;
    assert_eq!(all.len(), USAGE_ACCOUNTS_MAX + 3);
    let attempts: u64 = all.values().map(|(attempts, _)| attempts).sum();
    assert_eq!(attempts, USAGE_ACCOUNTS_MAX as u64 + 300);
    // And whatever tenants.
    charge(&store, HOUR, (0..USAGE_TENANTS_MAX).map(|one| account(&format!("another-{one}")))).await;
    let all = sums(&ledger, HOUR..HOUR + 1).await;
    assert_eq!(all.len(), USAGE_TENANTS_MAX + 1);
    assert!(all.contains_key(&Account::of_all()));
}

#[actix_rt::test]
async fn what_is_old_is_forgotten() {
    let store = Arc::new(MemoryStore::new());
    let ledger = ledger(&store);
    // One of them by a clock that was wrong for a moment.
    for hour in [0, HOUR - 100_000, HOUR - 1, HOUR, u32::MAX - 1] {
        charge(&store, hour, [account("a"), account("b")]).await;
    }
    ledger.fold().await.unwrap();
    for (kept, left) in [(USAGE_KEPT_HOURS, 5), (5, 5), (3, 3), (3, 3), (1, 1)] {
        ledger.forget(kept).await.unwrap();
        assert_eq!(rows(&store, keys::all_sums()), 2 * left, "{kept}");
    }
    assert!(sums(&ledger, HOUR..HOUR + 1).await.is_empty());
}

#[tokio::test]
async fn who_examines_the_books_reads_each_row_as_what_it_is() {
    let store = Arc::new(MemoryStore::new());
    charge(&store, HOUR, [account("a")]).await;
    ledger(&store).fold().await.unwrap();
    charge(&store, HOUR, [account("b")]).await;
    let report = examine::online(store.as_ref());
    assert!(report.ok && report.records.usage == 2, "{report:?}");
    // Rows of the one kind where the other should be.
    let row = |prefix| store.scan(KeyRange::prefix(prefix), Order::Ascending, 1).unwrap().remove(0);
    let ((charge, _), (sum, value)) = (row(keys::charges()), row(keys::all_sums()));
    let mut body: serde_json::Value = codec::decode(&sum, &value).unwrap().parse(&sum).unwrap();
    body.as_object_mut().unwrap().remove("c").unwrap();
    for (key, body) in [(sum, body), (charge, serde_json::json!({}))] {
        let mut batch = Batch::new();
        batch.put(key.clone(), codec::encode(VERSION, &body));
        store.commit(batch).await.unwrap();
        let found = examine::online(store.as_ref()).faults_found;
        assert_eq!(found, 1, "{}", key.escape_ascii());
        let mut batch = Batch::new();
        batch.delete(key);
        store.commit(batch).await.unwrap();
    }
}
