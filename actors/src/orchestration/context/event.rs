//! Waiting for events.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::super::failure::Result;
use super::call::{Template, Timer};
use super::core::Core;
use super::read;

/// Waits for an event. Dropping it leaves the event to the next one who waits.
#[must_use = "an event is waited for when it is awaited"]
#[derive(Debug)]
pub struct EventWait<T> {
    core: Arc<Core>,
    name: String,
    wait: Option<u64>,
    is_over: bool,
    payload: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> EventWait<T> {
    pub(super) fn new(core: Arc<Core>, name: &str) -> Self {
        Self { core, name: name.to_owned(), wait: None, is_over: false, payload: PhantomData }
    }

    /// Waits no longer than `patience`: then it is `None`.
    pub fn within(self, patience: Duration) -> EventWithin<T> {
        let fire_at = self.core.state.lock().now.after(patience);
        let timer = Timer::new(Arc::clone(&self.core), Ok(Template::Timer { fire_at }));
        EventWithin { event: self, timer }
    }
}

impl<T: DeserializeOwned> Future for EventWait<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let wait = match self.wait {
            Some(wait) => wait,
            None => {
                let wait = self.core.wait(&self.name);
                self.wait = Some(wait);
                wait
            }
        };
        let Some(data) = self.core.poll_wait(wait, cx.waker()) else { return Poll::Pending };
        self.is_over = true;
        Poll::Ready(read(&format!("the event `{}`", self.name), data))
    }
}

impl<T> Drop for EventWait<T> {
    fn drop(&mut self) {
        if let (Some(wait), false) = (self.wait, self.is_over) {
            self.core.drop_wait(&self.name, wait);
        }
    }
}

/// Waits for an event, but not for ever: `None` when the time is up.
#[must_use = "an event is waited for when it is awaited"]
#[derive(Debug)]
pub struct EventWithin<T> {
    event: EventWait<T>,
    timer: Timer,
}

impl<T: DeserializeOwned> Future for EventWithin<T> {
    type Output = Result<Option<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(event) = Pin::new(&mut self.event).poll(cx) {
            return Poll::Ready(event.map(Some));
        }
        Pin::new(&mut self.timer).poll(cx).map(|()| Ok(None))
    }
}
