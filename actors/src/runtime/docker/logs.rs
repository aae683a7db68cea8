//! The output of an attempt, followed from a moment on.
//!
//! Responsible for: telling the streams apart, putting long lines together again, and taking up a stream
//! where it was left. Not responsible for: keeping what was read.
//!
//! Invariants:
//! - lines at or before the given moment are not given again. The engine can only be asked for whole seconds,
//!   so the rest is left out here. (Lines of one stream in the same nanosecond count as one moment.)
//! - the end of the stream is the end of the attempt. The engine ends a followed log when the container dies,
//!   often before it has passed on the last line, so what is left is read once more afterwards.

use std::collections::VecDeque;
use std::sync::Arc;

use bollard::container::LogOutput;
use bollard::query_parameters::LogsOptionsBuilder;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, unfold};
use tokio::time::timeout;

use super::engine::{Engine, One};
use super::errors::{Answer, Fault};
use super::finish::wait_one;
use crate::limits::{ENGINE_RETRY_PAUSE, LOG_LINE_BYTES_MAX, LOG_SILENCE_CHECK};
use crate::runtime::{Error, LogLine, LogStream, Observation, Result};

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// The output after `after_nanos`, to the end of the attempt.
pub(super) async fn follow(
    engine: Arc<Engine>,
    one: One,
    after_nanos: Option<i128>,
) -> Result<BoxStream<'static, Result<LogLine>>> {
    let Some(found) = engine.find_one(&one).await? else {
        return Err(Error::Transient { message: format!("{one} is not there; its log is gone") });
    };
    let mut reader = Reader {
        name: engine.name_of(&one),
        engine,
        one,
        source: None,
        following: matches!(found.observation, Observation::Running(_)),
        lines: Lines::after(after_nanos),
    };
    reader.open().await?;
    Ok(unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Some(Ok(line)) => Some((Ok(line), Some(reader))),
            // An error is the last thing that is said: whoever reads on subscribes again.
            Some(Err(error)) => Some((Err(error), None)),
            None => None,
        }
    })
    .boxed())
}

struct Reader {
    engine: Arc<Engine>,
    one: One,
    name: String,
    source: Option<BoxStream<'static, Answer<LogOutput>>>,
    following: bool,
    lines: Lines,
}

impl Reader {
    async fn open(&mut self) -> Result<()> {
        let client = self.engine.connection.long().await.map_err(Fault::unknown)?;
        let since = self.lines.reopen().map_or(0, |nanos| nanos.div_euclid(NANOS_PER_SECOND));
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            .follow(self.following)
            .since(i32::try_from(since).unwrap_or(i32::MAX))
            .build();
        let source = client.logs(&self.name, Some(options)).map(|item| item.map_err(Fault::from));
        self.source = Some(source.boxed());
        Ok(())
    }

    async fn next(&mut self) -> Option<Result<LogLine>> {
        loop {
            if let Some(line) = self.lines.ready.pop_front() {
                return Some(Ok(line));
            }
            let source = self.source.as_mut()?;
            match timeout(LOG_SILENCE_CHECK, source.next()).await {
                Ok(Some(Ok(output))) => self.lines.take(output),
                Ok(Some(Err(fault))) => {
                    self.engine.connection.drop_if_lost(&fault);
                    return Some(Err(fault.unknown()));
                }
                Ok(None) if self.following => {
                    wait_one(&self.engine, &self.one, ENGINE_RETRY_PAUSE).await;
                    if let Err(error) = self.take_up().await {
                        return Some(Err(error));
                    }
                }
                Ok(None) => self.finish(),
                // An engine can forget to say that the attempt has ended.
                Err(_) => match self.engine.see(&self.one).await {
                    Ok(Observation::Running(_)) => {}
                    Ok(_) => {
                        if let Err(error) = self.take_up().await {
                            return Some(Err(error));
                        }
                    }
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }

    /// After the engine ended the log: reads what is left once the attempt has ended, else follows on.
    async fn take_up(&mut self) -> Result<()> {
        match self.engine.see(&self.one).await? {
            Observation::Running(_) => self.open().await,
            Observation::Exited(_) if self.following => {
                self.following = false;
                self.open().await
            }
            _ => {
                self.finish();
                Ok(())
            }
        }
    }

    fn finish(&mut self) {
        self.source = None;
        self.lines.finish();
    }
}

/// Lines put together from what the engine sends: one piece per entry of its log, long lines in several.
#[derive(Debug)]
struct Lines {
    ready: VecDeque<LogLine>,
    /// What is not after these moments, one for each stream, was given before the log was opened. They are
    /// not moved meanwhile: entries of the two streams may lie a little out of order.
    skip: [Option<i128>; 2],
    /// The latest moments that were given.
    seen: [Option<i128>; 2],
    begun: [Option<(i128, BytesMut)>; 2],
    /// The time of the last line that was given, of whichever stream: times never go back, so that the time
    /// of the last line is where to take the log up again.
    latest: i128,
}

impl Lines {
    fn after(seen: Option<i128>) -> Self {
        Self {
            ready: VecDeque::new(),
            skip: [seen; 2],
            seen: [seen; 2],
            begun: [None, None],
            latest: seen.unwrap_or(0),
        }
    }

    /// Gets ready for the log from the start of a second on, and returns the moment that it must contain.
    fn reopen(&mut self) -> Option<i128> {
        self.skip = self.seen;
        // Lines that were begun come again as a whole.
        self.begun = [None, None];
        // Nothing given of one stream is before everything given of the other.
        self.seen.into_iter().min().flatten()
    }

    fn take(&mut self, output: LogOutput) {
        let (stream, message) = match output {
            LogOutput::StdErr { message } => (LogStream::Stderr, message),
            LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
                (LogStream::Stdout, message)
            }
        };
        let Some((at_nanos, text)) = stamped(&message) else {
            // An entry without its time cannot be taken up again; it is given rather than lost.
            let at_nanos = self.latest;
            self.ready.push_back(LogLine { at_nanos, stream, bytes: trimmed(message) });
            return;
        };
        if self.skip[slot(stream)].is_some_and(|skip| at_nanos <= skip) {
            return;
        }
        let ended = text.ends_with(b"\n");
        let text = if ended { &text[..text.len() - 1] } else { text };
        let (at_nanos, mut line) =
            self.begun[slot(stream)].take().unwrap_or_else(|| (at_nanos, BytesMut::new()));
        line.extend_from_slice(text);
        if ended || line.len() >= LOG_LINE_BYTES_MAX {
            self.push(stream, at_nanos, line);
        } else {
            self.begun[slot(stream)] = Some((at_nanos, line));
        }
    }

    fn finish(&mut self) {
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            if let Some((at_nanos, line)) = self.begun[slot(stream)].take() {
                self.push(stream, at_nanos, line);
            }
        }
    }

    fn push(&mut self, stream: LogStream, at_nanos: i128, line: BytesMut) {
        let seen = &mut self.seen[slot(stream)];
        *seen = (*seen).max(Some(at_nanos));
        self.latest = self.latest.max(at_nanos);
        let at_nanos = self.latest;
        let mut line = line.freeze();
        while line.len() > LOG_LINE_BYTES_MAX {
            let bytes = line.split_to(LOG_LINE_BYTES_MAX);
            self.ready.push_back(LogLine { at_nanos, stream, bytes });
        }
        self.ready.push_back(LogLine { at_nanos, stream, bytes: line });
    }
}

const fn slot(stream: LogStream) -> usize {
    match stream {
        LogStream::Stdout => 0,
        LogStream::Stderr => 1,
    }
}

/// Splits an entry into its time and its text.
fn stamped(message: &Bytes) -> Option<(i128, &[u8])> {
    let space = message.iter().take(64).position(|byte| *byte == b' ')?;
    let stamp = std::str::from_utf8(&message[..space]).ok()?;
    let at: jiff::Timestamp = stamp.parse().ok()?;
    Some((at.as_nanosecond(), &message[space + 1..]))
}

fn trimmed(mut message: Bytes) -> Bytes {
    if message.ends_with(b"\n") {
        message.truncate(message.len() - 1);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &str) -> LogOutput {
        LogOutput::StdOut { message: Bytes::copy_from_slice(text.as_bytes()) }
    }

    fn err(text: &str) -> LogOutput {
        LogOutput::StdErr { message: Bytes::copy_from_slice(text.as_bytes()) }
    }

    fn read(
        after: Option<i128>,
        entries: impl IntoIterator<Item = LogOutput>,
    ) -> Vec<(i128, LogStream, String)> {
        let mut lines = Lines::after(after);
        entries.into_iter().for_each(|entry| lines.take(entry));
        lines.finish();
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        lines.ready.iter().map(|line| (line.at_nanos, line.stream, text(&line.bytes))).collect()
    }

    #[test]
    fn streams_are_told_apart_and_long_lines_put_together() {
        use LogStream::{Stderr, Stdout};
        let entries = [
            out("1970-01-01T00:00:01.000000001Z long "),
            err("1970-01-01T00:00:01.000000002Z between\n"),
            out("1970-01-01T00:00:01.000000001Z line\n"),
            out("1970-01-01T00:00:01.000000003Z \n"),
            out("1970-01-01T00:00:01.000000004Z no end"),
        ];
        let seen = read(None, entries);
        let expected = [
            (1_000_000_002, Stderr, "between"),
            (1_000_000_002, Stdout, "long line"),
            (1_000_000_003, Stdout, ""),
            (1_000_000_004, Stdout, "no end"),
        ];
        let seen: Vec<_> = seen.iter().map(|(at, stream, text)| (*at, *stream, text.as_str())).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_was_read_is_not_read_again() {
        let entries = || (1..=4).map(|n| out(&format!("1970-01-01T00:00:01.00000000{n}Z {n}\n")));
        let texts = |after| read(after, entries()).into_iter().map(|(_, _, text)| text).collect::<String>();
        assert_eq!(texts(None), "1234");
        assert_eq!(texts(Some(1_000_000_002)), "34");
        assert_eq!(texts(Some(1_000_000_004)), "");
    }

    #[test]
    fn a_line_that_was_begun_comes_again_whole() {
        let mut lines = Lines::after(None);
        lines.take(out("1970-01-01T00:00:05Z done\n"));
        lines.take(out("1970-01-01T00:00:06Z beg"));
        lines.take(err("1970-01-01T00:00:07Z later\n"));
        assert_eq!(lines.reopen(), Some(5 * NANOS_PER_SECOND));
        for entry in ["1970-01-01T00:00:05Z done\n", "1970-01-01T00:00:06Z begun\n"] {
            lines.take(out(entry));
        }
        lines.take(err("1970-01-01T00:00:07Z later\n"));
        let given: Vec<_> = lines.ready.iter().map(|line| &line.bytes[..]).collect();
        assert_eq!(given, [&b"done"[..], b"later", b"begun"]);
    }

    #[test]
    fn entries_out_of_order_are_not_lost() {
        let entries = [out("1970-01-01T00:00:02Z late\n"), err("1970-01-01T00:00:01Z early\n")];
        let given = read(None, entries);
        assert_eq!(given.iter().map(|(at, _, _)| *at).collect::<Vec<_>>(), [2 * NANOS_PER_SECOND; 2]);
    }

    #[test]
    fn no_line_is_longer_than_the_limit() {
        let piece = "x".repeat(LOG_LINE_BYTES_MAX / 2 + 1);
        let entry = || out(&format!("1970-01-01T00:00:01Z {piece}"));
        let seen = read(None, [entry(), entry(), entry(), out("1970-01-01T00:00:01Z .\n")]);
        assert!(seen.iter().all(|(_, _, text)| text.len() <= LOG_LINE_BYTES_MAX));
        let total: usize = seen.iter().map(|(_, _, text)| text.len()).sum();
        assert_eq!(total, 3 * piece.len() + 1);
    }
}
