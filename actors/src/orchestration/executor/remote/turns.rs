//! Puts turns together for workers, and records what came of them.

use std::sync::Arc;

use super::chronicle::{Chronicle, Dated, Line};
use super::piece::{Kept, Key, Load, OutTurn, Taken};
use super::ready::WorkerId;
use super::{Item, Remote, TASK_BITS, TurnAnswer, Work, stored};
use crate::entity::executor::EntityParts;
use crate::entity::{EntityId, stored as stored_entity};
use crate::orchestration::event::{Event, TurnEnd};
use crate::orchestration::history::{Action, Arrival, Turn};
use crate::orchestration::id::{InstanceId, TaskId};
use crate::orchestration::state::{Orchestration, Phase};
use crate::store;

impl Remote {
    /// What a worker was given, as an item; `None` when there is nothing to be done after all.
    pub(super) fn put_together(&self, worker: WorkerId, taken: Taken) -> Option<Item> {
        match taken {
            Taken::Activity { key, call, token } => {
                let state = self.0.parts.published.read(key.0).ok().flatten();
                // One that was left to itself may be of an execution that is over.
                let Some(state) = state else {
                    self.0.book.lock().activity_rests(&key);
                    return None;
                };
                Some(Item { token: self.token(token), work: Work::Activity { state, call } })
            }
            Taken::Turn { id, kept, look, fresh } => {
                let prepared = match self.0.parts.published.read(id) {
                    Ok(Some(state)) if state.phase == Phase::Running && (look || state.blocked.is_none()) => {
                        self.prepare(&state, kept, look, fresh).map(|turn| turn.map(|turn| (state, turn)))
                    }
                    Ok(_) => Ok(None),
                    Err(error) => Err(error),
                };
                let (state, turn) = match prepared {
                    Ok(Some(turn)) => turn,
                    Ok(None) => {
                        self.0.book.lock().turn_was_none(worker, id, false);
                        return None;
                    }
                    Err(error) => {
                        tracing::error!(instance = %id, %error, "its history cannot be read; run `dogwatch doctor --store`");
                        self.0.book.lock().turn_was_none(worker, id, false);
                        return None;
                    }
                };
                let (past, now) = (Arc::clone(&turn.chronicle), turn.now);
                let fresh = turn.saw.iter().map(|(at, arrival)| Line::Saw(*at, arrival.clone())).collect();
                let load = Load::Turn(Box::new(turn));
                let token = self.0.book.lock().goes_out(worker, Key::Turn(id), load)?;
                Some(Item { token: self.token(token), work: Work::Turn { state, past, now, fresh } })
            }
            Taken::Batch { id, number } => self.batch(worker, id, number),
        }
    }

    /// The operations of an entity that come next, where there still are any.
    fn batch(&self, worker: WorkerId, id: EntityId, number: u64) -> Option<Item> {
        let EntityParts { store, published, .. } = &self.0.parts.entities;
        let read = published.read(id).and_then(|entity| match entity {
            Some(entity) => stored_entity::batch(store.as_ref(), &entity),
            None => Ok(None),
        });
        let batch = match read {
            Ok(Some(batch)) if batch.number == number => Arc::new(batch),
            Ok(_) => {
                self.0.book.lock().batch_was_none(worker, id);
                return None;
            }
            Err(error) => {
                tracing::error!(entity = %id, %error, "what it keeps cannot be read; run `dogwatch doctor --store`");
                self.0.book.lock().batch_was_none(worker, id);
                return None;
            }
        };
        let token = self.0.book.lock().goes_out(worker, Key::Batch(id), Load::Batch(Arc::clone(&batch)))?;
        Some(Item { token: self.token(token), work: Work::Batch(batch) })
    }

    /// The next turn of an instance, where there is something that its code has not seen.
    fn prepare(
        &self,
        state: &Orchestration,
        kept: Option<Kept>,
        look: bool,
        fresh: Vec<(u32, u64, Dated)>,
    ) -> store::Result<Option<OutTurn>> {
        let kept = kept.filter(|(execution, chronicle)| {
            *execution == state.execution && chronicle.turns == state.turns && chronicle.seen == state.seen
        });
        let is_new = state.turns == 0 && state.rewinds == 0;
        let chronicle = kept.map(|(_, chronicle)| chronicle).or_else(|| is_new.then(Arc::default));
        let fresh: Vec<(u64, Dated)> = fresh
            .into_iter()
            .filter(|(execution, number, _)| *execution == state.execution && *number > state.seen)
            .map(|(_, number, dated)| (number, dated))
            .collect();
        let follows = (state.seen + 1..).zip(&fresh).all(|(expected, (number, _))| expected == *number);
        let is_all = follows && (!look || state.arrived <= state.seen + fresh.len() as u64);
        let (chronicle, saw) = match chronicle.filter(|_| is_all) {
            Some(chronicle) => (chronicle, fresh.into_iter().map(|(_, dated)| dated).collect()),
            None => {
                let entries = stored::entries(&self.0.parts.store, state, state.began);
                let (chronicle, rest): (Chronicle, Vec<Dated>) = Chronicle::of(entries)?;
                (Arc::new(chronicle), rest)
            }
        };
        if saw.is_empty() {
            return Ok(None);
        }
        // For the code time goes forward only, whatever the clock is set to.
        let now = self.0.parts.clock.now().max(chronicle.now);
        Ok(Some(OutTurn {
            execution: state.execution,
            number: chronicle.turns + 1,
            upto: chronicle.seen + saw.len() as u64,
            now,
            rewinds: state.rewinds,
            saw,
            chronicle,
        }))
    }

    /// Records a turn; the chronicle with it, where the instance goes on from there.
    pub(super) async fn record(&self, id: InstanceId, turn: OutTurn, mut answer: TurnAnswer) -> Option<Kept> {
        let OutTurn { execution, number, now, rewinds, .. } = turn;
        for action in &mut answer.actions {
            renumber(action, u64::from(rewinds) << TASK_BITS);
        }
        let begins_anew = matches!(answer.actions.last(), Some(Action::ContinueAsNew { .. }));
        let mut upto = turn.upto;
        loop {
            let mut actions = answer.actions.clone();
            if begins_anew {
                upto = self.carry_late(id, execution, turn.upto, &mut actions).await?;
            }
            let end = TurnEnd {
                execution,
                turn: Turn { number, upto, now, results: vec![], actions },
                custom_status: answer.custom_status.clone(),
                awaited: vec![],
                version: self
                    .0
                    .parts
                    .published
                    .read(id)
                    .ok()
                    .flatten()
                    .and_then(|state| state.version.clone()),
                detached: true,
                span: answer.span.clone(),
            };
            let after = self.insist(id, Event::TurnEnded(Box::new(end))).await?;
            let accepted = after.execution == execution && after.turns == number;
            if begins_anew
                && after.execution == execution
                && after.turns + 1 == number
                && after.arrived > upto
                && after.phase == Phase::Running
            {
                // Something arrived while it began anew: that is carried over as well.
                continue;
            }
            if !accepted || after.phase != Phase::Running && !matches!(after.phase, Phase::Suspended { .. }) {
                return None;
            }
            let mut chronicle = turn.chronicle;
            Arc::make_mut(&mut chronicle).take_turn(now, upto, turn.saw, after.updated_at, answer.actions);
            return Some((execution, chronicle));
        }
    }

    /// Adds the events that arrived while the code began anew to those that it carries over; the newest arrival.
    async fn carry_late(
        &self,
        id: InstanceId,
        execution: u32,
        upto: u64,
        actions: &mut [Action],
    ) -> Option<u64> {
        let state =
            self.0.parts.published.read(id).ok().flatten().filter(|state| state.execution == execution)?;
        if state.arrived <= upto {
            return Some(upto);
        }
        let entries = stored::entries(&self.0.parts.store, &state, state.began);
        let (_, rest) = Chronicle::of(entries).ok()?;
        let unseen = usize::try_from(upto.saturating_sub(state.seen)).unwrap_or(usize::MAX);
        if let Some(Action::ContinueAsNew { carried, .. }) = actions.last_mut() {
            carried.extend(rest.into_iter().skip(unseen).filter_map(|(_, arrival)| match arrival {
                Arrival::EventRaised { name, data } => Some((name, data)),
                _ => None,
            }));
        }
        Some(state.arrived)
    }
}

/// Gives a task the number that it has here.
fn renumber(action: &mut Action, epoch: TaskId) {
    let task = match action {
        Action::ScheduleActivity(call) => &mut call.task,
        Action::StartChild(call) => &mut call.task,
        Action::SubmitJob(call) => &mut call.task,
        Action::MessageEntity(call) => &mut call.task,
        Action::CreateTimer { task, .. }
        | Action::SendEvent { task, .. }
        | Action::Terminate { task, .. }
        | Action::Refuse { task, .. }
        | Action::Cancel { task } => task,
        Action::ContinueAsNew { .. } | Action::Complete(_) => return,
    };
    *task |= epoch;
}
