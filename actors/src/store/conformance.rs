//! What every store must do, as one suite that each implementation runs.
//!
//! Responsible for the contract of [`Store`]; not for what only one database can do wrong (its own tests) nor
//! for the death of the process and the loss of power, which need another process.
//!
//! Each check gets a [`Place`] of its own.

mod commits;
mod life;
mod reads;

use std::future::Future;
use std::sync::Arc;

use super::{Batch, KeyRange, Order, Result, Rows, Store};

/// Where one store is kept.
pub trait Place {
    /// Opens the store: empty at first, later with what was there.
    fn open(&self) -> Result<Arc<dyn Store>>;
}

/// One check of the suite. It fails by panicking.
pub type Check = fn(&dyn Place);

/// The checks and their names.
pub const CHECKS: &[(&str, Check)] = &[
    ("a_batch_is_applied_in_order_and_read_back", commits::a_batch_is_applied_in_order_and_read_back),
    ("a_rejected_batch_changes_nothing", commits::a_rejected_batch_changes_nothing),
    ("a_precondition_sees_every_batch_before_it", commits::a_precondition_sees_every_batch_before_it),
    (
        "a_failed_precondition_answers_what_stands_there",
        commits::a_failed_precondition_answers_what_stands_there,
    ),
    ("commits_take_effect_in_the_order_of_the_calls", commits::commits_take_effect_in_the_order_of_the_calls),
    ("a_dropped_future_commits_all_the_same", commits::a_dropped_future_commits_all_the_same),
    ("appends_are_numbered_without_gaps", life::appends_are_numbered_without_gaps),
    ("numbers_never_repeat_after_their_rows_are_gone", life::numbers_never_repeat_after_their_rows_are_gone),
    ("what_is_durable_is_published", commits::what_is_durable_is_published),
    ("reserved_and_oversized_keys_are_refused", commits::reserved_and_oversized_keys_are_refused),
    ("a_log_row_can_be_replaced_but_not_invented", commits::a_log_row_can_be_replaced_but_not_invented),
    ("scans_respect_bounds_order_and_limit", reads::scans_respect_bounds_order_and_limit),
    ("ranges_are_read_together", reads::ranges_are_read_together),
    ("what_moves_is_in_one_of_the_ranges", reads::what_moves_is_in_one_of_the_ranges),
    ("keys_of_all_bytes_keep_their_order", reads::keys_of_all_bytes_keep_their_order),
    ("large_values_come_and_go", reads::large_values_come_and_go),
    ("everything_is_there_after_reopening", life::everything_is_there_after_reopening),
    ("many_writers_lose_nothing", life::many_writers_lose_nothing),
    ("readers_see_whole_values_while_they_change", reads::readers_see_whole_values_while_they_change),
    (
        "closing_waits_for_what_is_queued_and_refuses_the_rest",
        life::closing_waits_for_what_is_queued_and_refuses_the_rest,
    ),
    ("a_second_open_is_refused", life::a_second_open_is_refused),
];

/// Those that open a place again: not for a store that keeps nothing.
const OF_MORE_THAN_ONE_LIFE: &[&str] = &[
    "appends_are_numbered_without_gaps",
    "numbers_never_repeat_after_their_rows_are_gone",
    "everything_is_there_after_reopening",
    "closing_waits_for_what_is_queued_and_refuses_the_rest",
    "large_values_come_and_go",
    "a_second_open_is_refused",
];

/// Runs every check, each in a place of its own.
pub fn run<P: Place>(new_place: impl Fn() -> P) {
    run_those(new_place, |_| true);
}

/// The same without those that open a place again.
pub fn run_for_one_life<P: Place>(new_place: impl Fn() -> P) {
    run_those(new_place, |name| !OF_MORE_THAN_ONE_LIFE.contains(&name));
}

fn run_those<P: Place>(new_place: impl Fn() -> P, wanted: impl Fn(&str) -> bool) {
    for (name, check) in CHECKS.iter().filter(|(name, _)| wanted(name)) {
        // On the standard error, so that a failure says which check it was.
        eprintln!("conformance: {name}");
        check(&new_place());
    }
}

/// Waits for a future of a store on this thread.
///
/// # Panics
/// When the operating system has no resources for a timer-less runtime.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime without drivers needs nothing that could be missing").block_on(future)
}

fn open(place: &dyn Place) -> Arc<dyn Store> {
    place.open().expect("the store opens")
}

/// Commits and waits; answers the first number.
fn commit(store: &Arc<dyn Store>, batch: Batch) -> Result<u64> {
    wait(store.commit(batch)).map(|committed| committed.first_seq)
}

fn put(store: &Arc<dyn Store>, key: &str, value: &str) {
    let mut batch = Batch::new();
    batch.put(key, value);
    commit(store, batch).expect("commits");
}

fn scan(store: &Arc<dyn Store>, range: KeyRange, order: Order, limit: usize) -> Rows {
    store.scan(range, order, limit).expect("scans")
}

fn everything(store: &Arc<dyn Store>) -> Rows {
    scan(store, KeyRange::prefix(""), Order::Ascending, usize::MAX)
}

fn rows(rows: &[(&str, &str)]) -> Rows {
    rows.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}
