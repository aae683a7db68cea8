//! Reads for somebody who serves others on the same thread: where the store has to wait for the disk, they wait
//! elsewhere.
//!
//! A row in memory or in the system's cache of files takes less time than to hand the read to another thread. One that is only on
//! the disk takes 70 µs and more, in which a thread that waits for it serves nobody, and the disk gets one question at a
//! time where it could answer many (measured: 14,700 blocks a second for one thread, 59,000 for sixteen). Which of the two it will be
//! nobody can say before; what the last reads were says it well enough, because what drives rows out of memory drives out many.
//!
//! Not responsible for what is read, nor for what actors read: they wait for their own machine.
//!
//! Invariant: the answer is the same wherever the read is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::resource::{UsageWho, getrusage};

use super::{Error, Handle, Result};
use crate::id::JobId;
use crate::job::view::JobView;
use crate::store;

/// The whole of [`DiskWaits::share`].
const ALL: u32 = 1 << 16;

/// What one read counts: sixteen make a picture.
const WEIGHT: u32 = 16;

/// Above this share of reads that waited, the next ones are made elsewhere. To hand one over costs about a tenth of a wait.
const EXPECTED_FROM: u32 = ALL / 10;

/// How often reads had to wait of late.
#[derive(Debug, Default)]
pub(crate) struct DiskWaits {
    /// The share of the last reads that waited, in parts of [`ALL`].
    share: AtomicU32,
}

impl DiskWaits {
    /// Whether the next read had better be made where it holds nobody up.
    fn are_expected(&self) -> bool {
        self.share.load(Ordering::Relaxed) > EXPECTED_FROM
    }

    /// Reads, and learns whether it waited.
    fn watch<T>(&self, read: impl FnOnce() -> T) -> T {
        let before = given_up();
        let found = read();
        self.learn(given_up() != before);
        found
    }

    /// One that is lost to another thread changes nothing that matters.
    fn learn(&self, waited: bool) {
        let share = self.share.load(Ordering::Relaxed);
        let gain = if waited { ALL / WEIGHT } else { 0 };
        self.share.store(share - share / WEIGHT + gain, Ordering::Relaxed);
    }
}

/// How often this thread gave up its core of its own accord: to wait, as a rule for the disk (getrusage(2)).
fn given_up() -> Option<i64> {
    getrusage(UsageWho::RUSAGE_THREAD).ok().map(|usage| usage.voluntary_context_switches())
}

impl Handle {
    /// One job, as [`Handle::job`], without holding up who is served on the same thread.
    pub async fn show(&self, id: JobId) -> Result<JobView> {
        match self.inner.jobs.published().at_hand(id) {
            Some(job) => Ok(job.ok_or(Error::NotFound(id))?.view()),
            None => self.reading(move |handle| handle.job(id)).await,
        }
    }

    /// Makes a read that may have to wait for the disk, elsewhere when reads have had to of late.
    pub async fn reading<T, E>(
        &self,
        read: impl FnOnce(&Self) -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E>
    where
        T: Send + 'static,
        E: From<store::Error> + Send + 'static,
    {
        if !self.inner.disk_waits.are_expected() {
            return self.inner.disk_waits.watch(|| read(self));
        }
        let handle = Self { inner: Arc::clone(&self.inner) };
        let reading = tokio::task::spawn_blocking(move || handle.inner.disk_waits.watch(|| read(&handle)));
        reading.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(store::Error::Closed.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_waits_are_expected_to_be_followed_by_more_until_there_are_none() {
        let waits = DiskWaits::default();
        waits.learn(true);
        assert!(!waits.are_expected(), "one may be chance");
        waits.learn(true);
        assert!(waits.are_expected());
        for _ in 0..1_000 {
            waits.learn(true);
        }
        assert!(waits.share.load(Ordering::Relaxed) <= ALL);
        let quick = (0..1_000).take_while(|_| {
            waits.learn(false);
            waits.are_expected()
        });
        assert!((20..60).contains(&quick.count()));
    }

    #[test]
    fn who_waits_is_noticed_and_who_computes_is_not() {
        let waits = DiskWaits::default();
        assert_eq!(waits.watch(|| (0..1_000_u64).sum::<u64>()), 499_500);
        assert_eq!(waits.share.load(Ordering::Relaxed), 0);
        waits.watch(|| {
            // As long as a disk takes, and more.
            let other = std::thread::spawn(|| (0..2_000_000_u64).map(std::hint::black_box).sum::<u64>());
            other.join().unwrap();
        });
        assert_eq!(waits.share.load(Ordering::Relaxed), ALL / WEIGHT);
    }
}
