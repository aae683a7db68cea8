//! Random lives with crashes, in a world with workers that come and go.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// What may happen in a random life.
#[derive(Debug, Clone)]
enum Act {
    /// So much work comes.
    Work(u8),
    /// The watcher looks.
    Look,
    /// An instance's worker connects, takes what it may, ends one piece of work, or disconnects.
    Connect(u8),
    Take(u8),
    Finish(u8),
    Disconnect(u8),
    /// An instance's job ends by itself, badly or well.
    Die(u8, bool),
    /// Time passes.
    Pass(u16),
    /// The deadline passes.
    Tick,
    /// Another declaration.
    Declare(u8),
    /// The process dies and starts again.
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0..40u8).prop_map(Act::Work),
        4 => Just(Act::Look),
        4 => any::<u8>().prop_map(Act::Connect),
        4 => any::<u8>().prop_map(Act::Take),
        4 => any::<u8>().prop_map(Act::Finish),
        1 => any::<u8>().prop_map(Act::Disconnect),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(which, well)| Act::Die(which, well)),
        2 => (0..200u16).prop_map(Act::Pass),
        2 => Just(Act::Tick),
        1 => (0..6u8).prop_map(Act::Declare),
        1 => Just(Act::Crash),
    ]
}

/// The world around a pool: work, jobs, workers.
struct World {
    life: Life,
    waiting: u64,
    /// Jobs that run, and whether they were told to stop.
    jobs: BTreeMap<JobId, bool>,
    /// Workers that are connected, and how much they have.
    workers: BTreeMap<JobId, u32>,
    retired: BTreeSet<JobId>,
    most: u32,
}

impl World {
    fn pick(&self, which: u8) -> Option<JobId> {
        let count = self.jobs.len().max(1);
        self.jobs.keys().nth(usize::from(which) % count).copied()
    }

    /// What an event came to is done, and nothing that must not be.
    fn performed(&mut self) {
        let effects = std::mem::take(&mut self.life.effects);
        for effect in effects {
            match effect {
                Effect::Retire(job) => drop(self.retired.insert(job)),
                Effect::Forget(job) => drop(self.retired.remove(&job)),
                Effect::Watch | Effect::Unwatch => {}
            }
        }
        let (submitted, cancelled) = sent(&std::mem::take(&mut self.life.outbox));
        for job in submitted {
            assert!(self.jobs.insert(job, false).is_none(), "two instances have one id");
        }
        for job in cancelled {
            assert_eq!(self.workers.get(&job).copied().unwrap_or(0), 0, "a worker that has work was stopped");
            let was_told = self.jobs.insert(job, true);
            assert_eq!(was_told, Some(false), "an instance is told to stop once");
        }
        let pool = self.life.pool();
        assert_eq!(pool.instances.keys().collect::<Vec<_>>(), self.jobs.keys().collect::<Vec<_>>());
        assert!(self.jobs.len() as u32 <= self.most, "more instances than there may be");
        for (job, instance) in &pool.instances {
            assert!(instance.mode == Mode::Up || self.retired.contains(job), "{job} may be given work");
        }
    }

    fn look(&mut self) {
        let seen = |job: &JobId| {
            let (busy, retired) = (self.workers.get(job).copied(), self.retired.contains(job));
            (*job, Seen { connected: busy.is_some(), busy: busy.unwrap_or(0), retired })
        };
        let instances: BTreeMap<JobId, Seen> = self.workers.keys().chain(&self.retired).map(seen).collect();
        let running = self.workers.values().map(|busy| u64::from(*busy)).sum();
        let demand = Demand { waiting: self.waiting, running, instances };
        self.life.does(Event::DemandSeen(demand.clone()));
        self.performed();
        assert!(self.life.pool().has_seen(&demand));
        self.life.does(Event::DemandSeen(demand));
        assert!(self.life.effects.is_empty() && self.life.outbox.is_empty(), "the same again is no news");
    }

    fn ended(&mut self, job: JobId, end: Box<End>) {
        self.jobs.remove(&job);
        self.waiting += u64::from(self.workers.remove(&job).unwrap_or(0));
        self.life.does(Event::InstanceEnded { job, end });
        self.performed();
    }

    fn crash(&mut self) {
        let pool = self.life.pool();
        let given = Machine::given(pool).unwrap().clone();
        let text = serde_json::to_vec(pool).unwrap();
        let read: Pool = serde_json::from_slice(&text).unwrap();
        let read = read.with_given(given);
        assert_eq!(&read, pool, "a pool reads back as it was stored");
        self.life.effects = read.resume();
        self.life.pool = Some(read);
        self.waiting += self.workers.values().map(|busy| u64::from(*busy)).sum::<u64>();
        self.workers.clear();
        self.retired.clear();
        self.performed();
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Work(count) => self.waiting += u64::from(count),
            Act::Look => self.look(),
            Act::Connect(which) => {
                let Some(job) = self.pick(which) else { return };
                let event = Event::InstanceConnected { job };
                if let Ok(step) = self.life.pool().apply(&event, self.life.now) {
                    self.life.take(step);
                    self.performed();
                    self.workers.entry(job).or_insert(0);
                }
            }
            Act::Take(which) => {
                let Some(job) = self.pick(which).filter(|job| !self.retired.contains(job)) else { return };
                if let Some(busy) = self.workers.get_mut(&job).filter(|busy| **busy < 10)
                    && self.waiting > 0
                {
                    (*busy, self.waiting) = (*busy + 1, self.waiting - 1);
                }
            }
            Act::Finish(which) => {
                let busy = self.pick(which).and_then(|job| self.workers.get_mut(&job));
                if let Some(busy) = busy {
                    *busy = busy.saturating_sub(1);
                }
            }
            Act::Disconnect(which) => {
                let gone = self.pick(which).and_then(|job| self.workers.remove(&job));
                self.waiting += u64::from(gone.unwrap_or(0));
            }
            Act::Die(which, well) => {
                let Some(job) = self.pick(which) else { return };
                let how = match (self.jobs[&job], well) {
                    (true, _) => end(JobState::Cancelled, Cause::Canceled, None),
                    (false, true) => end(JobState::Succeeded, Cause::Success, Some(0)),
                    (false, false) => end(JobState::Failed, Cause::ExitCode, Some(1)),
                };
                self.ended(job, how);
            }
            Act::Pass(secs) => self.life.now = self.life.now.after(Duration::from_secs(secs.into())),
            Act::Tick => {
                let Some(due) = self.life.pool().deadline() else { return };
                self.life.now = self.life.now.max(due);
                self.life.does(Event::Ticked);
                self.performed();
                assert!(
                    self.life.pool().deadline().is_none_or(|due| due > self.life.now),
                    "it ticks for ever"
                );
            }
            Act::Declare(which) => {
                let max = u32::from(which / 2) + 1;
                self.most = self.most.max(max);
                let more = json!({"max": max, "job": {"args": ["worker", (which % 2).to_string()]}});
                self.life.does(Event::Declared(Box::new(given(more))));
                self.performed();
            }
            Act::Crash => self.crash(),
        }
    }

    /// From now on everything goes well: all work is done, and then there is no instance.
    fn ends_well(&mut self) {
        for round in 0..400 {
            self.look();
            for job in self.jobs.keys().copied().collect::<Vec<_>>() {
                match self.jobs[&job] {
                    true => self.ended(job, end(JobState::Cancelled, Cause::Canceled, None)),
                    false => (0..12).for_each(|_| self.serve(job)),
                }
            }
            self.look();
            if self.waiting == 0 && self.jobs.is_empty() {
                return;
            }
            assert!(round < 399, "not at rest: {:?}", self.life.pool());
            self.act(Act::Tick);
        }
    }

    fn serve(&mut self, job: JobId) {
        let at = u8::try_from(self.jobs.keys().position(|it| *it == job).unwrap()).unwrap();
        for act in [Act::Connect(at), Act::Take(at), Act::Finish(at)] {
            self.act(act);
        }
    }
}

#[test]
fn whatever_happens_no_work_is_cut_off_no_limit_is_passed_and_all_of_it_is_done_in_the_end() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let lives = proptest::collection::vec(act(), 0..120);
    let tried = runner.run(&lives, |acts| {
        let mut world = World {
            life: Life::of(json!({"max": 3})),
            waiting: 0,
            jobs: BTreeMap::new(),
            workers: BTreeMap::new(),
            retired: BTreeSet::new(),
            most: 3,
        };
        world.performed();
        for act in acts {
            world.act(act);
        }
        world.ends_well();
        Ok(())
    });
    tried.unwrap();
}
