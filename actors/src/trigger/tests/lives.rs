//! Random lives with crashes at every commit, in a world with files that come, change and go, and jobs that end.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// What may happen in a random life.
#[derive(Debug, Clone)]
enum Act {
    /// A file comes, or is another one.
    Write(u8, u8),
    /// A file goes.
    Delete(u8),
    /// A look, which sees everything.
    Look,
    /// A look that was begun long ago, and sees what was there then.
    Late,
    /// A job ends.
    End(u8, bool),
    Cancel(u8),
    /// Time passes.
    Pass(u16),
    Tick,
    Pause,
    Resume,
    Requeue,
    Discard,
    /// Another declaration.
    Declare(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..8_u8, 0..3_u8).prop_map(|(name, version)| Act::Write(name, version)),
        3 => (0..8_u8).prop_map(Act::Delete),
        10 => Just(Act::Look),
        2 => Just(Act::Late),
        12 => (any::<u8>(), any::<bool>()).prop_map(|(which, well)| Act::End(which, well)),
        1 => any::<u8>().prop_map(Act::Cancel),
        3 => (0..4_000_u16).prop_map(Act::Pass),
        6 => Just(Act::Tick),
        1 => Just(Act::Pause),
        2 => Just(Act::Resume),
        1 => Just(Act::Requeue),
        1 => Just(Act::Discard),
        1 => any::<u8>().prop_map(Act::Declare),
    ]
}

fn declaration(which: u8) -> Value {
    json!({
        "parallelism": 1 + which % 3, "max_deliveries": 1 + which / 3 % 3, "remember": "1h",
        "retry_delay": format!("{}s", which % 4),
    })
}

/// The world around a trigger.
struct World {
    life: Life,
    files: BTreeMap<u8, u8>,
    before: Vec<Object>,
    /// Jobs that run, with what they were started for.
    jobs: BTreeMap<JobId, Submitted>,
    /// All jobs there ever were.
    ever: BTreeSet<JobId>,
    /// The item of each version that is known.
    items: BTreeMap<Key, u64>,
    /// Starts of an item since it was last taken back.
    starts: BTreeMap<u64, u32>,
    done: BTreeSet<u64>,
}

impl World {
    /// A commit: what the outbox holds then arrives once, whatever dies.
    fn commits(&mut self, event: Event) {
        // Died before the commit: nothing happened, and the event comes again, to a trigger that is read back.
        let dead = self.life.trigger().apply(&event, self.life.now).unwrap();
        self.life.does(event);
        assert_eq!(self.life.outbox, dead.outbox, "the same whenever it is computed");
        for submitted in self.life.submitted() {
            let item = submitted.parent.item;
            assert!(self.ever.insert(submitted.job), "a job is submitted twice");
            assert!(!self.done.contains(&item), "what is done is done again");
            assert!(self.jobs.values().all(|other| other.parent.item != item), "two run for one item");
            *self.starts.entry(item).or_default() += 1;
            assert_eq!(submitted.parent.delivery, self.starts[&item]);
            self.jobs.insert(submitted.job, submitted);
        }
        self.holds();
    }

    fn holds(&mut self) {
        let trigger = self.life.trigger();
        assert_eq!(trigger.counts.running, self.jobs.len() as u64, "it knows what runs");
        let most = u64::from(trigger.spec().parallelism);
        let is_active = trigger.phase == Phase::Active;
        let waits = trigger.book().unwrap().next_pending().is_some();
        assert!(!is_active || !waits || trigger.counts.running >= most, "nothing waits for nothing");
        // What is forgotten may come again as something else; what is not, may not.
        let book = trigger.book().unwrap();
        self.items.retain(|key, _| book.known(key).is_some());
        for (key, known) in book.all_known() {
            let item = *self.items.entry(*key).or_insert(known.item);
            assert_eq!(item, known.item, "a version became another item");
        }
    }

    fn there(&self) -> Vec<Object> {
        self.files.iter().map(|(name, version)| file(&name.to_string(), u64::from(*version))).collect()
    }

    fn look(&mut self, there: Vec<Object>) {
        let trigger = self.life.trigger();
        let keys: BTreeSet<Key> = there.iter().map(Object::key).collect();
        let known = trigger.book().unwrap().all_known().filter(|(_, known)| known.until.is_none());
        let gone: Vec<Key> = known.map(|(key, _)| *key).filter(|key| !keys.contains(key)).collect();
        self.commits(Event::Looked { found: there.clone(), gone, fault: None });
        let trigger = self.life.trigger();
        if trigger.phase == Phase::Active {
            let knows = |object: &Object| trigger.book().unwrap().known(&object.key()).is_some();
            assert!(there.iter().all(knows), "what was seen is known");
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Write(name, version) => drop(self.files.insert(name, version)),
            Act::Delete(name) => drop(self.files.remove(&name)),
            Act::Look => {
                let there = self.there();
                self.before.clone_from(&there);
                self.look(there);
            }
            Act::Late => self.look(self.before.clone()),
            Act::End(which, well) => {
                self.end(which, if well { JobState::Succeeded } else { JobState::Failed });
            }
            Act::Cancel(which) => self.end(which, JobState::Cancelled),
            Act::Pass(secs) => drop(self.life.after(u64::from(secs))),
            Act::Tick => {
                if let Some(due) = self.life.trigger().deadline().filter(|due| *due > self.life.now) {
                    self.life.now = due;
                }
                self.commits(Event::Ticked);
                let next = self.life.trigger().deadline();
                assert!(next.is_none_or(|due| due > self.life.now), "it ticks for ever");
            }
            Act::Pause => self.commits(Event::PauseRequested),
            Act::Resume => self.commits(Event::ResumeRequested),
            Act::Requeue => {
                let trigger = self.life.trigger();
                for item in trigger.book().unwrap().dead_after(0) {
                    self.starts.remove(&item);
                }
                self.commits(Event::Requeued(Which::First { most: 256, below: u64::MAX }));
            }
            Act::Discard => self.commits(Event::Discarded(Which::First { most: 256, below: u64::MAX })),
            Act::Declare(which) => self.commits(declared(&declaration(which))),
        }
    }

    fn end(&mut self, which: u8, state: JobState) {
        let count = self.jobs.len().max(1);
        let Some(job) = self.jobs.keys().nth(usize::from(which) % count).copied() else { return };
        let submitted = self.jobs.remove(&job).unwrap();
        if state == JobState::Succeeded {
            self.done.insert(submitted.parent.item);
        }
        let end = Box::new(End { state, message: None });
        let event = Event::RunEnded { item: submitted.parent.item, run: Box::new(Run::Job(job)), end };
        self.commits(event.clone());
        // A message is delivered once; but a job that somebody retried may tell its end once more.
        if state == JobState::Succeeded {
            self.commits(event);
        }
    }

    /// From now on nothing goes wrong, and every file that is there is done or dead.
    fn ends_well(mut self) {
        self.commits(declared(&declaration(2)));
        self.commits(Event::ResumeRequested);
        let there = self.there();
        self.look(there.clone());
        for _ in 0..1_000 {
            if self.jobs.is_empty() && self.life.trigger().deadline().is_none() {
                break;
            }
            self.act(Act::End(0, true));
            self.act(Act::Tick);
        }
        let trigger = self.life.trigger();
        assert_eq!((trigger.counts.pending, trigger.counts.running), (0, 0), "nothing waits for ever");
        for object in there {
            let known = trigger.book().unwrap().known(&object.key());
            assert!(known.is_some(), "{} was lost", object.name);
        }
        assert_eq!(trigger.totals.started, self.ever.len() as u64);
        assert_eq!(trigger.totals.done, self.done.len() as u64);
    }
}

#[test]
fn whatever_happens_no_version_is_started_twice_nothing_waits_for_ever_and_nothing_is_lost() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]);
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let lives = (any::<u8>(), proptest::collection::vec(act(), 0..80));
    let tried = runner.run(&lives, |(first, acts)| {
        let mut world = World {
            life: Life::of(&declaration(first)),
            files: BTreeMap::new(),
            before: vec![],
            jobs: BTreeMap::new(),
            ever: BTreeSet::new(),
            items: BTreeMap::new(),
            starts: BTreeMap::new(),
            done: BTreeSet::new(),
        };
        for act in acts {
            world.act(act);
        }
        world.ends_well();
        Ok(())
    });
    tried.unwrap();
}
