//! The code of the instances of a simulated world, which calls, signals and locks accounts: a worker that replays all of
//! its history for each turn, as one in another language does.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::durable::keys;
use dogwatch_actors::durable::published::Published;
use dogwatch_actors::entity::{EntityId, Signal};
use dogwatch_actors::orchestration::entity::{EntityCall, EntityRequest};
use dogwatch_actors::orchestration::event::{Event, TurnEnd, TurnRequest};
use dogwatch_actors::orchestration::executor::{Executor, OrchestrationMail, Unknown};
use dogwatch_actors::orchestration::history::{Action, ActivityCall, Arrival, Entry, Outcome, Turn};
use dogwatch_actors::orchestration::id::TaskId;
use dogwatch_actors::orchestration::state::Orchestration;
use dogwatch_actors::orchestration::{InstanceId, Payload};
use dogwatch_actors::store::{KeyRange, Order, Store, codec};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::accounts::spawned;
use super::{World, account};
use crate::simulation::random::Random;

/// What an instance does, one after another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Move {
    /// Adds and waits for the balance.
    Add(u64, i64),
    /// Adds to several, and waits for all.
    AddToAll(Vec<u64>, i64),
    /// Adds without waiting, perhaps later.
    Signal(u64, i64, Option<u64>),
    /// Moves an amount between two that it has for itself: reads both, then writes both.
    Transfer(u64, u64, i64),
    /// Has some for itself, and ends without unlocking them: what follows is for the next execution.
    Grab(Vec<u64>),
    /// Lets one account add to another.
    Forward(u64, u64, i64),
    /// Lets an account start an instance which adds to one.
    Spawn(u64, u64, i64),
    /// Is refused, and fails.
    Refused(u64),
    /// Goes on as another execution.
    Anew,
}

impl Move {
    pub(super) fn several(random: &Random, accounts: u64) -> Vec<Self> {
        let account = || random.below(accounts);
        let by = || random.below(100) as i64 - 50;
        let one = || match random.below(12) {
            0 | 1 => Self::Add(account(), by()),
            2 => Self::AddToAll((0..1 + random.below(4)).map(|_| account()).collect(), by()),
            3 => Self::Signal(account(), by(), None),
            4 => Self::Signal(account(), by(), Some(random.below(20_000))),
            5..=7 => Self::Transfer(account(), account(), by()),
            // Some of them do nothing else.
            8 => Self::Grab((0..1 + random.below(3)).map(|_| random.below(accounts + 2)).collect()),
            9 => Self::Forward(account(), account(), by()),
            10 => Self::Spawn(account(), account(), by()),
            _ if random.chance(3_000) => Self::Refused(account()),
            _ => Self::Anew,
        };
        (0..1 + random.below(5)).map(|_| one()).collect()
    }
}

/// The code of one execution, as far as it is.
struct Code {
    id: InstanceId,
    created_at: Timestamp,
    execution: u32,
    now: Timestamp,
    moves: Vec<Move>,
    /// The step within the move that is under way.
    step: u32,
    tasks: TaskId,
    waits: BTreeSet<String>,
    /// What the answers to the step before were, in the order of their tasks.
    answers: Vec<(TaskId, i64)>,
    section: Option<String>,
    actions: Vec<Action>,
    is_over: bool,
}

impl Code {
    fn ends(&mut self, action: Action) {
        self.actions.push(action);
        self.is_over = true;
    }

    fn message(&mut self, entity: EntityId, request: impl FnOnce(TaskId) -> EntityRequest) {
        self.tasks += 1;
        let (task, request) = (self.tasks, request(self.tasks));
        self.actions.push(Action::MessageEntity(Box::new(EntityCall { task, entity, request })));
    }

    fn call(&mut self, to: u64, operation: &str, input: Value) {
        // The same in every execution.
        self.message(account(to), |task| EntityRequest::Call {
            request_id: format!("r{task}"),
            operation: operation.to_owned(),
            input: input.into(),
            trace: None,
        });
        self.waits.insert(format!("r{}", self.tasks));
    }

    fn lock(&mut self, set: &[u64]) {
        let section = format!("s{}", self.tasks + 1);
        let set: Vec<EntityId> = set.iter().map(|number| account(*number)).collect();
        self.section = Some(section.clone());
        self.waits.insert(section.clone());
        self.message(set[0], |_| EntityRequest::Lock { section, set });
    }

    fn signal(&mut self, to: u64, operation: &str, input: Value, at: Option<Timestamp>) {
        self.message(account(to), |task| {
            let request_id = Some(format!("r{task}"));
            EntityRequest::Signal(Signal { request_id, at, ..Signal::new(operation, input) })
        });
    }

    fn sees(&mut self, arrival: &Arrival) -> Result<(), String> {
        if self.is_over {
            return Ok(());
        }
        let (name, failure) = match arrival {
            Arrival::Started(started) => {
                self.moves = moves_of(&started.input);
                self.goes_on();
                return Ok(());
            }
            Arrival::EntityAnswered { task, request_id, outcome } => match outcome {
                Outcome::Completed(balance) => {
                    self.answers.push((*task, balance.value().as_i64().expect("a balance")));
                    (request_id, None)
                }
                Outcome::Failed(failure) => (request_id, Some(failure.clone())),
            },
            Arrival::LockGranted { section, .. } => (section, None),
            other => return Err(format!("{} sees {other:?}", self.id)),
        };
        if !self.waits.remove(name) {
            return Err(format!(
                "{}/{} waits for {:?} and hears {arrival:?}",
                self.id, self.execution, self.waits
            ));
        }
        match failure {
            Some(failure) => self.ends(Action::Complete(Outcome::Failed(failure))),
            None if self.waits.is_empty() => self.goes_on(),
            None => {}
        }
        Ok(())
    }

    fn goes_on(&mut self) {
        while self.waits.is_empty() && !self.is_over {
            let Some(next) = self.moves.first().cloned() else {
                return self.ends(Action::Complete(Outcome::Completed(Payload::NONE)));
            };
            let is_done = self.takes(&next);
            self.step += 1;
            if is_done {
                self.step = 0;
                self.moves.remove(0);
            }
            self.answers.clear();
        }
    }

    /// Does the next step of a move; whether that was the last.
    fn takes(&mut self, next: &Move) -> bool {
        match (next, self.step) {
            (Move::Add(to, by), 0) => self.call(*to, "add", json!({ "by": by })),
            (Move::AddToAll(all, by), 0) => {
                all.iter().for_each(|to| self.call(*to, "add", json!({ "by": by })))
            }
            (Move::Refused(to), 0) => self.call(*to, "fail", json!({})),
            (Move::Signal(to, by, later), _) => {
                let at = later.map(|millis| self.now.after(Duration::from_millis(millis)));
                self.signal(*to, "add", json!({ "by": by }), at);
                return true;
            }
            (Move::Forward(through, to, by), _) => {
                self.signal(*through, "forward", json!({ "account": account(*to), "by": by }), None);
                return true;
            }
            (Move::Spawn(through, to, by), _) => {
                // One for each time that it is asked for.
                let instance = spawned(self.id, self.created_at, self.execution, self.tasks + 1);
                let input = json!({ "instance": instance, "to": to, "by": by });
                self.signal(*through, "spawn", input, None);
                return true;
            }
            (Move::Grab(set), 0) => self.lock(set),
            (Move::Grab(_), _) if self.moves.len() == 1 => return true,
            (Move::Anew | Move::Grab(_), _) => {
                let input = to_payload(&self.moves[1..]);
                self.ends(Action::ContinueAsNew { input, version: None, carried: vec![] });
                return true;
            }
            (Move::Transfer(from, to, _), 0) => self.lock(&[*from, *to]),
            (Move::Transfer(from, to, by), step) => return self.transfers(*from, *to, *by, step),
            _ => return true,
        }
        false
    }

    fn transfers(&mut self, from: u64, to: u64, by: i64, step: u32) -> bool {
        match step {
            1 => [from, to].into_iter().for_each(|account| self.call(account, "get", json!({}))),
            2 => {
                self.answers.sort_unstable();
                let ends = [(from, -by), (to, by)];
                let balances: Vec<i64> = self.answers.iter().map(|(_, balance)| *balance).collect();
                for ((account, by), balance) in ends.into_iter().zip(balances) {
                    // From an account to itself: the second write goes on from the first.
                    let before = if from == to && by == ends[1].1 { balance - ends[1].1 } else { balance };
                    self.call(account, "set", json!({ "to": before + by, "by": by }));
                }
            }
            _ => {
                let section = self.section.take().expect("it is in one");
                for entity in BTreeSet::from([account(from), account(to)]) {
                    self.message(entity, |_| EntityRequest::Unlock { section: section.clone() });
                }
                return true;
            }
        }
        false
    }
}

pub(super) fn to_payload(moves: &[Move]) -> Payload {
    serde_json::to_value(moves).expect("JSON").into()
}

/// What a client gave it, or an account that started it.
fn moves_of(input: &Payload) -> Vec<Move> {
    let value = input.value();
    if value.is_array() {
        return serde_json::from_value(value).expect("moves");
    }
    let number = |name: &str| value[name].as_i64().expect("a number");
    vec![Move::Add(number("to") as u64, number("by"))]
}

/// Gives instances their turns.
#[derive(Clone)]
pub(super) struct Callers(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) world: Arc<World>,
    pub(super) store: Arc<dyn Store>,
    pub(super) published: Arc<Published<Orchestration>>,
    pub(super) mail: Arc<OrchestrationMail>,
    /// The instances that have a turn, and whether they are to have another one.
    pub(super) busy: Mutex<std::collections::BTreeMap<InstanceId, bool>>,
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callers").finish_non_exhaustive()
    }
}

impl Callers {
    /// The entries of the present execution.
    fn entries(&self, state: &Orchestration) -> dogwatch_actors::store::Result<Vec<Entry>> {
        let key = |number| keys::history_entry::<Orchestration>(state.id, number);
        let range = KeyRange { from: key(state.began), to: Some(key(state.revision + 1)) };
        let rows = self.0.store.scan(range, Order::Ascending, usize::MAX)?;
        rows.iter().map(|(key, row)| codec::decode(key, row)?.parse(key)).collect()
    }

    /// Whether an instance is to have another turn; when not, it has none any more.
    fn has_more(&self, id: InstanceId, done: bool) -> bool {
        let mut busy = self.0.busy.lock();
        let again = busy.insert(id, false).unwrap_or(false) || !done;
        if !again {
            busy.remove(&id);
        }
        again
    }

    async fn turn(&self, id: InstanceId) -> dogwatch_actors::store::Result<()> {
        let world = &self.0.world;
        tokio::time::sleep(world.random.up_to(Duration::from_millis(world.random.pick(&[0, 10, 800])))).await;
        let Some(state) = self.0.published.read(id)? else { return Ok(()) };
        if !state.may_turn() || state.arrived == state.seen {
            return Ok(());
        }
        let entries = self.entries(&state)?;
        let mut code = Code {
            id,
            created_at: state.created_at,
            execution: state.execution,
            now: state.updated_at,
            moves: vec![],
            step: 0,
            tasks: 0,
            waits: BTreeSet::new(),
            answers: vec![],
            section: None,
            actions: vec![],
            is_over: false,
        };
        let arrivals: Vec<&Arrival> = entries.iter().flat_map(|entry| &entry.arrivals).collect();
        let (mut seen, now) = (0, code.now);
        for turn in entries.iter().filter_map(|entry| entry.turn.as_ref()) {
            code.now = turn.now;
            for arrival in &arrivals[seen..turn.upto as usize] {
                code.sees(arrival).unwrap_or_else(|what| world.breaks(what));
            }
            seen = turn.upto as usize;
            if std::mem::take(&mut code.actions) != turn.actions {
                world.breaks(format!("{id} takes another way"));
            }
        }
        code.now = now;
        for arrival in &arrivals[seen..] {
            code.sees(arrival).unwrap_or_else(|what| world.breaks(what));
        }
        let (number, upto) = (state.turns + 1, state.arrived);
        let turn = Turn { number, upto, now, results: vec![], actions: code.actions };
        let (execution, version, custom_status, span) = (state.execution, None, None, None);
        let end = TurnEnd { execution, turn, custom_status, awaited: vec![], version, detached: true, span };
        world.asks(&state, &end);
        let answer = self.0.mail.ask(id, Event::TurnEnded(Box::new(end.clone())), None).await;
        if let Some(Ok(receipt)) = answer
            && let Some(after) = &receipt.state
            && (after.execution, after.turns) == (execution, number)
        {
            world.asked(&state, &end);
        }
        Ok(())
    }
}

impl Executor for Callers {
    fn knows(&self, _: &str, _: Option<&str>) -> Result<(), Unknown> {
        Ok(())
    }

    fn run_turn(&self, id: InstanceId, _: TurnRequest) {
        if let Some(again) = self.0.busy.lock().get_mut(&id) {
            *again = true;
            return;
        }
        self.0.busy.lock().insert(id, false);
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                let done = AssertUnwindSafe(this.turn(id)).catch_unwind().await;
                if !this.has_more(id, matches!(done, Ok(Ok(())))) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }

    fn start_activities(&self, _: InstanceId, _: u32, _: Vec<ActivityCall>) {}

    fn recover_activities(&self, _: InstanceId, _: u32) {}

    fn cancel_activities(&self, _: InstanceId, _: u32, _: Vec<TaskId>) {}

    fn plan_rewind(&self, _: InstanceId, _: Option<String>) {}

    fn forget(&self, _: InstanceId) {}
}
