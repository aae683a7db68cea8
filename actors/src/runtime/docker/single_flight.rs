//! The same thing is done once, however many ask for it at the same time, and is carried through even when
//! all of them stop waiting.
//!
//! Responsible for: sharing one run per key. Not responsible for: remembering results; the next to ask after
//! the end starts a new run.
//!
//! This is what makes a start safe: a request that its caller gave up may still be on its way to the engine,
//! and a second one beside it could run a container twice (FACTS docker 1).

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::NAME;
use crate::runtime::{Error, Result};

type Run = Shared<BoxFuture<'static, Result<()>>>;

/// The runs under way, by key.
pub(super) struct SingleFlight<K> {
    runs: Arc<Mutex<HashMap<K, Run>>>,
}

impl<K> Default for SingleFlight<K> {
    fn default() -> Self {
        Self { runs: Arc::default() }
    }
}

impl<K> fmt::Debug for SingleFlight<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SingleFlight({} under way)", self.runs.lock().len())
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> SingleFlight<K> {
    /// The result of the run under way for `key`, or of `work`, which is then started.
    pub(super) async fn run(
        &self,
        key: K,
        work: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Result<()> {
        let run = {
            let mut runs = self.runs.lock();
            match runs.get(&key) {
                Some(run) => run.clone(),
                None => {
                    let run = Self::begin(Arc::clone(&self.runs), key.clone(), work);
                    runs.insert(key, run.clone());
                    run
                }
            }
        };
        run.await
    }

    fn begin(
        runs: Arc<Mutex<HashMap<K, Run>>>,
        key: K,
        work: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Run {
        let (tell, told) = oneshot::channel();
        // In a task of its own, so that no caller's end can cut it short.
        tokio::spawn(async move {
            let landed = Landing { runs, key };
            let result = work.await;
            drop(landed);
            // Nobody may be left to be told.
            drop(tell.send(result));
        });
        let result = async move {
            told.await.unwrap_or_else(|_| {
                let message = "the operation was interrupted".to_owned();
                Err(Error::Unavailable { runtime: NAME.to_owned(), message })
            })
        };
        result.boxed().shared()
    }
}

/// Takes the run out of the list when it ends, by whatever way.
struct Landing<K: Eq + Hash> {
    runs: Arc<Mutex<HashMap<K, Run>>>,
    key: K,
}

impl<K: Eq + Hash> Drop for Landing<K> {
    fn drop(&mut self) {
        self.runs.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::sync::Notify;

    #[tokio::test]
    async fn many_who_ask_at_once_share_one_run() {
        let flights = SingleFlight::<u8>::default();
        let (count, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let work = || {
            let (count, gate) = (Arc::clone(&count), Arc::clone(&gate));
            async move {
                count.fetch_add(1, Ordering::SeqCst);
                gate.notified().await;
                Err(Error::Transient { message: "x".into() })
            }
        };
        let open = async {
            tokio::task::yield_now().await;
            gate.notify_one();
        };
        let (a, b, c, ()) =
            tokio::join!(flights.run(1, work()), flights.run(1, work()), flights.run(1, work()), open);
        assert!(a.is_err() && b.is_err() && c.is_err());
        assert_eq!(count.load(Ordering::SeqCst), 1);
        gate.notify_one();
        assert!(flights.run(1, work()).await.is_err());
        assert_eq!(count.load(Ordering::SeqCst), 2, "a run that ended is not remembered");
    }

    #[tokio::test]
    async fn a_caller_who_leaves_does_not_end_the_run() {
        let flights = SingleFlight::<u8>::default();
        let (gate, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let work = {
            let (gate, done) = (Arc::clone(&gate), Arc::clone(&done));
            async move {
                gate.notified().await;
                done.notify_one();
                Ok(())
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(1), flights.run(1, work)).await.is_err());
        gate.notify_one();
        tokio::time::timeout(Duration::from_secs(5), done.notified()).await.expect("the run goes on");
    }

    #[tokio::test]
    async fn a_run_that_panics_is_an_error_and_leaves_no_trace() {
        let flights = SingleFlight::<u8>::default();
        let broken = flights.run(1, async { panic!("as planned") }).await;
        assert!(matches!(broken, Err(Error::Unavailable { .. })), "{broken:?}");
        assert!(flights.run(1, async { Ok(()) }).await.is_ok());
    }
}
