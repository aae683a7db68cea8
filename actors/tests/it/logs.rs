//! Logs, written and read at the same time.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::id::{AttemptKey, Ids, RandomIds};
use dogwatch_actors::limits::{LOG_FILE_BYTES_MAX, LOG_LINE_BYTES_MAX};
use dogwatch_actors::logs::{LogReader, LogStore, Start};
use dogwatch_actors::runtime::{LogLine, LogStream};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::oneshot;

/// Far more than any of this takes.
const DEADLINE: Duration = Duration::from_secs(30);

fn key() -> AttemptKey {
    AttemptKey::new(RandomIds.job_id(Timestamp::from_millis(1)), 1)
}

fn line(at_nanos: i128, stream: LogStream, text: &str) -> LogLine {
    LogLine { at_nanos, stream, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

fn stream_of(number: usize) -> LogStream {
    if number.is_multiple_of(3) { LogStream::Stderr } else { LogStream::Stdout }
}

async fn texts(reader: LogReader) -> Vec<String> {
    let lines: Vec<LogLine> = reader.lines().try_collect().await.unwrap();
    lines.into_iter().map(|line| String::from_utf8(line.bytes.to_vec()).unwrap()).collect()
}

async fn next(lines: &mut BoxStream<'static, dogwatch_actors::logs::Result<LogLine>>) -> Option<LogLine> {
    let next = tokio::time::timeout(DEADLINE, lines.next()).await.expect("a line in time");
    next.map(|line| line.expect("the log can be read"))
}

#[tokio::test]
async fn the_tail_is_the_end_of_the_filtered_log() {
    let dir = tempfile::tempdir().unwrap();
    let (store, key) = (LogStore::new(dir.path()), key());
    let mut writer = store.writer(key).unwrap();
    let mut expected = Vec::new();
    // Lines of many lengths, so that their ends fall anywhere in the blocks that are read.
    for number in 0..3_000 {
        let text = format!("{number} {}", "x".repeat((number * 7_919) % 311));
        writer.append(&line(number as i128, stream_of(number), &text)).unwrap();
        expected.push((stream_of(number), text));
    }
    for only in [None, Some(LogStream::Stdout), Some(LogStream::Stderr)] {
        let all: Vec<&String> = expected
            .iter()
            .filter(|(stream, _)| only.is_none_or(|only| only == *stream))
            .map(|(_, text)| text)
            .collect();
        for tail in [0, 1, 2, 499, 999, 1_000, all.len() - 1, all.len(), all.len() + 1, 1_000_000] {
            let read = texts(store.reader(key).only(only).from(Start::Last(tail))).await;
            let wanted = &all[all.len().saturating_sub(tail)..];
            assert!(read.iter().eq(wanted.iter().copied()), "{only:?}, tail {tail}: {} lines", read.len());
        }
        assert_eq!(texts(store.reader(key).only(only)).await.len(), all.len());
    }
}

#[tokio::test]
async fn what_is_not_there_is_empty_and_removing_is_idempotent() {
    let dir = tempfile::tempdir().unwrap();
    let (store, key) = (LogStore::new(dir.path()), key());
    assert!(texts(store.reader(key)).await.is_empty());
    assert!(texts(store.reader(key).from(Start::Last(5))).await.is_empty());
    store.writer(key).unwrap().append(&line(1, LogStream::Stdout, "x")).unwrap();
    store.remove(key.job).unwrap();
    store.remove(key.job).unwrap();
    assert!(texts(store.reader(key)).await.is_empty());
}

#[tokio::test]
async fn half_a_line_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (store, key) = (LogStore::new(dir.path()), key());
    let mut writer = store.writer(key).unwrap();
    writer.append(&line(1, LogStream::Stdout, "whole")).unwrap();
    append_raw(&store.path(key), b"1970-01-01T00:00:00.000000002Z stdout F ha");
    assert_eq!(texts(store.reader(key)).await, ["whole"]);
    assert_eq!(texts(store.reader(key).from(Start::Last(1))).await, ["whole"]);
    assert!(texts(store.reader(key).from(Start::Last(0))).await.is_empty());

    let (over, is_over) = oneshot::channel::<()>();
    let mut lines = store.reader(key).follow(async { drop(is_over.await) });
    assert_eq!(next(&mut lines).await.unwrap().bytes, "whole");
    append_raw(&store.path(key), b"lf\n");
    assert_eq!(next(&mut lines).await.unwrap().bytes, "half");
    drop(over);
    assert_eq!(next(&mut lines).await, None);
}

#[tokio::test]
async fn a_follower_sees_a_log_begin_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let (store, key) = (LogStore::new(dir.path()), key());
    let (over, is_over) = oneshot::channel::<()>();
    let mut lines = store.reader(key).follow(async { drop(is_over.await) });
    assert!(futures_util::poll!(lines.next()).is_pending());
    let mut writer = store.writer(key).unwrap();
    for text in ["one", "two"] {
        writer.append(&line(1, LogStream::Stdout, text)).unwrap();
        assert_eq!(next(&mut lines).await.unwrap().bytes, text);
    }
    // What was written before the end is read, however quickly the end came.
    writer.append(&line(1, LogStream::Stdout, "last")).unwrap();
    drop(over);
    assert_eq!(next(&mut lines).await.unwrap().bytes, "last");
    assert_eq!(next(&mut lines).await, None);
}

#[tokio::test]
async fn a_follower_loses_nothing_when_the_log_rotates() {
    let dir = tempfile::tempdir().unwrap();
    let (store, key) = (LogStore::new(dir.path()), key());
    let (over, is_over) = oneshot::channel::<()>();
    let mut lines = store.reader(key).follow(async { drop(is_over.await) });
    let mut writer = store.writer(key).unwrap();
    let text = "y".repeat(LOG_LINE_BYTES_MAX);
    // Three and a half files full; the follower is never more than a few lines behind.
    let total = usize::try_from(LOG_FILE_BYTES_MAX).unwrap() / LOG_LINE_BYTES_MAX * 7 / 2;
    let mut dropped_markers = 0;
    for number in 1..=total {
        writer.append(&line(number as i128 * 1_000, LogStream::Stdout, &text)).unwrap();
        let mut seen = next(&mut lines).await.unwrap();
        if seen.stream == LogStream::Stderr {
            dropped_markers += 1;
            seen = next(&mut lines).await.unwrap();
        }
        assert_eq!(seen.at_nanos / 1_000, number as i128);
    }
    assert_eq!(dropped_markers, 2);
    drop(over);
    assert_eq!(next(&mut lines).await, None);
    let kept = std::fs::read_dir(store.path(key).parent().unwrap()).unwrap();
    let kept: u64 = kept.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(kept <= 2 * LOG_FILE_BYTES_MAX, "{kept}");
    assert!(texts(store.reader(key)).await.len() > total / 3);
}

#[tokio::test]
async fn a_follower_that_sleeps_through_two_rotations_goes_on_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (store, key) = (LogStore::new(dir.path()), key());
    let mut writer = store.writer(key).unwrap();
    let (over, is_over) = oneshot::channel::<()>();
    let mut lines = store.reader(key).follow(async { drop(is_over.await) });
    writer.append(&line(1, LogStream::Stdout, "first")).unwrap();
    assert_eq!(next(&mut lines).await.unwrap().bytes, "first");
    let text = "z".repeat(LOG_LINE_BYTES_MAX);
    let total = usize::try_from(LOG_FILE_BYTES_MAX).unwrap() / LOG_LINE_BYTES_MAX * 5 / 2;
    for number in 1..=total {
        writer.append(&line(number as i128 * 1_000, LogStream::Stdout, &text)).unwrap();
    }
    drop(over);
    let (mut last, mut count) = (1, 0);
    while let Some(line) = next(&mut lines).await {
        assert!(line.at_nanos > last, "{} after {last}", line.at_nanos);
        (last, count) = (line.at_nanos, count + 1);
    }
    assert_eq!(last / 1_000, total as i128);
    assert!(count > total / 2, "{count} of {total}");
}

fn append_raw(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    std::fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}
