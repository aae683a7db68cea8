//! The items of a trigger, and what people do with those that are dead.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Error, Result, Triggers, not_found};
use crate::limits::{NAME_CHARS_MAX, TRIGGER_STEP_MAX};
use crate::trigger::{Event, ItemState, ItemView, Which};

/// Items of a trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = TriggerItems)]
pub struct ItemPage {
    /// By number, oldest first.
    pub items: Vec<ItemView>,
    /// Behind which there are more.
    pub next_after: Option<u64>,
}

impl Triggers {
    /// Items behind a number, at most `limit`; only those in this state where one is given.
    pub async fn items(
        &self,
        name: &str,
        state: Option<ItemState>,
        after: u64,
        limit: usize,
    ) -> Result<ItemPage> {
        let trigger = self.whole(name).await?;
        let book = trigger.book().ok_or_else(|| not_found(name))?;
        let all = book.after(after).map(|(item, entry)| entry.view(item));
        let mut some = all.filter(|item| state.is_none_or(|state| item.state == state));
        let items: Vec<ItemView> = some.by_ref().take(limit).collect();
        let next_after = some.next().and_then(|_| items.last().map(|item| item.id));
        Ok(ItemPage { items, next_after })
    }

    /// One item.
    pub async fn item(&self, name: &str, item: &str) -> Result<ItemView> {
        let trigger = self.whole(name).await?;
        let missing = || Error::NoItem(shown(item));
        let number = number(item).ok_or_else(missing)?;
        let entry = trigger.book().and_then(|book| book.get(number)).ok_or_else(missing)?;
        Ok(entry.view(number))
    }

    /// Takes back a dead letter, or all of them: each has all its deliveries once more. How many there were.
    pub async fn requeue(&self, name: &str, item: Option<&str>) -> Result<u64> {
        self.decide(name, item, Event::Requeued).await
    }

    /// Deletes a dead letter, or all of them; what is still at the source does not arrive once more. How many there were.
    pub async fn discard(&self, name: &str, item: Option<&str>) -> Result<u64> {
        self.decide(name, item, Event::Discarded).await
    }

    async fn decide(&self, name: &str, item: Option<&str>, event: fn(Which) -> Event) -> Result<u64> {
        let trigger = self.whole(name).await?;
        let dead = |trigger: &crate::trigger::Trigger| -> Vec<u64> {
            trigger.book().map(|book| book.dead_after(0).collect()).unwrap_or_default()
        };
        if let Some(item) = item {
            let missing = || Error::NoDeadLetter(shown(item));
            let number = number(item).filter(|number| dead(&trigger).contains(number)).ok_or_else(missing)?;
            self.command(name, event(Which::One(number))).await?;
            return Ok(1);
        }
        // Those that die while this goes on are not meant.
        let mut left = dead(&trigger);
        let (count, below) = (left.len() as u64, left.last().map_or(0, |last| last + 1));
        while !left.is_empty() {
            let most = u32::try_from(TRIGGER_STEP_MAX).unwrap_or(u32::MAX);
            self.command(name, event(Which::First { most, below })).await?;
            left.drain(..left.len().min(TRIGGER_STEP_MAX));
        }
        Ok(count)
    }
}

/// The number of an item, in the one way of writing it.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|item: &u64| item.to_string() == text)
}

/// As much of what was asked for as an answer repeats.
fn shown(text: &str) -> String {
    text.chars().take(NAME_CHARS_MAX).collect()
}
