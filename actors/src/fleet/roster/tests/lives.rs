//! Lives of jobs with crashes between any two steps: no interleaving lets more live under a key than may, and nobody is
//! forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::admission::{keyed, rules, slots};
use super::*;
use crate::admission::OnConflict;

/// A job as it is stored, and what it was given.
#[derive(Debug, Clone)]
struct Stored {
    ticket: Ticket,
    since: i64,
    attempt: u32,
    runs: bool,
}

#[derive(Debug, Clone)]
enum Act {
    Submit(u8, u8, i16, u8),
    /// The job commits what it was granted, or not: then it is told again.
    Commit,
    AttemptEnds(prop::sample::Index),
    JobEnds(prop::sample::Index),
    GiveUp(prop::sample::Index),
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    let any = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0u8..3, 0u8..4, -2i16..3, 0u8..3).prop_map(|(tenant, key, priority, conflict)| {
            Act::Submit(tenant, key, priority, conflict)
        }),
        6 => Just(Act::Commit),
        2 => any().prop_map(Act::AttemptEnds),
        3 => any().prop_map(Act::JobEnds),
        1 => any().prop_map(Act::GiveUp),
        1 => Just(Act::Crash),
    ]
}

/// A fleet's books, the jobs as they are stored, and what lies between the two.
struct World {
    roster: Roster,
    jobs: BTreeMap<JobId, Stored>,
    grants: Vec<AttemptKey>,
    verdicts: Vec<Verdict>,
    made: u8,
    now: i64,
}

const LIMITS: [u32; 4] = [0, 1, 2, 3];

fn world_rules(recovering: bool) -> Rules {
    Rules { recovering, ..rules(&[("t0", 2, Some(2)), ("t1", 1, None)]) }
}

impl World {
    fn new() -> Self {
        let roster = slots(4, world_rules(false));
        Self { roster, jobs: BTreeMap::new(), grants: vec![], verdicts: vec![], made: 0, now: 0 }
    }

    fn pick(&self, index: &prop::sample::Index, runs: bool) -> Option<JobId> {
        let those: Vec<_> = self.jobs.iter().filter(|(_, job)| job.runs == runs).map(|(id, _)| *id).collect();
        (!those.is_empty()).then(|| *index.get(&those))
    }

    fn ask(&mut self, id: JobId) {
        let Stored { ticket, since, attempt, .. } = self.jobs[&id].clone();
        let key = AttemptKey::new(id, attempt + 1);
        self.verdicts.extend(self.roster.request(key, at(since), Demand::default(), Ahead::Yes, ticket));
    }

    fn end(&mut self, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.roster.forget(AttemptKey::new(id, if job.runs { job.attempt } else { job.attempt + 1 }));
        if let Some(claim) = job.ticket.claim {
            self.roster.leave_place(id, &claim.concurrency.key);
        }
    }

    fn act(&mut self, act: Act) {
        self.now += 1;
        match act {
            Act::Submit(tenant, key, priority, conflict) => {
                self.made += 1;
                let conflict =
                    [OnConflict::Queue, OnConflict::Skip, OnConflict::Replace][usize::from(conflict)];
                let mut ticket = match LIMITS[usize::from(key)] {
                    0 => Ticket::default(),
                    limit => keyed(&format!("k{key}"), limit, conflict, self.now),
                };
                (ticket.tenant, ticket.priority) = (Arc::from(format!("t{tenant}")), priority);
                let id = JobId::from_bytes([self.made; 16]);
                self.jobs.insert(id, Stored { ticket, since: self.now, attempt: 0, runs: false });
                self.ask(id);
            }
            Act::Commit => self.commit(),
            Act::AttemptEnds(index) => {
                let Some(id) = self.pick(&index, true) else { return };
                let job = self.jobs.get_mut(&id).unwrap();
                (job.runs, job.since) = (false, self.now);
                let over = AttemptKey::new(id, job.attempt);
                self.roster.end(over);
                self.roster.forget(over);
                self.ask(id);
            }
            Act::JobEnds(index) => self.pick(&index, true).into_iter().for_each(|id| self.end(id)),
            Act::GiveUp(index) => self.pick(&index, false).into_iter().for_each(|id| self.end(id)),
            Act::Crash => self.crash(),
        }
    }

    fn commit(&mut self) {
        for verdict in std::mem::take(&mut self.verdicts) {
            match verdict {
                Verdict::Accepted(key) => {
                    let claim = self.jobs.get_mut(&key.job).and_then(|job| job.ticket.claim.as_mut());
                    claim.into_iter().for_each(|claim| claim.accepted = true);
                }
                Verdict::Skipped { key, .. } => self.end(key.job),
                Verdict::Displaced { victim, .. } => self.end(victim),
            }
        }
        for key in std::mem::take(&mut self.grants) {
            let Some(job) =
                self.jobs.get_mut(&key.job).filter(|job| job.attempt + 1 == key.number && !job.runs)
            else {
                self.roster.forget(key);
                continue;
            };
            (job.attempt, job.runs) = (key.number, true);
            if let Some(claim) = &mut job.ticket.claim {
                claim.held = true;
            }
            let ticket = job.ticket.clone();
            self.roster.drive(key, "fake", Demand::default(), false, ticket);
            self.roster.ready(key);
        }
    }

    /// Everything but what is stored is gone. The jobs come back in an order of no meaning.
    fn crash(&mut self) {
        self.roster = slots(4, world_rules(true));
        (self.grants, self.verdicts) = (vec![], vec![]);
        for id in self.jobs.keys().copied().rev().collect::<Vec<_>>() {
            let job = self.jobs[&id].clone();
            if job.runs {
                let key = AttemptKey::new(id, job.attempt);
                self.roster.drive(key, "fake", Demand::default(), true, job.ticket);
            } else {
                self.ask(id);
            }
            self.serve();
            self.invariants();
        }
        self.verdicts.extend(self.roster.open());
    }

    fn serve(&mut self) {
        let grants = self.roster.grant(at(self.now));
        self.grants.extend(grants.into_iter().filter_map(|grant| match grant {
            Grant::Turn(key) => Some(key),
            Grant::Slot(_) => None,
        }));
    }

    /// The limit counts what is stored: it never lets more jobs have a place than there are.
    fn invariants(&self) {
        let mut held: BTreeMap<&str, u32> = BTreeMap::new();
        let mut running: BTreeMap<&str, u32> = BTreeMap::new();
        for job in self.jobs.values() {
            if let Some(claim) = job.ticket.claim.as_ref().filter(|claim| claim.held) {
                *held.entry(&claim.concurrency.key).or_default() += 1;
            }
            *running.entry(&job.ticket.tenant).or_default() += u32::from(job.runs);
        }
        for (key, limit) in [("k1", 1), ("k2", 2), ("k3", 3)] {
            let held = held.get(key).copied().unwrap_or_default();
            assert!(held <= limit, "{held} hold a place under {key}, which has {limit}");
        }
        assert!(running.get("t0").copied().unwrap_or_default() <= 2, "{running:?}");
    }
}

proptest! {
    #[test]
    fn no_interleaving_and_no_crash_lets_more_live_under_a_key_than_may(acts in prop::collection::vec(act(), 0..120)) {
        let mut world = World::new();
        for act in acts {
            world.act(act);
            world.serve();
            world.invariants();
            invariant_the_tally_is_the_sum_of_the_entries(&world.roster);
        }
        // Nobody is forgotten: when everything that runs ends in time, everybody who waits gets a turn.
        for _ in 0..2_000 {
            if world.jobs.is_empty() {
                break;
            }
            world.serve();
            world.commit();
            world.invariants();
            let running = world.jobs.iter().find(|(_, job)| job.runs).map(|(id, _)| *id);
            running.into_iter().for_each(|id| world.end(id));
        }
        prop_assert!(world.jobs.is_empty(), "somebody waits for ever: {:?}", world.jobs);
        prop_assert_eq!(world.roster.admission().keys, vec![], "a key of nobody is kept");
    }
}
