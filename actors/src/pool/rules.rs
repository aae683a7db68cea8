//! What follows from the state of a pool: which instances are started, drained and stopped. Pure.

use crate::clock::Timestamp;
use crate::durable::{Message, Step};
use crate::id::JobId;
use crate::job;
use crate::job::parent::{Parent, PoolParent};

use super::spec::Source;
use super::state::{Effect, Instance, Mode, Phase, Pool};

/// The label by which the instances of a pool are found among all jobs. Users cannot set it: its namespace is kept.
pub(super) const LABEL: &str = "dogwatch.pool";

/// A transition that is being made.
pub(super) struct Draft {
    pub(super) pool: Pool,
    pub(super) now: Timestamp,
    pub(super) effects: Vec<Effect>,
    pub(super) outbox: Vec<Message>,
    pub(super) texts: Vec<String>,
    old: Pool,
}

impl Draft {
    pub(super) fn of(pool: &Pool, now: Timestamp) -> Self {
        let (effects, outbox, texts) = (vec![], vec![], vec![]);
        Self { pool: pool.clone(), now, effects, outbox, texts, old: pool.clone() }
    }

    pub(super) fn say(&mut self, text: impl Into<String>) {
        self.texts.push(text.into());
    }

    /// Brings the instances in line with everything that is known.
    pub(super) fn settle(mut self) -> Step<Pool> {
        self.stop_drained();
        match self.pool.phase {
            Phase::Deleting => self.stop_all(),
            Phase::Active => {
                self.retire_outdated();
                self.retire_idle();
                self.start_missing();
            }
            Phase::Quarantined { .. } => {}
        }
        let old = self.old.clone();
        self.step(&old)
    }

    fn in_mode(&self, mode: Mode) -> Vec<JobId> {
        let of = self.pool.instances.iter().filter(|(_, instance)| instance.mode == mode);
        of.map(|(job, _)| *job).collect()
    }

    /// Those that have nothing to do any more and are given nothing: known, not guessed.
    fn stop_drained(&mut self) {
        for job in self.in_mode(Mode::Draining) {
            let seen = self.pool.instances.get(&job).and_then(|instance| instance.seen);
            if seen.is_some_and(|seen| seen.retired && seen.busy == 0) {
                self.stop(job);
            }
        }
    }

    fn stop_all(&mut self) {
        for job in [self.in_mode(Mode::Up), self.in_mode(Mode::Draining)].concat() {
            self.effects.push(Effect::Retire(job));
            self.stop(job);
        }
    }

    fn retire_outdated(&mut self) {
        for job in self.in_mode(Mode::Up) {
            if self.pool.instances.get(&job).is_some_and(|old| old.generation != self.pool.generation) {
                self.retire(job, "it is of an earlier declaration");
            }
        }
    }

    fn retire_idle(&mut self) {
        while let Some((due, job)) = self.pool.longest_idle()
            && due <= self.now
        {
            self.retire(job, "it has nothing to do");
        }
    }

    /// Gives an instance no more work. That it has none is certain only after a look at it that comes later: its worker
    /// may be connecting in this moment.
    fn retire(&mut self, job: JobId, why: &str) {
        let Some(instance) = self.pool.instances.get_mut(&job) else { return };
        instance.mode = Mode::Draining;
        self.effects.push(Effect::Retire(job));
        self.say(format!("instance {job} goes: {why}"));
    }

    fn stop(&mut self, job: JobId) {
        let Some(instance) = self.pool.instances.get_mut(&job) else { return };
        instance.mode = Mode::Stopping;
        self.outbox.push(Message::to::<job::state::Job>(job, &job::event::Event::CancelRequested));
        self.say(format!("stopping instance {job}"));
    }

    fn start_missing(&mut self) {
        if self.pool.failing.is_some_and(|failing| self.now < failing.until) {
            return;
        }
        for _ in 0..self.pool.may_start() {
            self.start();
        }
    }

    fn start(&mut self) {
        let pool = &mut self.pool;
        pool.started += 1;
        let given = pool.given();
        let number = pool.started.to_be_bytes();
        let tail = xxhash_rust::xxh3::xxh3_128(&[&given.seed.as_bytes()[..], &number].concat()).to_be_bytes();
        let job = JobId::made_of(self.now, tail.first_chunk().expect("16 bytes are more than 10"));
        let mut spec = given.spec.job.clone();
        spec.name.get_or_insert_with(|| pool.id.to_string());
        spec.labels.insert(LABEL.to_owned(), pool.id.to_string());
        let queue = match given.spec.source() {
            Source::Queue(queue) => Some(queue),
            Source::Activities { .. } => None,
        };
        let hub = given.spec.task_hub.clone();
        let parent = PoolParent { pool: pool.id, hub, queue, sealed_for: given.seed };
        let submitted = job::event::Submitted {
            spec: spec.into(),
            vault: given.vault.clone(),
            claim: None,
            parent: Some(Parent::Pool(parent)),
        };
        let event = job::event::Event::Submitted(Box::new(submitted));
        self.outbox.push(Message::to::<job::state::Job>(job, &event));
        let instance = Instance {
            since: self.now,
            generation: pool.generation,
            mode: Mode::Up,
            connected_at: None,
            seen: None,
            idle_since: (pool.waiting == 0).then_some(self.now),
        };
        pool.instances.insert(job, instance);
        self.say(format!("starting instance {job}"));
    }
}

impl Pool {
    /// How many instances may go.
    fn excess(&self) -> u32 {
        self.up().saturating_sub(self.wanted())
    }

    /// The instance that is idle for the longest time, where one may go, and when it does.
    fn longest_idle(&self) -> Option<(Timestamp, JobId)> {
        if self.phase != Phase::Active || self.excess() == 0 {
            return None;
        }
        let idle = self.spec().idle.as_duration();
        let up = self.instances.iter().filter(|(_, instance)| instance.mode == Mode::Up);
        up.filter_map(|(job, instance)| Some((instance.idle_since?.after(idle), *job))).min()
    }

    /// When the next idle instance goes.
    pub(super) fn next_idle(&self) -> Option<Timestamp> {
        self.longest_idle().map(|(due, _)| due)
    }

    /// How many instances may be started, but for the pause after a failure. After one, and before an instance has
    /// worked, there is one that tries.
    fn may_start(&self) -> u32 {
        let Phase::Active = self.phase else { return 0 };
        let all = u32::try_from(self.instances.len()).unwrap_or(u32::MAX);
        let room = self.spec().max.saturating_sub(all);
        let missing = self.wanted().saturating_sub(self.up()).min(room);
        let is_new = |instance: &&Instance| instance.mode == Mode::Up && instance.connected_at.is_none();
        match self.failing {
            Some(_) if self.instances.values().any(|instance| is_new(&instance)) => 0,
            Some(_) => missing.min(1),
            None => missing,
        }
    }

    /// When the pause after a failure is over, where an instance waits for that.
    pub(super) fn next_start(&self) -> Option<Timestamp> {
        self.failing.map(|failing| failing.until).filter(|_| self.may_start() > 0)
    }
}
