//! Random lives with crashes at every commit, in a world with jobs that begin and end and a clock that may be set.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

/// What may happen in a random life.
#[derive(Debug, Clone)]
enum Act {
    /// The process dies before or behind a commit, and starts again.
    Crash,
    /// A job ends.
    End(u8, bool),
    /// Time passes.
    Pass(u16),
    /// The deadline comes.
    Tick,
    /// The clock is set back.
    Back(u16),
    Pause,
    Resume,
    Trigger,
    /// Another declaration.
    Declare(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Crash),
        6 => (any::<u8>(), any::<bool>()).prop_map(|(which, well)| Act::End(which, well)),
        3 => (0..900u16).prop_map(Act::Pass),
        8 => Just(Act::Tick),
        1 => (0..900u16).prop_map(Act::Back),
        1 => Just(Act::Pause),
        2 => Just(Act::Resume),
        1 => Just(Act::Trigger),
        1 => (0..12u8).prop_map(Act::Declare),
    ]
}

fn declaration(which: u8) -> Value {
    let overlap = ["allow", "skip", "queue", "replace"][usize::from(which % 4)];
    let cron = ["* * * * *", "@every 45s", "*/2 * * * *"][usize::from(which / 4)];
    json!({"cron": cron, "overlap": overlap, "queue_max": 2, "catch_up": {"max": which % 5}, "jitter": "20s"})
}

/// The world around a schedule.
struct World {
    life: Life,
    /// Jobs that run.
    jobs: BTreeSet<JobId>,
    cancelled: BTreeSet<JobId>,
    /// Every time that anything was started for, by the job.
    times: BTreeMap<JobId, Timestamp>,
    overlap: Overlap,
}

impl World {
    /// A commit: what the outbox holds then arrives once, whatever dies.
    fn commits(&mut self, event: Event) {
        // Died before the commit: nothing happened, and the event comes again.
        let again = self.life.schedule().apply(&event, self.life.now).unwrap();
        self.restart();
        let step = self.life.schedule().apply(&event, self.life.now).unwrap();
        assert_eq!(step.outbox, again.outbox, "the same whenever it is computed");
        self.life.take(step);
        for asked in self.life.asked() {
            match asked {
                Asked::Submit(job, at, _) => {
                    assert!(self.jobs.insert(job), "a job is submitted twice");
                    assert!(self.times.insert(job, at).is_none(), "a job is submitted again");
                }
                Asked::Cancel(job) => assert!(self.cancelled.insert(job), "a job is told twice"),
                other => panic!("{other:?}"),
            }
        }
        self.holds();
    }

    fn restart(&mut self) {
        let schedule = self.life.schedule();
        let (given, text) =
            (Machine::given(schedule).unwrap().clone(), serde_json::to_vec(schedule).unwrap());
        let read = serde_json::from_slice::<Schedule>(&text).unwrap().with_given(given);
        assert_eq!(&read, schedule, "a schedule reads back as it was stored");
        assert!(read.resume().is_empty());
        self.life.schedule = Some(read);
    }

    fn holds(&self) {
        let schedule = self.life.schedule();
        let running: BTreeSet<JobId> = schedule
            .fires
            .iter()
            .filter_map(|fire| match fire.outcome {
                Outcome::Running { run: Run::Job(job), .. } => Some(job),
                _ => None,
            })
            .collect();
        assert_eq!(running, self.jobs, "it knows what runs");
        let spec = schedule.spec();
        assert!(schedule.queued() <= 2, "as many wait as may");
        assert!(schedule.queued() == 0 || !self.jobs.is_empty(), "nothing waits for nothing");
        assert!(spec.overlap == self.overlap);
        let scheduled = schedule.fires.iter().filter(|fire| !fire.triggered).map(|fire| fire.scheduled_at);
        let scheduled: Vec<Timestamp> = scheduled.collect();
        assert!(scheduled.windows(2).all(|pair| pair[0] < pair[1]), "no time comes twice: {scheduled:?}");
        if let Some(next) = schedule.next {
            assert!(next.scheduled_at > schedule.settled && next.due_at >= next.scheduled_at);
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Crash => self.restart(),
            Act::End(which, well) => {
                let Some(job) = self.jobs.iter().nth(usize::from(which) % self.jobs.len().max(1)).copied()
                else {
                    return;
                };
                self.jobs.remove(&job);
                let state = if well { JobState::Succeeded } else { JobState::Failed };
                self.commits(Event::RunEnded { run: Box::new(Run::Job(job)), end: end(state) });
            }
            Act::Pass(secs) => self.life.now = self.life.now.after(Duration::from_secs(secs.into())),
            Act::Back(secs) => {
                let back = i64::from(secs) * 1_000;
                self.life.now = Timestamp::from_millis(self.life.now.as_millis() - back);
            }
            Act::Tick => {
                let Some(due) = self.life.schedule().deadline() else { return };
                self.life.now = self.life.now.max(due);
                self.commits(Event::Ticked);
                let next = self.life.schedule().deadline();
                assert!(next.is_none_or(|due| due > self.life.now), "it ticks for ever");
            }
            Act::Pause => self.commits(Event::PauseRequested),
            Act::Resume => self.commits(Event::ResumeRequested),
            Act::Trigger => {
                let before = self.life.schedule().number;
                self.commits(Event::Triggered);
                assert_eq!(self.life.schedule().number, before + 1);
            }
            Act::Declare(which) => {
                let more = declaration(which);
                self.overlap = spec(&more).overlap;
                self.commits(Event::Declared(Box::new(given(&more))));
            }
        }
    }

    /// From now on every job ends, and every fire is accounted for.
    fn ends_well(mut self) {
        for _ in 0..SCHEDULE_RUNS_MAX + 8 {
            let Some(job) = self.jobs.first().copied() else { break };
            self.jobs.remove(&job);
            self.commits(Event::RunEnded { run: Box::new(Run::Job(job)), end: end(JobState::Succeeded) });
        }
        let schedule = self.life.schedule();
        assert_eq!((schedule.running(), schedule.queued()), (0, 0), "nothing waits for ever");
        assert_eq!(
            schedule.number,
            schedule.started + schedule.skipped,
            "each fire started something or did not"
        );
        assert_eq!(schedule.started, self.times.len() as u64);
    }
}

#[test]
fn whatever_happens_no_time_fires_twice_nothing_waits_for_ever_and_every_fire_is_accounted_for() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    let lives = (0..12u8, proptest::collection::vec(act(), 0..100));
    let tried = runner.run(&lives, |(first, acts)| {
        let more = declaration(first);
        let mut world = World {
            life: Life::of(&more),
            jobs: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            times: BTreeMap::new(),
            overlap: spec(&more).overlap,
        };
        world.holds();
        for act in acts {
            world.act(act);
        }
        world.ends_well();
        Ok(())
    });
    tried.unwrap();
}
