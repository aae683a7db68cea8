//! Orchestrations that call, signal and lock entities, in whatever order their messages arrive: pure, so that thousands
//! of orders are tried. Nothing is lost, done twice or out of order; who holds a set holds all of it; and when all is
//! over, nobody holds anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::super::super::entity::{EntityCall, EntityRequest};
use super::super::super::rewind::{Story, plan};
use super::super::super::state::Phase;
use super::*;
use crate::durable::{MachineId as _, Step as Applied};
use crate::entity::batch::{self, BatchOutcome, Gate};
use crate::entity::event::{self, Caller, PurgeCondition, Unlock};
use crate::entity::{Entity, EntityId, Signal};
use crate::orchestration::{InstanceId, Payload};

/// What the code of an instance does, one after another.
#[derive(Debug, Clone)]
enum Move {
    Call(u8),
    /// An operation that fails when it is tried first, and the instance with it.
    Bad(u8),
    Both(u8, u8),
    Signal(u8),
    /// A critical section, if it is in none.
    Lock(Vec<u8>),
    Unlock,
    /// Only before it is rewound.
    Fail,
    /// Only in its first execution.
    Anew,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let entity = || 0_u8..3;
    let step = prop_oneof![
        3 => entity().prop_map(Move::Call),
        1 => entity().prop_map(Move::Bad),
        1 => (entity(), entity()).prop_map(|(one, other)| Move::Both(one, other)),
        2 => entity().prop_map(Move::Signal),
        4 => proptest::collection::vec(entity(), 1..4).prop_map(Move::Lock),
        2 => Just(Move::Unlock),
        1 => Just(Move::Fail),
        1 => Just(Move::Anew),
    ];
    proptest::collection::vec(step, 1..8)
}

fn entity(number: u8) -> EntityId {
    format!("@counter@{number}").parse().unwrap()
}

/// The code of an instance, as its history left it.
struct Code {
    moves: Vec<Move>,
    at: usize,
    execution: u32,
    rewinds: u32,
    tasks: u64,
    waits: BTreeSet<String>,
    /// The section that it is in.
    section: Option<(String, BTreeSet<EntityId>)>,
    actions: Vec<Action>,
}

impl Code {
    fn message(&mut self, entity: EntityId, request: impl FnOnce(u64) -> EntityRequest) {
        self.tasks += 1;
        let (task, request) = (self.tasks, request(self.tasks));
        self.actions.push(Action::MessageEntity(Box::new(EntityCall { task, entity, request })));
    }

    /// Names repeat in every execution, as those of workers may.
    fn call(&mut self, to: u8, operation: &str) {
        // Whoever waits for others while it holds some may wait for ever: code in a section calls only what it holds.
        let held =
            self.section.as_ref().and_then(|(_, set)| set.iter().nth(usize::from(to) % set.len()).copied());
        self.message(held.unwrap_or_else(|| entity(to)), |task| EntityRequest::Call {
            request_id: format!("r{task}"),
            operation: operation.to_owned(),
            input: Payload::NONE,
            trace: None,
        });
        self.waits.insert(format!("r{}", self.tasks));
    }

    fn sees(&mut self, arrival: &Arrival) {
        let (name, failure) = match arrival {
            Arrival::EntityAnswered { request_id, outcome: Outcome::Failed(failure), .. } => {
                (request_id, Some(failure.clone()))
            }
            Arrival::EntityAnswered { request_id, .. } => (request_id, None),
            Arrival::LockGranted { section, .. } => (section, None),
            Arrival::Started(_) => return self.goes_on(),
            other => panic!("{other:?}"),
        };
        assert!(self.waits.remove(name), "nobody asked for {arrival:?}");
        match failure {
            Some(failure) => self.actions.push(Action::Complete(Outcome::Failed(failure))),
            None if self.waits.is_empty() => self.goes_on(),
            None => {}
        }
    }

    fn goes_on(&mut self) {
        while self.waits.is_empty() {
            let Some(next) = self.moves.get(self.at).cloned() else {
                return self.actions.push(complete());
            };
            self.at += 1;
            match next {
                Move::Call(to) => self.call(to, "good"),
                Move::Bad(to) => self.call(to, "bad"),
                Move::Both(one, other) => {
                    self.call(one, "good");
                    self.call(other, "good");
                }
                Move::Signal(to) => self.message(entity(to), |task| {
                    let request_id = Some(format!("r{task}"));
                    EntityRequest::Signal(Signal { request_id, ..Signal::new("good", ()) })
                }),
                Move::Lock(set) if self.section.is_none() => {
                    let (section, set) =
                        (format!("s{}", self.at), set.into_iter().map(entity).collect::<Vec<_>>());
                    self.section = Some((section.clone(), set.iter().copied().collect()));
                    self.waits.insert(section.clone());
                    self.message(set[0], |_| EntityRequest::Lock { section, set });
                }
                Move::Unlock => {
                    let Some((section, set)) = self.section.take() else { continue };
                    for entity in set {
                        self.message(entity, |_| EntityRequest::Unlock { section: section.clone() });
                    }
                }
                Move::Fail if self.rewinds == 0 => {
                    return self.actions.push(Action::Complete(Outcome::Failed(Failure::new("broken", "x"))));
                }
                Move::Anew if self.execution == 1 => {
                    let (input, carried) = (Payload::NONE, vec![]);
                    return self.actions.push(Action::ContinueAsNew { input, version: None, carried });
                }
                Move::Lock(_) | Move::Fail | Move::Anew => {}
            }
        }
    }
}

struct Ran {
    moves: Vec<Move>,
    state: Orchestration,
    /// Of its present execution.
    entries: Vec<Entry>,
}

/// An operation: by whom, with which request id.
type Asked = (Caller, String);

#[derive(Default)]
struct World {
    instances: BTreeMap<InstanceId, Ran>,
    entities: BTreeMap<EntityId, (Entity, BTreeMap<u64, event::Entry>)>,
    outbox: VecDeque<Message>,
    sent: BTreeMap<EntityId, Vec<Asked>>,
    tried: BTreeMap<EntityId, Vec<Asked>>,
}

impl World {
    fn start(&mut self, id: InstanceId, moves: Vec<Move>) {
        let event = Event::StartRequested(Box::new(start(None)));
        let step = create(id, &event, T0).unwrap().unwrap();
        let Change::Next(state, entry) = step.change else { panic!("a start is recorded") };
        self.instances.insert(
            id,
            Ran { moves, state: Arc::unwrap_or_clone(state), entries: entry.into_iter().collect() },
        );
    }

    fn tells(&mut self, id: InstanceId, event: &Event) {
        let Some(ran) = self.instances.get_mut(&id) else { return };
        let Ok(step) = apply(&ran.state, event, T0) else { return };
        match step.change {
            Change::None => {}
            Change::Purge => drop(self.instances.remove(&id)),
            Change::Next(next, entry) => {
                if next.execution != ran.state.execution {
                    ran.entries.clear();
                }
                ran.entries.extend(entry);
                ran.state = Arc::unwrap_or_clone(next);
            }
        }
        for message in &step.outbox {
            let Some(operation) = message.event.get("operation_requested") else { continue };
            let operation: event::Operation = serde_json::from_value(operation.clone()).unwrap();
            let asked = (operation.sender().unwrap(), operation.request_id.clone());
            self.sent.entry(EntityId::from_key(&message.id).unwrap()).or_default().push(asked);
        }
        self.outbox.extend(step.outbox);
    }

    /// Gives the code of an instance a turn, brought back by its history.
    fn turn(&mut self, id: InstanceId) {
        let ran = &self.instances[&id];
        let story = Story::of(ran.entries.clone());
        let (execution, rewinds) = (ran.state.execution, ran.state.rewinds);
        let (moves, waits) = (ran.moves.clone(), BTreeSet::new());
        let mut code =
            Code { moves, at: 0, execution, rewinds, tasks: 0, waits, section: None, actions: vec![] };
        let mut seen = 0;
        for turn in &story.turns {
            code.tasks = story.numbering.get(&turn.number).copied().unwrap_or(code.tasks);
            story.between(seen, turn.upto).iter().for_each(|arrival| code.sees(arrival));
            assert_eq!(std::mem::take(&mut code.actions), turn.actions, "{id} takes the same way");
            seen = turn.upto;
        }
        let number = ran.state.turns + 1;
        code.tasks = story.numbering.get(&number).copied().unwrap_or(code.tasks);
        for arrival in story.between(seen, ran.state.arrived) {
            // What comes when it is over is for nobody.
            let ends = |action: &Action| matches!(action, Action::Complete(_) | Action::ContinueAsNew { .. });
            if code.actions.last().is_none_or(|action| !ends(action)) {
                code.sees(arrival);
            }
        }
        let turn = Turn { number, upto: ran.state.arrived, now: T0, results: vec![], actions: code.actions };
        let (custom_status, awaited, version, span) = (None, vec![], None, None);
        let end = TurnEnd { execution, turn, custom_status, awaited, version, detached: true, span };
        self.tells(id, &Event::TurnEnded(Box::new(end)));
    }

    fn rewind(&mut self, id: InstanceId) {
        self.tells(id, &Event::RewindRequested { reason: None, start: None });
        let ran = &self.instances[&id];
        if matches!(ran.state.phase, Phase::Rewinding { .. }) {
            let (rewind, open, arrivals) = plan(&Story::of(ran.entries.clone()), None);
            let revision = ran.state.revision;
            self.tells(id, &Event::RewindPlanned { revision, rewind, open, arrivals });
        }
    }

    fn tells_entity(&mut self, id: EntityId, event: &event::Event) {
        let known = self.entities.get(&id).map(|(entity, _)| entity);
        let step: Applied<Entity> = match known {
            Some(entity) => match entity.apply(event, T0) {
                Ok(step) => step,
                Err(_) => return,
            },
            None => match Entity::create(id, event, T0) {
                Some(step) => step.unwrap(),
                None => return,
            },
        };
        match step.change {
            Change::None => {}
            Change::Purge => drop(self.entities.remove(&id)),
            Change::Next(next, entry) => {
                let (_, mut entries) = self
                    .entities
                    .remove(&id)
                    .unwrap_or_else(|| (Arc::unwrap_or_clone(next.clone()), BTreeMap::new()));
                entries.extend(entry.map(|entry| (next.revision, entry)));
                let kept = next.kept();
                entries.retain(|entry, _| kept.iter().any(|(first, last)| (*first..=*last).contains(entry)));
                self.entities.insert(id, (Arc::unwrap_or_clone(next), entries));
            }
        }
        self.outbox.extend(step.outbox);
    }

    /// Finds out what comes next for an entity, and does it; with `again` it is told twice, as after a crash.
    fn run(&mut self, id: EntityId, again: bool) {
        let (entity, entries) = &self.entities[&id];
        let (read, number) = (|entry| Ok(entries.get(&entry).cloned()), entity.batch);
        let event = if !entity.unsearched.is_empty() {
            let searched: Vec<u64> = entity.unsearched.iter().collect();
            let entries = batch::own(entity.lock.as_ref().unwrap(), &searched, read).unwrap().unwrap();
            event::Event::OwnFound { number, entries }
        } else {
            match batch::gate(entity, read).unwrap().unwrap() {
                Gate::Lock(entry, request) => event::Event::LockReached { number, entry, request },
                Gate::Unlock(entry, unlock) => event::Event::UnlockReached { number, entry, unlock },
                Gate::Open => {
                    let batch = batch::compose(entity, read).unwrap().unwrap();
                    let owner = entity.lock.as_ref().map(|lock| lock.owner);
                    let tried = self.tried.entry(id).or_default();
                    let mut results = Vec::new();
                    for (_, operation) in &batch.operations {
                        let asked = (operation.sender().unwrap(), operation.request_id.clone());
                        assert!(
                            owner.is_none_or(|owner| owner == asked.0),
                            "{id} is locked by {owner:?}: {asked:?}"
                        );
                        let is_first = !tried.contains(&asked);
                        tried.push(asked);
                        results.push(match operation.operation.as_str() {
                            "bad" if is_first => Failure::new("bad", "x").into(),
                            _ => Outcome::Completed(Payload::NONE),
                        });
                    }
                    let outcome = BatchOutcome { results, ..Default::default() };
                    event::Event::BatchEnded(Box::new(batch.ended(outcome).unwrap()))
                }
            }
        };
        self.tells_entity(id, &event);
        if again {
            self.tells_entity(id, &event);
        }
    }

    /// Delivers the oldest message to the target that is the `nth` of those that have one.
    fn deliver(&mut self, nth: usize) {
        let mut targets: Vec<(&'static str, Vec<u8>)> = Vec::new();
        for message in &self.outbox {
            let target = (message.kind, message.id.clone());
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        let target = targets.swap_remove(nth % targets.len());
        let at = self
            .outbox
            .iter()
            .position(|message| (message.kind, &message.id) == (target.0, &target.1))
            .unwrap();
        let message = self.outbox.remove(at).unwrap();
        match message.kind {
            "entity" => {
                let event = serde_json::from_value(message.event).unwrap();
                self.tells_entity(EntityId::from_key(&message.id).unwrap(), &event);
            }
            _ => {
                let event = serde_json::from_value(message.event).unwrap();
                self.tells(InstanceId::from_key(&message.id).unwrap(), &event);
            }
        }
    }

    /// Does one thing of those that may be done; `false` when there are none.
    fn goes_on(&mut self, choice: usize) -> bool {
        let has_news = |ran: &Ran| ran.state.may_turn() && ran.state.arrived > ran.state.seen;
        let turns: Vec<InstanceId> =
            self.instances.iter().filter(|(_, ran)| has_news(ran)).map(|(id, _)| *id).collect();
        let runs: Vec<EntityId> =
            self.entities.iter().filter(|(_, (entity, _))| entity.is_running).map(|(id, _)| *id).collect();
        let messages = self.outbox.len();
        let all = messages + turns.len() + runs.len();
        if all == 0 {
            return false;
        }
        match choice % all {
            nth if nth < messages => self.deliver(nth),
            nth if nth < messages + turns.len() => self.turn(turns[nth - messages]),
            nth => self.run(runs[nth - messages - turns.len()], choice.is_multiple_of(3)),
        }
        true
    }

    /// Somebody from outside does something to some instance or entity.
    fn meddles(&mut self, choice: usize) {
        let ids: Vec<InstanceId> = self.instances.keys().copied().collect();
        let Some(id) = ids.get(choice / 8 % ids.len().max(1)).copied() else { return };
        match choice % 8 {
            0 | 1 => self.tells(id, &Event::SuspendRequested { reason: None }),
            2 => self.tells(id, &Event::ResumeRequested { reason: None }),
            3 => self.tells(id, &Event::TerminateRequested { reason: None, recursive: true }),
            4 => self.rewind(id),
            5 => self.tells(id, &Event::PurgeRequested),
            6 => {
                let start = Start { replaces: Status::ALL.to_vec(), ..start(None) };
                self.tells(id, &Event::StartRequested(Box::new(start)));
            }
            _ => self.cleans(),
        }
    }

    /// Removes entities with nothing to them, and takes others from owners that are over.
    fn cleans(&mut self) {
        let is_over = |caller: &Caller| {
            self.instances.get(&caller.instance).is_none_or(|ran| {
                ran.state.execution != caller.execution || ran.state.status().is_none_or(Status::is_terminal)
            })
        };
        let orphans = self.entities.iter().filter_map(|(id, (entity, _))| {
            let lock = entity.lock.as_ref().filter(|lock| is_over(&lock.owner))?;
            Some((*id, Unlock { section: lock.section.clone(), owner: lock.owner, follows: true }))
        });
        for (id, unlock) in orphans.collect::<Vec<_>>() {
            self.tells_entity(id, &event::Event::OwnerGone(Box::new(unlock)));
        }
        for id in self.entities.keys().copied().collect::<Vec<_>>() {
            self.tells_entity(id, &event::Event::PurgeRequested { condition: PurgeCondition::Empty });
        }
    }

    /// Who holds a set holds all of it.
    fn check(&self) {
        for (id, ran) in &self.instances {
            let Orchestration { created_at, execution, .. } = ran.state;
            let owner = Caller { instance: *id, created_at, execution };
            for (name, section) in ran.state.sections.iter().filter(|(_, section)| section.is_held) {
                for entity in &section.set {
                    let lock = self.entities.get(entity).and_then(|(entity, _)| entity.lock.as_ref());
                    let is_true = lock.is_some_and(|lock| lock.section == *name && lock.owner == owner);
                    assert!(
                        is_true,
                        "{id} believes to hold {entity} for {name}, but that is held by {lock:?}"
                    );
                }
            }
        }
    }

    /// When everything is over.
    fn check_rest(&self) {
        for (id, (entity, _)) in &self.entities {
            assert!(entity.is_idle(), "{id} is left in use: {entity:?}");
        }
        for (id, ran) in &self.instances {
            let state = &ran.state;
            assert!(state.status().is_some_and(Status::is_terminal), "{id} waits for ever: {state:?}");
            assert!(state.sections.is_empty(), "{id} left {:?}", state.sections);
        }
        for (id, sent) in &self.sent {
            let tried = self.tried.get(id).cloned().unwrap_or_default();
            let by = |asked: &[Asked], sender: Caller| -> Vec<String> {
                asked.iter().filter(|(by, _)| *by == sender).map(|(_, request)| request.clone()).collect()
            };
            for (sender, _) in sent {
                assert_eq!(by(&tried, *sender), by(sent, *sender), "what {sender:?} asked of {id}, in order");
            }
            assert_eq!(tried.len(), sent.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn in_whatever_order_things_happen_nothing_is_lost_or_held_for_ever(
        scripts in proptest::collection::vec(moves(), 1..5),
        choices in proptest::collection::vec((any::<u16>(), 0_u8..20), 0..250),
    ) {
        let mut world = World::default();
        for (number, moves) in scripts.into_iter().enumerate() {
            world.start(format!("i{number}").parse().unwrap(), moves);
        }
        for (choice, kind) in choices {
            match kind {
                0 => world.meddles(usize::from(choice)),
                _ => drop(world.goes_on(usize::from(choice))),
            }
            world.check();
        }
        for id in world.instances.keys().copied().collect::<Vec<_>>() {
            world.tells(id, &Event::ResumeRequested { reason: None });
        }
        let mut steps = 0_usize;
        while world.goes_on(steps.wrapping_mul(7_919)) {
            world.check();
            steps += 1;
            prop_assert!(steps < 20_000, "it never comes to rest");
        }
        world.check_rest();
    }
}
