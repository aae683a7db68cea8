//! Following a job to its end: its output as it comes, across attempts and across servers.
//!
//! What was printed is counted per attempt and stream, so that a follower that goes on at another server
//! prints no line twice.

use std::time::Duration;

use bytes::Bytes;
use dogwatch_actors::id::JobId;
use dogwatch_actors::job::view::JobView;
use dogwatch_actors::runtime::LogStream;
use futures_util::StreamExt as _;

use super::output;
use crate::client::{self, Answer, Client, LogsQuery};
use crate::limits::{CLIENT_ATTEMPT_POLL, CLIENT_LOG_DRAIN, CLIENT_WAIT_FIRST, CLIENT_WAIT_STEP};

/// Where output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sink {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

/// How far one stream of a job was printed.
#[derive(Debug)]
pub(super) struct Position {
    stream: LogStream,
    sink: Sink,
    attempt: u32,
    lines: u64,
}

/// How far the output of a job was printed.
#[derive(Debug)]
pub(super) struct Follower {
    out: Position,
    error: Position,
    /// Whether another server can be found for what of the output did not come before this one went.
    insists: bool,
}

impl Follower {
    /// Nothing was printed. The job's standard output goes to `sink`, its standard error to ours. One that `insists`
    /// ends with an error, and not with less than the whole output, when the server goes after the end of the job.
    pub(super) fn new(sink: Sink, insists: bool) -> Self {
        let position = |stream, sink| Position { stream, sink, attempt: 1, lines: 0 };
        let (out, error) = (position(LogStream::Stdout, sink), position(LogStream::Stderr, Sink::Error));
        Self { out, error, insists }
    }

    /// Prints what comes until the job is over. After an error it may be called again, with another client.
    pub(super) async fn follow(&mut self, client: &Client, id: JobId) -> client::Result<Answer<JobView>> {
        let over = until_over(client, id);
        let (out, error) = (&mut self.out, &mut self.error);
        let output = async { futures_util::try_join!(out.pump(client, id), error.pump(client, id)) };
        tokio::pin!(over, output);
        tokio::select! {
            over = &mut over => {
                let over = over?;
                // The output is complete before the job is over; it only has to arrive.
                match tokio::time::timeout(CLIENT_LOG_DRAIN, &mut output).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) if self.insists && error.is_passing() => return Err(error),
                    Ok(Err(error)) => output::note(&format!("dogwatch: the output may be incomplete: {error}")),
                    Err(_) => output::note("dogwatch: the output may be incomplete: it did not end"),
                }
                Ok(over)
            }
            pumped = &mut output => match pumped {
                Err(error) if error.is_passing() => Err(error),
                Err(error) => {
                    output::note(&format!("dogwatch: the output cannot be followed: {error}"));
                    over.await
                }
                Ok(_) => over.await,
            },
        }
    }
}

/// The job when it is over, however long that takes. What keeps it from going on is told meanwhile.
pub(super) async fn until_over(client: &Client, id: JobId) -> client::Result<Answer<JobView>> {
    let mut told = None;
    let mut step = CLIENT_WAIT_FIRST;
    loop {
        let job = client.job(id, Some(step)).await?;
        if job.value.state.is_terminal() {
            return Ok(job);
        }
        if job.value.message.is_some() && job.value.message != told {
            told.clone_from(&job.value.message);
            let why = output::escape(told.as_deref().unwrap_or_default());
            output::note(&format!("dogwatch: {} still: {why}", job.value.state.name()));
        }
        step = (step * 2).min(CLIENT_WAIT_STEP);
    }
}

impl Position {
    /// Prints this stream of every attempt until the job is over.
    async fn pump(&mut self, client: &Client, id: JobId) -> client::Result<()> {
        let mut pause = CLIENT_ATTEMPT_POLL;
        loop {
            let job = client.job(id, Some(pause)).await?.value;
            if job.attempt < self.attempt {
                if job.state.is_terminal() {
                    return Ok(());
                }
                // The server holds the request only until the job is over, so a pause of our own is not needed
                // unless it answers at once; waiting jobs are asked less and less often.
                tokio::time::sleep(CLIENT_ATTEMPT_POLL).await;
                pause = (pause * 2).min(Duration::from_secs(2));
                continue;
            }
            pause = CLIENT_ATTEMPT_POLL;
            self.print_attempt(client, id).await?;
            // A stream that ended says that the attempt is over, or that the server is going.
            let job = client.job(id, None).await?.value;
            if job.attempt > self.attempt {
                (self.attempt, self.lines) = (self.attempt + 1, 0);
            } else if job.state.is_terminal() {
                return Ok(());
            } else {
                tokio::time::sleep(CLIENT_ATTEMPT_POLL).await;
            }
        }
    }

    async fn print_attempt(&mut self, client: &Client, id: JobId) -> client::Result<()> {
        let query =
            LogsQuery { attempt: Some(self.attempt), stream: Some(self.stream), tail: None, follow: true };
        let mut log = match client.logs(id, query).await {
            Ok(log) => log,
            // An attempt that never wrote anything may have no log at all.
            Err(error) if error.status() == Some(404) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut skip = self.lines;
        while let Some(part) = log.next().await {
            let part = part?;
            let rest = skip_lines(&part, &mut skip);
            self.print(&rest);
        }
        Ok(())
    }

    fn print(&mut self, part: &Bytes) {
        self.lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
        // A reader that went away (`| head`) does not end the job, nor the wait for its code.
        drop(match self.sink {
            Sink::Out => output::raw(part),
            Sink::Error => output::raw_error(part),
        });
    }
}

/// What is left of `part` behind the first `skip` lines; `skip` is what is still to be skipped then.
fn skip_lines(part: &Bytes, skip: &mut u64) -> Bytes {
    let mut start = 0;
    while *skip > 0 {
        match part[start..].iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                start += end + 1;
                *skip -= 1;
            }
            None => return Bytes::new(),
        }
    }
    part.slice(start..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_skipped_wherever_the_bytes_are_cut() {
        let text = b"one\ntwo\n\nfour\nfive\n";
        for size in 1..=text.len() {
            let mut skip = 3;
            let left: Vec<u8> = text
                .chunks(size)
                .flat_map(|part| skip_lines(&Bytes::copy_from_slice(part), &mut skip).to_vec())
                .collect();
            assert_eq!(left, b"four\nfive\n", "cut every {size} bytes");
        }
    }
}
