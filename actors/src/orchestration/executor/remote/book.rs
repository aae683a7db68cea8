//! What is known of all work for workers: what waits, what is out, who is there. In memory and pure: whatever is lost
//! of it comes again from the machines.
//!
//! Every piece of work that is handed out has a token of its own. Only the newest one of a piece of work counts, so
//! that it ends once; that of a worker that has gone counts until the work is handed out again.
//!
//! Invariants: a piece of work waits, or is out, or is ending, never two of them; an instance has one turn out at most.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::resting::Resting;
use super::chronicle::Dated;
use super::demand::Pools;
use super::piece::{ActivityKey, Kept, Key, Load, Operations, Out, Seat, Standing, Taken, Task, Token};
use super::ready::{Kind, Need, Ready, WorkerId, WorkerOptions};
use super::worker::{Worker, idlers};
use crate::entity::EntityId;
use crate::limits::{
    INSTANCES_HOT_MAX, TURN_WORKERS_LOST_MAX, WORK_GIVEN_BACK_PAUSE, WORK_GIVEN_BACK_PAUSE_MAX,
};
use crate::orchestration::history::ActivityCall;
use crate::orchestration::id::InstanceId;

/// All of it.
pub(super) struct Book {
    pub(super) seats: HashMap<InstanceId, Seat>,
    pub(super) tasks: HashMap<ActivityKey, Task>,
    pub(super) batches: HashMap<EntityId, Operations>,
    pub(super) outs: HashMap<Token, Out>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    resting: Resting<InstanceId, Kept>,
    pub(super) ready: Ready<Key>,
    /// What was given back and pauses.
    pub(super) pausing: BTreeMap<(Instant, u64), Key>,
    pub(super) pools: Pools,
    numbers: u64,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            seats: HashMap::new(),
            tasks: HashMap::new(),
            batches: HashMap::new(),
            outs: HashMap::new(),
            workers: BTreeMap::new(),
            resting: Resting::new(INSTANCES_HOT_MAX),
            ready: Ready::default(),
            pausing: BTreeMap::new(),
            pools: Pools::default(),
            numbers: 0,
        }
    }
}

impl Book {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// An instance has something to see.
    pub(super) fn wants_turn(
        &mut self,
        id: InstanceId,
        need: impl FnOnce() -> Option<Need>,
        look: bool,
        fresh: impl Iterator<Item = (u32, u64, Dated)>,
    ) {
        if let std::collections::hash_map::Entry::Vacant(vacant) = self.seats.entry(id) {
            let Some(need) = need() else { return };
            vacant.insert(Seat {
                need,
                standing: Standing::Idle,
                look: false,
                fresh: vec![],
                returns: 0,
                lost: 0,
            });
        }
        let Some(seat) = self.seats.get_mut(&id) else { return };
        seat.look |= look;
        seat.fresh.extend(fresh);
        if seat.standing == Standing::Idle {
            seat.standing = Standing::Ready(None);
            let need = seat.need.clone();
            self.push(need, Key::Turn(id), None);
        }
    }

    /// An activity is to be run, unless it is known.
    pub(super) fn wants_activity(&mut self, key: ActivityKey, need: Need, call: ActivityCall) {
        if let std::collections::hash_map::Entry::Vacant(vacant) = self.tasks.entry(key) {
            let (call, standing) = (Arc::new(call), Standing::Ready(None));
            vacant.insert(Task { call, need: need.clone(), standing, returns: 0 });
            self.push(need, Key::Activity(key), None);
        }
    }

    /// Operations of an entity are to be run, unless that batch is known.
    pub(super) fn wants_batch(&mut self, id: EntityId, need: Need, number: u64) {
        if self.batches.get(&id).is_some_and(|known| known.number >= number) {
            return;
        }
        self.forget_batch(id);
        let standing = Standing::Ready(None);
        self.batches.insert(id, Operations { number, need: need.clone(), standing, returns: 0 });
        self.push(need, Key::Batch(id), None);
    }

    fn push(&mut self, need: Need, key: Key, avoid: Option<WorkerId>) {
        self.wake_one(&need, avoid);
        self.ready.push(need, key, avoid);
    }

    fn push_first(&mut self, need: Need, key: Key) {
        self.wake_one(&need, None);
        self.ready.push_first(need, key);
    }

    /// Wakes those that could take what a worker leaves.
    fn wake_for_rest(&mut self, worker: WorkerId) {
        for need in self.ready.needs() {
            self.wake_one(&need, Some(worker));
        }
    }

    /// Wakes the one of those that wait and could take it that has the least to do, and has waited longest.
    fn wake_one(&mut self, need: &Need, avoid: Option<WorkerId>) {
        let could = |(id, worker): &(&WorkerId, &mut Worker)| {
            worker.is_waiting() && Some(**id) != avoid && worker.takes(need) && worker.has_room(need.kind)
        };
        let idlest = self.workers.iter_mut().filter(could);
        match idlest.min_by_key(|(_, worker)| worker.order()) {
            Some((_, worker)) => worker.wake(),
            None => self.pools.want(need),
        }
    }

    /// The next work for a worker; without any it waits to be woken.
    pub(super) fn take(&mut self, worker: WorkerId) -> Option<Taken> {
        self.end_pauses(Instant::now());
        loop {
            let asked = self.number();
            let idlers = idlers(&self.workers, worker)?;
            let own = self.workers.get(&worker)?;
            let has_room = |kind: Kind| own.has_room(kind);
            let mut idler = None;
            let is_left = |kind: Kind, name: &str, version: &str| {
                let could = |(_, other): &&(WorkerId, &Worker)| {
                    other.has_room(kind) && other.options.admits(kind, name, version)
                };
                let found = idlers.iter().find(could).map(|(id, _)| *id);
                idler = idler.or(found);
                found.is_some()
            };
            let taken = self.ready.take(worker, &own.options, has_room, is_left);
            if let Some(idler) = idler.and_then(|idler| self.workers.get_mut(&idler)) {
                idler.wake();
            }
            let Some((kind, key)) = taken else {
                self.workers.get_mut(&worker)?.waits(asked);
                // It may have been woken for what it has no room for any more.
                self.wake_for_rest(worker);
                return None;
            };
            if let Some(taken) = self.hand(worker, kind, key) {
                return Some(taken);
            }
        }
    }

    /// Gives a piece of work to a worker, where it still waits.
    fn hand(&mut self, worker: WorkerId, kind: Kind, key: Key) -> Option<Taken> {
        let token = self.number();
        let standing = self.standing(key)?;
        let Standing::Ready(orphan) = *standing else { return None };
        *standing = match key {
            Key::Turn(_) | Key::Batch(_) => Standing::Preparing,
            Key::Activity(_) => Standing::Out(token),
        };
        self.outs.remove(&orphan.unwrap_or(0));
        self.workers.get_mut(&worker)?.takes_one(kind);
        match key {
            Key::Turn(id) => {
                let kept = self.resting.remove(&id);
                let seat = self.seats.get_mut(&id)?;
                let (look, fresh) = (std::mem::take(&mut seat.look), std::mem::take(&mut seat.fresh));
                Some(Taken::Turn { id, kept, look, fresh })
            }
            Key::Batch(id) => Some(Taken::Batch { id, number: self.batches.get(&id)?.number }),
            Key::Activity(key) => {
                let call = Arc::clone(&self.tasks.get(&key)?.call);
                let (load, since) = (Load::Activity, Instant::now());
                self.outs.insert(token, Out { key: Key::Activity(key), worker, load, since });
                Some(Taken::Activity { key, call, token })
            }
        }
    }

    fn standing(&mut self, key: Key) -> Option<&mut Standing> {
        match key {
            Key::Turn(id) => self.seats.get_mut(&id).map(|seat| &mut seat.standing),
            Key::Activity(key) => self.tasks.get_mut(&key).map(|task| &mut task.standing),
            Key::Batch(id) => self.batches.get_mut(&id).map(|batch| &mut batch.standing),
        }
    }

    fn need(&self, key: Key) -> Option<&Need> {
        match key {
            Key::Turn(id) => self.seats.get(&id).map(|seat| &seat.need),
            Key::Activity(key) => self.tasks.get(&key).map(|task| &task.need),
            Key::Batch(id) => self.batches.get(&id).map(|batch| &batch.need),
        }
    }

    /// Something was put together and goes out; `None` when the worker has gone, or it is not wanted any more.
    pub(super) fn goes_out(&mut self, worker: WorkerId, key: Key, load: Load) -> Option<Token> {
        let token = self.number();
        let is_there = self.workers.contains_key(&worker);
        let Some(standing @ Standing::Preparing) = self.standing(key) else {
            self.makes_room(worker, key.kind());
            return None;
        };
        *standing = Standing::Out(token);
        if !is_there {
            self.waits_again(key);
            return None;
        }
        self.outs.insert(token, Out { key, worker, load, since: Instant::now() });
        Some(token)
    }

    /// There were no operations to be run after all.
    pub(super) fn batch_was_none(&mut self, worker: WorkerId, id: EntityId) {
        self.makes_room(worker, Kind::Entity);
        self.batches.remove(&id);
    }

    /// Operations are over and recorded, or of no interest.
    pub(super) fn batch_rests(&mut self, id: EntityId, number: u64) {
        // The next ones may have been asked for meanwhile.
        if self.batches.get(&id).is_some_and(|batch| batch.number <= number) {
            self.batches.remove(&id);
        }
    }

    /// Nobody wants to hear of an entity's operations any more.
    pub(super) fn forget_batch(&mut self, id: EntityId) {
        let Some(batch) = self.batches.remove(&id) else { return };
        if let Standing::Out(token) | Standing::Ready(Some(token)) = batch.standing
            && let Some(out) = self.outs.remove(&token)
            && matches!(batch.standing, Standing::Out(_))
        {
            self.makes_room(out.worker, Kind::Entity);
        }
    }

    /// There was nothing to be seen after all, or it could not be read: `again` says that it is to be tried again.
    pub(super) fn turn_was_none(&mut self, worker: WorkerId, id: InstanceId, again: bool) {
        self.makes_room(worker, Kind::Orchestration);
        if again {
            self.waits_again(Key::Turn(id));
        } else {
            self.turn_rests(id, None);
        }
    }

    fn waits_again(&mut self, key: Key) {
        if let Key::Turn(id) = key
            && let Some(seat) = self.seats.get_mut(&id)
        {
            seat.look = true;
        }
        if let Some(standing) = self.standing(key) {
            *standing = Standing::Ready(None);
        }
        if let Some(need) = self.need(key).cloned() {
            self.push_first(need, key);
        }
    }

    /// A turn is over, or there was none. What arrived meanwhile is the next one.
    pub(super) fn turn_rests(&mut self, id: InstanceId, kept: Option<Kept>) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        let seen = kept.as_ref().map(|(execution, chronicle)| (*execution, chronicle.seen));
        seat.fresh.retain(|(execution, number, _)| {
            seen.is_none_or(|(current, seen)| {
                *execution > current || (*execution == current && *number > seen)
            })
        });
        if let Some((execution, chronicle)) = kept {
            drop(self.resting.insert(id, (execution, chronicle)));
        }
        let Some(seat) = self.seats.get_mut(&id) else { return };
        if seat.look || !seat.fresh.is_empty() {
            (seat.standing, seat.returns, seat.lost) = (Standing::Ready(None), 0, 0);
            let need = seat.need.clone();
            self.push(need, Key::Turn(id), None);
        } else {
            self.seats.remove(&id);
        }
    }

    /// A turn is given to nobody until something new is said of the instance.
    pub(super) fn turn_is_blocked(&mut self, id: InstanceId) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.look = false;
            seat.fresh.clear();
        }
        self.turn_rests(id, None);
    }

    /// The same, where the token stands for work of this kind.
    pub(super) fn begin_end_of(&mut self, token: Token, kind: Kind) -> Option<Out> {
        self.outs.get(&token).filter(|out| out.key.kind() == kind)?;
        self.begin_end(token)
    }

    /// What a token stands for, when it is the newest of its work; the work is ending from now on.
    pub(super) fn begin_end(&mut self, token: Token) -> Option<Out> {
        let out = self.outs.remove(&token)?;
        let standing = self.standing(out.key)?;
        // Of a worker that has gone.
        if !matches!(*standing, Standing::Ready(_)) {
            self.makes_room(out.worker, out.key.kind());
        }
        let standing = self.standing(out.key)?;
        let counts =
            matches!(*standing, Standing::Out(newest) | Standing::Ready(Some(newest)) if newest == token);
        counts.then(|| {
            *standing = Standing::Ending;
            out
        })
    }

    fn makes_room(&mut self, worker: WorkerId, kind: Kind) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.ends_one(kind);
        }
    }

    /// An activity is over and recorded, or of no interest.
    pub(super) fn activity_rests(&mut self, key: &ActivityKey) {
        let Some(task) = self.tasks.remove(key) else { return };
        if let Standing::Out(token) | Standing::Ready(Some(token)) = task.standing
            && let Some(out) = self.outs.remove(&token)
            && matches!(task.standing, Standing::Out(_))
        {
            self.makes_room(out.worker, Kind::Activity);
        }
    }

    /// What is in memory of an instance is of no use, and a turn that is out is void.
    pub(super) fn forget(&mut self, id: InstanceId) {
        drop(self.resting.remove(&id));
        let Some(seat) = self.seats.get_mut(&id) else { return };
        seat.fresh.clear();
        match seat.standing {
            Standing::Out(token) => {
                let out = self.outs.remove(&token);
                self.seats.remove(&id);
                if let Some(out) = out {
                    self.makes_room(out.worker, Kind::Orchestration);
                }
            }
            Standing::Ready(orphan) => {
                self.outs.remove(&orphan.unwrap_or(0));
                self.seats.remove(&id);
            }
            Standing::Idle | Standing::Preparing | Standing::Ending => {}
        }
    }

    /// A worker gives back what it cannot or does not want to do: somebody else may, or it may later.
    pub(super) fn give_back(&mut self, token: Token) {
        let Some(out) = self.begin_end(token) else { return };
        let (key, worker) = (out.key, out.worker);
        let returns = match key {
            Key::Turn(id) => self.seats.get_mut(&id).map(|seat| {
                seat.look = true;
                &mut seat.returns
            }),
            Key::Activity(key) => self.tasks.get_mut(&key).map(|task| &mut task.returns),
            Key::Batch(id) => self.batches.get_mut(&id).map(|batch| &mut batch.returns),
        };
        let Some(returns) = returns else { return };
        *returns += 1;
        let returns = *returns;
        if let Some(standing) = self.standing(key) {
            *standing = Standing::Ready(None);
        }
        let Some(need) = self.need(key).cloned() else { return };
        let others = self.workers.iter().filter(|(id, other)| **id != worker && other.takes(&need)).count();
        if (returns as usize) <= others {
            self.push(need, key, Some(worker));
            return;
        }
        let doubled = WORK_GIVEN_BACK_PAUSE.saturating_mul(1 << returns.saturating_sub(1).min(16));
        let number = self.number();
        self.pausing.insert((Instant::now() + doubled.min(WORK_GIVEN_BACK_PAUSE_MAX), number), key);
    }

    /// When the next pause ends, as seen from `now`.
    pub(super) fn next_pause(&self, now: Instant) -> Option<Duration> {
        self.pausing.keys().next().map(|(at, _)| at.saturating_duration_since(now))
    }

    /// What has paused until `now` waits again.
    pub(super) fn end_pauses(&mut self, now: Instant) {
        while let Some(entry) = self.pausing.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            let need = self.need(key).cloned();
            if let Some(need) = need {
                self.push(need, key, None);
            }
        }
    }

    /// A worker is there: what others gave back may be for it.
    pub(super) fn connect(&mut self, options: WorkerOptions) -> (WorkerId, Arc<Notify>) {
        let (id, wakes) = (self.number(), Arc::new(Notify::new()));
        let woken = Arc::clone(&wakes);
        self.workers.insert(id, Worker::new(options, wakes));
        let pausing: Vec<_> = self.pausing.keys().copied().collect();
        if let Some((last, _)) = pausing.last() {
            self.end_pauses(*last);
        }
        (id, woken)
    }

    /// A worker has gone: its turns wait for another one. Gives the activities that it may have run, and the turns that
    /// too many workers have gone with.
    pub(super) fn disconnect(&mut self, worker: WorkerId) -> (Vec<ActivityKey>, Vec<InstanceId>) {
        self.workers.remove(&worker);
        // It may have been woken for something that it did not take any more.
        self.wake_for_rest(worker);
        let had: Vec<(Token, Key)> = self
            .outs
            .iter()
            .filter(|(_, out)| out.worker == worker)
            .map(|(token, out)| (*token, out.key))
            .collect();
        let (mut activities, mut deadly) = (Vec::new(), Vec::new());
        for (token, key) in had {
            let Some(standing) = self.standing(key) else { continue };
            if *standing != Standing::Out(token) {
                continue;
            }
            *standing = Standing::Ready(Some(token));
            match key {
                Key::Turn(id) => {
                    let Some(seat) = self.seats.get_mut(&id) else { continue };
                    (seat.look, seat.lost) = (true, seat.lost + 1);
                    if seat.lost > TURN_WORKERS_LOST_MAX {
                        (seat.standing, seat.lost) = (Standing::Ending, 0);
                        deadly.push(id);
                        continue;
                    }
                    self.waits_for_another(key);
                }
                Key::Activity(key) => activities.push(key),
                Key::Batch(_) => self.waits_for_another(key),
            }
        }
        (activities, deadly)
    }

    fn waits_for_another(&mut self, key: Key) {
        if let Some(need) = self.need(key).cloned() {
            self.push_first(need, key);
        }
    }

    /// An activity whose worker has gone waits for another one.
    pub(super) fn activity_waits_again(&mut self, key: ActivityKey) {
        if let Some(task) = self.tasks.get(&key)
            && matches!(task.standing, Standing::Ready(_))
        {
            self.waits_for_another(Key::Activity(key));
        }
    }

    /// How much waits, by kind.
    pub(super) fn depths(&self) -> [usize; 3] {
        self.ready.depths()
    }
}
