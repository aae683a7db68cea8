//! One suite that every place for artifacts passes: a directory, memory, a bucket of each provider.

use bytes::Bytes;
use futures_util::TryStreamExt as _;

use super::store::{ArtifactStore, Error};
use crate::clock::{Clock as _, SystemClock};
use crate::id::{AttemptKey, Ids as _, RandomIds};
use crate::limits::BUCKET_PART_BYTES;

/// Names that a file may have and that stores may take for something else.
const NAMES: [&str; 6] = ["plain", "deep/er/file.txt", "a b#?%2F&=+", "ü/日本", "..%2F", "1#1"];

/// Goes through all of it, with jobs of its own.
pub async fn passes(store: &ArtifactStore) {
    let (job, other) = (RandomIds.job_id(SystemClock.now()), RandomIds.job_id(SystemClock.now()));
    let (first, second) = (AttemptKey::new(job, 1), AttemptKey::new(job, 2));
    for key in [first, second, AttemptKey::new(other, 1)] {
        for name in NAMES {
            write(store, key, name, &[Bytes::from(format!("{key} {name}"))]).await;
        }
    }
    for name in NAMES {
        assert_eq!(
            read(store, first, name).await.expect("it can be read"),
            format!("{first} {name}").as_bytes(),
            "{name}"
        );
    }
    objects_are_whole(store, first).await;

    store.remove_attempt(first).await.expect("removed");
    assert!(matches!(read(store, first, "plain").await, Err(Error::Missing)));
    assert!(read(store, second, "plain").await.is_ok(), "the attempt beside it stays");
    for _ in 0..2 {
        store.remove_job(job).await.expect("removed, or not there any more");
    }
    for name in NAMES {
        assert!(matches!(read(store, second, name).await, Err(Error::Missing)), "{name}");
    }
    assert!(read(store, AttemptKey::new(other, 1), "plain").await.is_ok(), "another job's stay");
    store.remove_job(other).await.expect("removed");
}

/// Empty ones, ones of several parts, parts of them; written over, and given up.
async fn objects_are_whole(store: &ArtifactStore, key: AttemptKey) {
    write(store, key, "empty", &[]).await;
    assert!(read(store, key, "empty").await.expect("it can be read").is_empty());
    // Not a multiple of anything.
    let chunk = Bytes::from((0..60_001_u32).map(|number| number.to_le_bytes()[0]).collect::<Vec<u8>>());
    let chunks = vec![chunk; 2 * BUCKET_PART_BYTES / 60_001 + 7];
    write(store, key, "large", &chunks).await;
    let whole = chunks.concat();
    assert!(read(store, key, "large").await.expect("it can be read") == whole, "it comes back as it went");
    let middle = store.read(key, "large", Some(9_000_000..9_000_010)).await.expect("a range");
    let middle: Vec<Bytes> = middle.try_collect().await.expect("whole");
    assert_eq!(middle.concat(), whole[9_000_000..9_000_010]);
    write(store, key, "large", &[Bytes::from_static(b"short")]).await;
    assert_eq!(read(store, key, "large").await.expect("it can be read"), b"short");
    let mut given_up = store.write(key, "given up");
    for chunk in chunks {
        given_up.add(chunk).await.expect("taken");
    }
    given_up.abort().await;
    assert!(matches!(read(store, key, "given up").await, Err(Error::Missing)));
}

async fn write(store: &ArtifactStore, key: AttemptKey, name: &str, chunks: &[Bytes]) {
    let mut writing = store.write(key, name);
    for chunk in chunks {
        writing.add(chunk.clone()).await.expect("taken");
    }
    writing.finish().await.expect("kept");
}

async fn read(store: &ArtifactStore, key: AttemptKey, name: &str) -> Result<Vec<u8>, Error> {
    let chunks: Vec<Bytes> = store.read(key, name, None).await?.try_collect().await?;
    Ok(chunks.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::Bucket;

    #[tokio::test]
    async fn memory_is_a_place_for_artifacts() {
        passes(&ArtifactStore::new(Bucket::in_memory("m"))).await;
    }

    #[tokio::test]
    async fn a_directory_is_a_place_for_artifacts() {
        let dir = tempfile::tempdir().unwrap();
        let store = ArtifactStore::new(Bucket::in_directory("d", dir.path()).unwrap());
        passes(&store).await;
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
