//! The pool as a [`Machine`]: what each event does. What follows from the state alone is in `rules.rs`. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::id::PoolId;
use super::rules::Draft;
use super::state::{
    Demand, Effect, End, Event, Failing, Failure, Given, Mode, Phase, Pool, Record, Rejected,
};
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine, Step};
use crate::id::JobId;
use crate::job::cause::Cause;
use crate::job::view::JobState;
use crate::limits::{POOL_BACKOFF_FIRST, POOL_BACKOFF_MAX, POOL_BACKOFF_RESET_AFTER};
use crate::store::Key;

impl Machine for Pool {
    const KIND: &'static str = "pool";
    const VERSION: u8 = 1;
    const HAS_GIVEN: bool = true;

    type Id = PoolId;
    type Event = Event;
    type Effect = Effect;
    type Record = Record;
    type Given = Given;
    type Rejection = Rejected;

    fn create(id: PoolId, event: &Event, now: Timestamp) -> Option<Result<Step<Self>, Rejected>> {
        let Event::Declared(given) = event else { return None };
        let pool = Self {
            id,
            revision: 0,
            given: Some(Arc::new(given.as_ref().clone())),
            created_at: now,
            updated_at: now,
            phase: Phase::Active,
            generation: 1,
            started: 0,
            instances: BTreeMap::new(),
            waiting: 0,
            running: 0,
            failing: None,
            last_failure: None,
        };
        let mut draft = Draft::of(&pool, now);
        draft.say("declared");
        draft.effects.push(Effect::Watch);
        Some(Ok(draft.settle()))
    }

    fn apply(&self, event: &Event, now: Timestamp) -> Result<Step<Self>, Rejected> {
        let mut draft = Draft::of(self, now);
        match event {
            Event::Declared(_) if self.phase == Phase::Deleting => return Err(Rejected::Deleting),
            Event::Declared(given) => draft.declared(given),
            Event::DemandSeen(demand) => draft.demand_seen(demand),
            Event::InstanceConnected { job } => draft.connected(*job)?,
            Event::InstanceEnded { job, end } => draft.ended(*job, end),
            Event::DeleteRequested => draft.delete(),
            Event::Ticked => {}
            Event::Quarantined { reason } => draft.quarantine(reason),
        }
        Ok(draft.settle())
    }

    fn resume(&self) -> Vec<Effect> {
        if self.phase != Phase::Active {
            return vec![];
        }
        let leaving = self.instances.iter().filter(|(_, instance)| instance.mode != Mode::Up);
        leaving.map(|(job, _)| Effect::Retire(*job)).chain([Effect::Watch]).collect()
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.next_idle().into_iter().chain(self.next_start()).min()
    }

    fn tick() -> Event {
        Event::Ticked
    }

    fn quarantine(reason: String) -> Event {
        Event::Quarantined { reason }
    }

    fn releases(event: &Event) -> bool {
        matches!(event, Event::Declared(_))
    }

    fn given(&self) -> Option<&Given> {
        self.given.as_deref()
    }

    fn with_given(self, given: Given) -> Self {
        Self { given: Some(Arc::new(given)), ..self }
    }

    fn is_given_anew(&self, old: &Self) -> bool {
        match (&self.given, &old.given) {
            (Some(new), Some(old)) => !Arc::ptr_eq(new, old),
            _ => true,
        }
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    /// The stream of all events is one of jobs.
    fn is_announced(_: &Record) -> bool {
        false
    }

    /// There are few of them, and each has to be told of its demand.
    fn liveness(&self) -> Liveness {
        match self.phase {
            Phase::Active | Phase::Deleting => Liveness::Live,
            Phase::Quarantined { .. } => Liveness::Terminal,
        }
    }

    fn index(&self) -> Vec<Vec<u8>> {
        vec![]
    }

    fn owned_keys(&self) -> Vec<Key> {
        vec![]
    }
}

impl Draft {
    fn declared(&mut self, given: &Given) {
        let old = self.pool.given();
        let is_same = old.vault == given.vault && old.seed == given.seed;
        if is_same && old.spec == given.spec && self.pool.phase == Phase::Active {
            return;
        }
        if !is_same || !old.spec.has_instances_of(&given.spec) {
            self.pool.generation += 1;
            // What failed is another thing now.
            self.pool.failing = None;
        }
        self.pool.given = Some(Arc::new(given.clone()));
        self.pool.phase = Phase::Active;
        self.pool.updated_at = self.now;
        self.effects.push(Effect::Watch);
        self.say("declared anew");
    }

    fn demand_seen(&mut self, demand: &Demand) {
        let pool = &mut self.pool;
        (pool.waiting, pool.running) = (demand.waiting, demand.running);
        for (job, instance) in &mut pool.instances {
            instance.seen = demand.instances.get(job).copied();
            let is_busy = demand.waiting > 0 || instance.seen.is_some_and(|seen| seen.busy > 0);
            instance.idle_since = if is_busy { None } else { instance.idle_since.or(Some(self.now)) };
        }
    }

    fn connected(&mut self, job: JobId) -> Result<(), Rejected> {
        let now = self.now;
        let instance = self.pool.instances.get_mut(&job).filter(|instance| instance.mode == Mode::Up);
        let instance = instance.ok_or(Rejected::NotAnInstance(job))?;
        if instance.connected_at.is_none() {
            instance.connected_at = Some(now);
            self.say(format!("the worker of instance {job} has connected"));
        }
        Ok(())
    }

    fn ended(&mut self, job: JobId, end: &End) {
        let Some(instance) = self.pool.instances.remove(&job) else { return };
        self.effects.push(Effect::Forget(job));
        let was_asked_for = instance.mode == Mode::Stopping || end.state == JobState::Cancelled;
        let worked = instance.connected_at.is_some();
        if was_asked_for || (worked && end.state == JobState::Succeeded) {
            if worked {
                self.pool.failing = None;
            }
            return self.say(format!("instance {job} has ended: {}", end.message));
        }
        let message = match end.cause {
            Cause::Success => format!("{}, without its worker having connected; see its logs", end.message),
            _ => end.message.clone(),
        };
        let ran = self.now.since(instance.connected_at.unwrap_or(self.now));
        let streak = match self.pool.failing {
            Some(failing) if ran < POOL_BACKOFF_RESET_AFTER => failing.streak.saturating_add(1),
            _ => 1,
        };
        let pause = POOL_BACKOFF_FIRST.saturating_mul(1 << (streak - 1).min(16)).min(POOL_BACKOFF_MAX);
        self.say(format!("instance {job} has failed: {message}; the next one is started after {pause:?}"));
        self.pool.failing = Some(Failing { streak, until: self.now.after(pause) });
        let (at, cause, exit_code) = (self.now, end.cause, end.exit_code);
        self.pool.last_failure = Some(Failure { job, at, cause, exit_code, message });
    }

    fn delete(&mut self) {
        if self.pool.phase == Phase::Deleting {
            return;
        }
        self.pool.phase = Phase::Deleting;
        self.effects.push(Effect::Unwatch);
        self.say("deleted");
    }

    fn quarantine(&mut self, reason: &str) {
        self.pool.phase = Phase::Quarantined { reason: reason.to_owned() };
        self.effects.push(Effect::Unwatch);
        self.say(format!(
            "its supervisor panicked again and again: {reason}; declare it again to have it tried"
        ));
    }
}

impl Draft {
    /// What became of the event.
    pub(super) fn step(mut self, old: &Pool) -> Step<Pool> {
        if self.pool.phase == Phase::Deleting && self.pool.instances.is_empty() {
            return Step { change: Change::Purge, effects: vec![], outbox: self.outbox };
        }
        let is_new = old.revision == 0;
        if !is_new && self.texts.is_empty() && self.pool == *old {
            return Step { change: Change::None, effects: self.effects, outbox: self.outbox };
        }
        // What is only seen is no event of its life.
        let record = (!self.texts.is_empty()).then(|| {
            self.pool.revision += 1;
            Record { at: self.now, text: self.texts.join("; ") }
        });
        let change = Change::Next(Arc::new(self.pool), record);
        Step { change, effects: self.effects, outbox: self.outbox }
    }
}
