//! Whether the file system that holds a store has room for one more group of commits.
//!
//! Asked before a group is written, so that on a full disk a commit is refused with nothing changed, and the
//! same question asked again tells when there is room. Not responsible for a disk that others fill between the
//! answer and the write (`committer/reopening.rs`).

use std::path::Path;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Error, Result};
use crate::limits::{STORE_FREE_BYTES_MIN, STORE_FREE_PART_MIN, STORE_ROOM_BELIEVED};

/// Asks whether there is room: [`Error::Full`] when there is none.
pub(super) type Room = Box<dyn Fn() -> Result<()> + Send + Sync>;

/// The room around `dir`, with [`STORE_FREE_BYTES_MIN`] kept free. That there is room is believed for
/// [`STORE_ROOM_BELIEVED`]; that there is none is found out anew each time.
pub(super) fn around(dir: &Path) -> Room {
    let dir = dir.to_owned();
    let asked: Mutex<Option<Instant>> = Mutex::new(None);
    Box::new(move || {
        let mut asked = asked.lock();
        let now = Instant::now();
        if asked.is_some_and(|asked| now.duration_since(asked) < STORE_ROOM_BELIEVED) {
            return Ok(());
        }
        *asked = None;
        // Where the system does not tell, the disk itself will.
        let Ok(found) = rustix::fs::statvfs(&dir) else { return Ok(()) };
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        check(bytes(found.f_bavail), bytes(found.f_blocks))?;
        *asked = Some(now);
        Ok(())
    })
}

fn check(free: u64, total: u64) -> Result<()> {
    let reserve = STORE_FREE_BYTES_MIN.min(total / STORE_FREE_PART_MIN);
    if free >= reserve {
        return Ok(());
    }
    Err(Error::Full(format!("{} KiB are free, {} KiB are needed", free >> 10, reserve >> 10).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_disk_keeps_the_reserve_and_a_small_one_a_part_of_itself() {
        let large = STORE_FREE_BYTES_MIN * STORE_FREE_PART_MIN * 10;
        check(STORE_FREE_BYTES_MIN, large).unwrap();
        assert!(matches!(check(STORE_FREE_BYTES_MIN - 1, large), Err(Error::Full(_))));
        let small = STORE_FREE_BYTES_MIN;
        check(small / STORE_FREE_PART_MIN, small).unwrap();
        assert!(matches!(check(small / STORE_FREE_PART_MIN - 1, small), Err(Error::Full(_))));
    }

    #[test]
    fn the_file_system_is_asked_and_one_that_does_not_tell_is_no_obstacle() {
        around(Path::new("/does/not/exist"))().unwrap();
        // It has no space at all.
        assert!(around(Path::new("/proc"))().is_ok());
    }
}
