//! Dead letters: looking at them, delivering them again, deleting them.

use super::types::DeadPage;
use super::{Error, Queues, Result, number, shown};
use crate::handle::Error as AnyError;
use crate::limits::{QUEUE_DUE_PER_STEP, QUEUE_PAGE_MAX};
use crate::queue::book::Standing;
use crate::queue::{Body, DeadLetter, LastError, Names, Op, Outcome, Queue, Which};

/// What to do with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Requeue,
    Discard,
}

impl Fate {
    const fn op(self, which: Which) -> Op {
        match self {
            Self::Requeue => Op::Requeue(which),
            Self::Discard => Op::Discard(which),
        }
    }
}

impl Queues {
    /// The dead letters behind a message, at most `limit`.
    pub async fn dead(&self, name: &str, after: Option<&str>, limit: usize) -> Result<DeadPage> {
        let queue = self.whole(name).await?;
        let after = match after {
            Some(text) => number(text).ok_or_else(|| Error::NoMessage(shown(text)))?,
            None => 0,
        };
        let limit = limit.clamp(1, QUEUE_PAGE_MAX);
        let mut found = Vec::new();
        if let Some(book) = queue.book() {
            found.extend(book.dead_after(after).take(limit + 1));
        }
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next_after = found.last().filter(|_| has_more).map(u64::to_string);
        let mut messages = Vec::with_capacity(found.len());
        for seq in found {
            messages.extend(self.dead_letter(&queue, seq)?);
        }
        Ok(DeadPage { messages, next_after })
    }

    fn dead_letter(&self, queue: &Queue, seq: u64) -> Result<Option<DeadLetter>> {
        let Some(entry) = queue.book().and_then(|book| book.get(seq)) else { return Ok(None) };
        let Standing::Dead(dead_at, cause) = entry.standing else { return Ok(None) };
        let error: Option<LastError> = self.row(queue.id, Names(seq).error())?;
        let body: Option<Body> = self.row(queue.id, Names(seq).body())?;
        Ok(Some(DeadLetter {
            id: seq.to_string(),
            cause,
            last_error: error.map(|error| error.text),
            deliveries: entry.deliveries,
            sent_at: entry.sent_at,
            dead_at,
            dedup_id: body.and_then(|body| body.id),
        }))
    }

    /// Delivers dead letters again, one or all: how many. Each has all its deliveries once more.
    pub async fn requeue(&self, name: &str, message: Option<&str>) -> Result<u64> {
        self.decide(name, message, Fate::Requeue).await
    }

    /// Deletes dead letters, one or all: how many.
    pub async fn discard(&self, name: &str, message: Option<&str>) -> Result<u64> {
        self.decide(name, message, Fate::Discard).await
    }

    async fn decide(&self, name: &str, message: Option<&str>, fate: Fate) -> Result<u64> {
        let queue = self.active(name)?;
        if let Some(message) = message {
            let missing = || Error::NoDeadLetter(shown(message));
            let seq = number(message).ok_or_else(missing)?;
            let moved = self.moved(&queue, fate.op(Which::One(seq))).await?;
            return if moved == 0 { Err(missing()) } else { Ok(moved) };
        }
        // As many as there are now: those that die meanwhile are not meant.
        let (meant, below, mut done) = (queue.counts.dead, queue.next, 0);
        while done < meant {
            let most = u32::try_from(meant - done).unwrap_or(u32::MAX).min(QUEUE_DUE_PER_STEP as u32);
            match self.moved(&queue, fate.op(Which::First { most, below })).await? {
                0 => break,
                moved => done += moved,
            }
        }
        Ok(done)
    }

    async fn moved(&self, queue: &Queue, op: Op) -> Result<u64> {
        match self.ask(queue, op).await? {
            Outcome::Moved(moved) => Ok(u64::from(moved)),
            _ => Err(AnyError::Interrupted.into()),
        }
    }
}
