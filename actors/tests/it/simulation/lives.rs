//! What every simulation does alike: it lives through a life of a server, and through many seeds at once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dogwatch_actors::store::memory::MemoryStore;
use parking_lot::Mutex;

use super::faults::Panics;
use super::time::Time;

/// One life of a server, in virtual time on one thread; what a restart finds.
pub(super) fn live<F: Future>(
    time: &Time,
    panics: &Panics,
    memory: MemoryStore,
    how: impl FnOnce(Arc<MemoryStore>) -> F,
) -> MemoryStore {
    let memory = Arc::new(memory);
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().expect("a runtime of one thread")
    };
    actix::System::with_tokio_rt(runtime).block_on(async {
        time.begin();
        how(Arc::clone(&memory)).await;
        // Whatever the dead server still does, nobody sees.
        memory.freeze();
        panics.forbid();
        time.end();
    });
    memory.crash()
}

/// Runs every seed, each on one of as many threads as there are cores; what each came to.
pub(super) fn every_seed<T: Send>(
    seeds: std::ops::Range<u64>,
    run: impl Fn(u64) -> Result<T, String> + Sync,
) -> Vec<T> {
    let next = AtomicU64::new(seeds.start);
    let (done, failures) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failures.lock().len() >= 3 {
                        return;
                    }
                    match run(seed) {
                        Ok(outcome) => done.lock().push(outcome),
                        Err(what) => failures.lock().push(format!("seed {seed}: {what}")),
                    }
                }
            });
        }
    });
    let failures = failures.into_inner();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    done.into_inner()
}
