//! The rules of a delivery. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use super::state::{Announcement, Delivery, Event, Phase, Post, Record, Rejected, WebhookId};
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine, Step};
use crate::store::Key;

/// The pauses between tries, as Standard Webhooks recommends; after the last one the delivery is parked.
const RETRY_AFTER: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(5 * 3_600),
    Duration::from_secs(10 * 3_600),
    Duration::from_secs(14 * 3_600),
    Duration::from_secs(20 * 3_600),
    Duration::from_secs(24 * 3_600),
];

/// When the answer of a request counts as lost: longer than the request's own time limit.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The share of a pause that is random.
const JITTER: f64 = 0.1;

impl Machine for Delivery {
    const KIND: &'static str = "webhook";
    const VERSION: u8 = 1;

    type Id = WebhookId;
    type Event = Event;
    type Effect = Post;
    type Record = Record;
    type Given = ();
    type Rejection = Rejected;

    fn create(id: WebhookId, event: &Event, now: Timestamp) -> Option<Result<Step<Self>, Rejected>> {
        let Event::Announced(announcement) = event else { return None };
        let fresh = Self {
            id,
            revision: 0,
            queue: VecDeque::new(),
            phase: Phase::Idle,
            tries: 0,
            delivered: 0,
            last_error: None,
            url: announcement.url.clone(),
        };
        Some(fresh.apply(event, now))
    }

    fn apply(&self, event: &Event, now: Timestamp) -> Result<Step<Self>, Rejected> {
        let mut next = self.clone();
        let text = match event {
            Event::Announced(announcement) => next.announced(announcement, now),
            Event::Ticked if self.deadline().is_some_and(|due| due <= now) => next.send(now),
            Event::Ticked => return Ok(Step::unchanged(vec![])),
            Event::Delivered { message, .. } | Event::Failed { message, .. } if !self.awaits(message) => {
                return Ok(Step::unchanged(vec![]));
            }
            Event::Delivered { status, .. } => next.succeeded(*status, now),
            Event::Failed { reason, permanent, .. } => next.failed(reason, *permanent, now),
            Event::ReplayRequested if self.phase == Phase::Parked => {
                next.tries = 0;
                next.send(now)
            }
            Event::ReplayRequested => return Err(Rejected::NotParked),
            Event::JobPurged => return Ok(Step { change: Change::Purge, effects: vec![], outbox: vec![] }),
            Event::Quarantined { reason } => {
                next.phase = Phase::Parked;
                let message =
                    format!("its sender panicked again and again: {reason}; replay it to try again");
                next.last_error = Some(message.clone());
                format!("parked: {message}")
            }
        };
        next.revision += 1;
        // Both are compared: two requests may begin within one tick of the clock.
        let begins = next.phase != self.phase || next.queue.front() != self.queue.front();
        let effects = if begins { next.resume() } else { vec![] };
        Ok(Step::next(next, Record { at: now, text }, effects))
    }

    fn resume(&self) -> Vec<Post> {
        match (&self.phase, self.queue.front()) {
            (Phase::Sending { .. }, Some(announcement)) => vec![Post(announcement.clone())],
            _ => vec![],
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Sending { until } | Phase::Waiting { until } => Some(until),
            Phase::Idle | Phase::Parked => None,
        }
    }

    fn tick() -> Event {
        Event::Ticked
    }

    fn quarantine(reason: String) -> Event {
        Event::Quarantined { reason }
    }

    fn releases(event: &Event) -> bool {
        matches!(event, Event::ReplayRequested)
    }

    fn given(&self) -> Option<&()> {
        None
    }

    fn with_given(self, (): ()) -> Self {
        self
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn liveness(&self) -> Liveness {
        match self.phase {
            Phase::Sending { .. } => Liveness::Live,
            Phase::Waiting { .. } => Liveness::Waiting,
            Phase::Idle | Phase::Parked => Liveness::Terminal,
        }
    }

    fn index(&self) -> Vec<Vec<u8>> {
        if self.phase == Phase::Parked { vec![b"parked".to_vec()] } else { vec![] }
    }

    fn owned_keys(&self) -> Vec<Key> {
        vec![]
    }
}

impl Delivery {
    fn awaits(&self, message: &str) -> bool {
        matches!(self.phase, Phase::Sending { .. })
            && self.queue.front().is_some_and(|front| front.message == message)
    }

    fn announced(&mut self, announcement: &Announcement, now: Timestamp) -> String {
        self.queue.push_back(announcement.clone());
        match self.phase {
            Phase::Idle => self.send(now),
            _ => format!("queued {}", announcement.message),
        }
    }

    fn send(&mut self, now: Timestamp) -> String {
        let Some(front) = self.queue.front() else {
            self.phase = Phase::Idle;
            self.last_error = None;
            return "nothing to send".to_owned();
        };
        let text = format!("sending {}", front.message);
        self.phase = Phase::Sending { until: now.after(ANSWER_WITHIN) };
        text
    }

    fn succeeded(&mut self, status: u16, now: Timestamp) -> String {
        self.queue.pop_front();
        self.tries = 0;
        self.delivered += 1;
        self.last_error = None;
        let _next = self.send(now);
        format!("delivered with status {status}")
    }

    fn failed(&mut self, reason: &str, permanent: bool, now: Timestamp) -> String {
        self.last_error = Some(reason.to_owned());
        let pause = usize::try_from(self.tries).ok().and_then(|tries| RETRY_AFTER.get(tries));
        self.tries += 1;
        match pause.filter(|_| !permanent) {
            Some(pause) => {
                let hash = crc32c::crc32c(self.queue.front().map_or("", |front| &front.message).as_bytes());
                let share = 1.0 + JITTER * f64::from(hash.rotate_left(self.tries)) / f64::from(u32::MAX);
                self.phase = Phase::Waiting { until: now.after(pause.mul_f64(share)) };
                format!("failed: {reason}")
            }
            None => {
                self.phase = Phase::Parked;
                format!("parked: {reason}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
