//! What the code of one instance and its executor share: what was asked for, what came of it, who waits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::task::Waker;

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::super::failure::Failure;
use super::super::history::{ActivityCall, Arrival, ChildCall, Outcome, TaskResult};
use super::super::id::{InstanceId, TaskId};
use super::super::payload::Payload;
use crate::clock::Timestamp;
use crate::job::spec::Spec;

/// What the code asks for.
#[derive(Debug)]
pub(in super::super) enum Ask {
    Activity(Box<ActivityCall>),
    Timer { task: TaskId, fire_at: Timestamp },
    Child { call: Box<ChildCall>, named: bool },
    Job { task: TaskId, spec: Box<Spec> },
    Event { task: TaskId, instance: InstanceId, name: String, data: Payload },
    Refused { task: TaskId, failure: Failure },
    Cancel { task: TaskId },
}

/// How the code begins anew.
#[derive(Debug)]
pub(in super::super) struct Renewal {
    pub(in super::super) input: Payload,
    pub(in super::super) version: Option<String>,
    pub(in super::super) carried: Vec<(String, Payload)>,
}

/// What is shared by the code of one execution and its executor.
pub(in super::super) struct Core {
    pub(in super::super) instance: InstanceId,
    pub(in super::super) execution: u32,
    pub(in super::super) name: String,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    pub(super) now: Timestamp,
    pub(super) replaying: bool,
    /// The code is being dropped as a whole: what its futures do then is nothing that it asked for.
    closing: bool,
    tasks: TaskId,
    uuids: u64,
    waits: u64,
    asked: Vec<Ask>,
    slots: HashMap<TaskId, Slot>,
    /// Events that nobody took, by name, numbered in the order in which they came.
    events: BTreeMap<String, VecDeque<(u64, Payload)>>,
    raised: u64,
    /// Who waits for an event, by name, in the order in which they began to.
    waiters: BTreeMap<String, VecDeque<u64>>,
    waiting: HashMap<u64, Wait>,
    pub(super) custom_status: Option<Payload>,
    renewal: Option<Renewal>,
}

#[derive(Default)]
struct Slot {
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Wait {
    event: Option<(u64, Payload)>,
    waker: Option<Waker>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Core {
    pub(in super::super) fn new(instance: InstanceId, execution: u32, name: String, now: Timestamp) -> Self {
        let state = State {
            now,
            replaying: true,
            closing: false,
            tasks: 0,
            uuids: 0,
            waits: 0,
            asked: vec![],
            slots: HashMap::new(),
            events: BTreeMap::new(),
            raised: 0,
            waiters: BTreeMap::new(),
            waiting: HashMap::new(),
            custom_status: None,
            renewal: None,
        };
        Self { instance, execution, name, state: Mutex::new(state) }
    }

    /// Asks for something; gives its number.
    pub(super) fn ask(&self, make: impl FnOnce(TaskId) -> Ask) -> TaskId {
        let mut state = self.state.lock();
        state.tasks += 1;
        let (task, ask) = (state.tasks, make(state.tasks));
        if !matches!(ask, Ask::Event { .. }) {
            state.slots.insert(task, Slot::default());
        }
        state.asked.push(ask);
        task
    }

    /// What came of a task; otherwise `waker` is told when something does.
    pub(super) fn poll_task(&self, task: TaskId, waker: &Waker) -> Option<Outcome> {
        let mut state = self.state.lock();
        let slot = state.slots.get_mut(&task)?;
        if slot.outcome.is_none() {
            slot.waker = Some(waker.clone());
            return None;
        }
        state.slots.remove(&task).and_then(|slot| slot.outcome)
    }

    /// Nobody waits for a task any more.
    pub(super) fn drop_task(&self, task: TaskId, cancels: bool) {
        let mut state = self.state.lock();
        let Some(slot) = state.slots.remove(&task) else { return };
        if cancels && slot.outcome.is_none() && !state.closing {
            state.asked.push(Ask::Cancel { task });
        }
    }

    /// Begins to wait for an event.
    pub(super) fn wait(&self, name: &str) -> u64 {
        let mut state = self.state.lock();
        state.waits += 1;
        let wait = state.waits;
        let event = state.events.get_mut(name).and_then(VecDeque::pop_front);
        if event.is_none() {
            state.waiters.entry(name.to_owned()).or_default().push_back(wait);
        }
        state.waiting.insert(wait, Wait { event, waker: None });
        wait
    }

    pub(super) fn poll_wait(&self, wait: u64, waker: &Waker) -> Option<Payload> {
        let mut state = self.state.lock();
        let entry = state.waiting.get_mut(&wait)?;
        if entry.event.is_none() {
            entry.waker = Some(waker.clone());
            return None;
        }
        state.waiting.remove(&wait).and_then(|wait| wait.event).map(|(_, data)| data)
    }

    /// Nobody waits any more; an event that was there already is for the next one.
    pub(super) fn drop_wait(&self, name: &str, wait: u64) {
        let mut state = self.state.lock();
        let Some(entry) = state.waiting.remove(&wait) else { return };
        if let Some(waiters) = state.waiters.get_mut(name) {
            waiters.retain(|waiter| *waiter != wait);
        }
        if let Some((number, data)) = entry.event
            && !state.closing
        {
            state.give(name, number, data);
        }
    }

    pub(super) fn new_uuid(&self) -> Uuid {
        let number = {
            let mut state = self.state.lock();
            state.uuids += 1;
            state.uuids
        };
        let digest = Sha256::digest(format!("{}/{}/{number}", self.instance, self.execution));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// The code wants to begin anew; the failure only carries it out.
    pub(super) fn continue_as_new(&self, input: Payload, version: Option<String>) -> Failure {
        self.state.lock().renewal = Some(Renewal { input, version, carried: vec![] });
        Failure::new("continued_as_new", "return what continue_as_new gives")
    }

    /// Lets what arrived reach whoever waits for it.
    pub(in super::super) fn deliver(&self, arrival: Arrival) {
        match arrival {
            Arrival::Started(_) => {}
            Arrival::TaskEnded(TaskResult { task, outcome }) => self.resolve(task, outcome),
            Arrival::TimerFired { task } | Arrival::LockGranted { task, .. } => {
                self.resolve(task, Outcome::Completed(Payload::NONE));
            }
            Arrival::EntityAnswered { task, outcome, .. } => self.resolve(task, outcome),
            Arrival::EventRaised { name, data } => {
                let mut state = self.state.lock();
                state.raised += 1;
                let number = state.raised;
                state.give(&name, number, data);
            }
        }
    }

    pub(in super::super) fn resolve(&self, task: TaskId, outcome: Outcome) {
        let waker = {
            let mut state = self.state.lock();
            // Dropped by the code meanwhile.
            let Some(slot) = state.slots.get_mut(&task) else { return };
            slot.outcome = Some(outcome);
            slot.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// What was asked for since the last time.
    pub(in super::super) fn take_asked(&self) -> Vec<Ask> {
        std::mem::take(&mut self.state.lock().asked)
    }

    /// Whether a turn may end so: the code waits for something that comes from here.
    pub(in super::super) fn awaits_something(&self) -> bool {
        let state = self.state.lock();
        !state.slots.is_empty() || !state.waiting.is_empty()
    }

    /// The names of the events that the code waits for.
    pub(in super::super) fn awaited(&self) -> Vec<String> {
        let state = self.state.lock();
        let names = state.waiters.iter().filter(|(_, waiters)| !waiters.is_empty());
        names.map(|(name, _)| name.clone()).take(crate::limits::AWAITED_NAMES_MAX).collect()
    }

    /// The next task gets the number behind this one, if it is not further yet.
    pub(in super::super) fn number_from(&self, tasks: TaskId) {
        let mut state = self.state.lock();
        state.tasks = state.tasks.max(tasks);
    }

    pub(in super::super) fn now(&self) -> Timestamp {
        self.state.lock().now
    }

    pub(in super::super) fn begin_turn(&self, now: Timestamp, replaying: bool) {
        let mut state = self.state.lock();
        (state.now, state.replaying) = (now, replaying);
    }

    pub(in super::super) fn take_custom_status(&self) -> Option<Payload> {
        self.state.lock().custom_status.take()
    }

    /// How the code begins anew, with the events that it did not take, in the order in which they came.
    pub(in super::super) fn take_renewal(&self) -> Option<Renewal> {
        let mut state = self.state.lock();
        let mut renewal = state.renewal.take()?;
        let mut left: Vec<(u64, String, Payload)> = Vec::new();
        for (name, events) in std::mem::take(&mut state.events) {
            left.extend(events.into_iter().map(|(number, data)| (number, name.clone(), data)));
        }
        left.sort_by_key(|(number, _, _)| *number);
        renewal.carried = left.into_iter().map(|(_, name, data)| (name, data)).collect();
        Some(renewal)
    }

    /// From now on what futures do when they are dropped means nothing.
    pub(in super::super) fn close(&self) {
        self.state.lock().closing = true;
    }
}

impl State {
    /// Gives an event to the first who waits for it, or keeps it.
    fn give(&mut self, name: &str, number: u64, data: Payload) {
        while let Some(waiter) = self.waiters.get_mut(name).and_then(VecDeque::pop_front) {
            if let Some(wait) = self.waiting.get_mut(&waiter) {
                wait.event = Some((number, data));
                wait.waker.take().into_iter().for_each(Waker::wake);
                return;
            }
        }
        let kept = self.events.entry(name.to_owned()).or_default();
        let place = kept.partition_point(|(other, _)| *other < number);
        kept.insert(place, (number, data));
    }
}
