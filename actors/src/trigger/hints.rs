//! What the kernel tells of changes in directories. A hint is never a fact: it makes the next look come sooner, and that
//! is all. Where there are none, on a network file system or when the kernel has no more watches to give, looks come at
//! their usual times.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rustix::fs::inotify;
use tokio::net::unix::pipe::Receiver;

/// Bytes of hints that are read at once. What they say is of no interest.
const READ: usize = 4_096;

/// Hints about some directories.
#[derive(Debug)]
pub(super) struct Hints {
    /// Read like a pipe.
    kernel: Option<Receiver>,
    followed: BTreeSet<PathBuf>,
}

impl Hints {
    /// About nothing, yet.
    pub(super) fn none() -> Self {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let kernel = inotify::init(flags).map_err(std::io::Error::from);
        let kernel = kernel.and_then(Receiver::from_owned_fd_unchecked);
        let kernel = kernel.map_err(|error| {
            tracing::debug!(%error, "the kernel tells of no changes; directories are looked at now and then");
        });
        Self { kernel: kernel.ok(), followed: BTreeSet::new() }
    }

    /// From now on about these; whether some of them are new, and something may have changed in them unheard.
    pub(super) fn follow(&mut self, directories: &[PathBuf]) -> bool {
        let Some(kernel) = &self.kernel else { return false };
        let wanted: BTreeSet<PathBuf> = directories.iter().cloned().collect();
        let flags = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::ONLYDIR;
        let mut is_more = false;
        for directory in wanted.difference(&self.followed) {
            match inotify::add_watch(kernel, directory, flags) {
                Ok(_) => is_more = true,
                Err(error) => {
                    tracing::debug!(directory = %directory.display(), %error, "the kernel tells of no changes here");
                }
            }
        }
        // One that went away was unwatched by the kernel; one that is there anew is another one.
        self.followed = wanted;
        is_more
    }

    /// Resolves when something may have changed.
    pub(super) async fn come(&self) {
        let Some(kernel) = &self.kernel else { return std::future::pending().await };
        if kernel.readable().await.is_err() {
            return std::future::pending().await;
        }
        let mut bytes = [0; READ];
        while let Ok(1..) = kernel.try_read(&mut bytes) {}
    }
}
