//! The schedule as a [`Machine`]: what each event does. What follows from the state alone is in `rules.rs`. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use super::id::ScheduleId;
use super::rules::Draft;
use super::state::{Effect, End, Event, Given, Outcome, Phase, Record, Rejected, Run, Schedule};
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine, Step};
use crate::store::Key;

impl Machine for Schedule {
    const KIND: &'static str = "schedule";
    const VERSION: u8 = 1;
    const HAS_GIVEN: bool = true;

    type Id = ScheduleId;
    type Event = Event;
    type Effect = Effect;
    type Record = Record;
    type Given = Given;
    type Rejection = Rejected;

    fn create(id: ScheduleId, event: &Event, now: Timestamp) -> Option<Result<Step<Self>, Rejected>> {
        let Event::Declared(given) = event else { return None };
        let schedule = Self {
            id,
            revision: 0,
            given: Some(Arc::new(given.as_ref().clone())),
            created_at: now,
            updated_at: now,
            generation: 1,
            phase: Phase::Active,
            settled: now,
            next: None,
            number: 0,
            started: 0,
            skipped: 0,
            missed: 0,
            fires: VecDeque::new(),
        };
        let mut draft = Draft::of(&schedule, now);
        draft.say("declared");
        draft.look_ahead();
        Some(Ok(draft.settle()))
    }

    fn apply(&self, event: &Event, now: Timestamp) -> Result<Step<Self>, Rejected> {
        let mut draft = Draft::of(self, now);
        match event {
            Event::Declared(given) => draft.declared(given),
            Event::RunEnded { run, end } => draft.ended(**run, end),
            Event::DeleteRequested => {
                return Ok(Step { change: Change::Purge, effects: vec![], outbox: vec![] });
            }
            Event::Ticked => draft.fire_due(),
            Event::Quarantined { reason } => draft.quarantine(reason),
            Event::PauseRequested | Event::ResumeRequested | Event::Triggered => {
                if let Phase::Quarantined { reason } = &self.phase {
                    return Err(Rejected::Quarantined(reason.clone()));
                }
                match event {
                    Event::PauseRequested => draft.pause(),
                    Event::ResumeRequested => draft.resume(),
                    _ => draft.trigger(),
                }
            }
        }
        Ok(draft.settle())
    }

    fn resume(&self) -> Vec<Effect> {
        vec![]
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.next.filter(|_| self.phase == Phase::Active).map(|next| next.due_at)
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

    /// Its timer and the ends of what it started wake it.
    fn liveness(&self) -> Liveness {
        match self.phase {
            Phase::Active | Phase::Paused { .. } => Liveness::Waiting,
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
    /// With the same times, what was missed is not forgotten; with others they begin now.
    fn declared(&mut self, given: &Given) {
        let old = Arc::clone(self.schedule.given());
        let was_quarantined = matches!(self.schedule.phase, Phase::Quarantined { .. });
        if *old == *given && !was_quarantined {
            return;
        }
        self.schedule.given = Some(Arc::new(given.clone()));
        self.schedule.generation += 1;
        self.schedule.updated_at = self.now;
        if was_quarantined {
            self.schedule.phase = Phase::Active;
        }
        if was_quarantined || !old.spec.has_times_of(&given.spec) {
            self.schedule.settled = self.schedule.settled.max(self.now);
            self.look_ahead();
        }
        self.say("declared anew");
    }

    fn pause(&mut self) {
        if self.schedule.phase == Phase::Active {
            self.schedule.phase = Phase::Paused { since: self.now };
            self.say("paused");
        }
    }

    /// What its times were meanwhile is not made up for: that is what the pause was for.
    fn resume(&mut self) {
        if let Phase::Paused { .. } = self.schedule.phase {
            self.schedule.phase = Phase::Active;
            self.schedule.settled = self.schedule.settled.max(self.now);
            self.look_ahead();
            self.say("resumed");
        }
    }

    fn ended(&mut self, run: Run, end: &End) {
        let now = self.now;
        let fire = self.schedule.fires.iter_mut().rev().find(|fire| fire.run() == Some(run));
        // Nobody looks at it any more.
        let Some(fire) = fire else { return };
        fire.outcome = Outcome::Ended { run, end: end.clone(), at: now };
        let message = end.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
        self.say(format!("{run} is over: {}{message}", end.state.name()));
    }

    fn quarantine(&mut self, reason: &str) {
        self.schedule.phase = Phase::Quarantined { reason: reason.to_owned() };
        self.say(format!(
            "its supervisor panicked again and again: {reason}; declare it again to have it tried"
        ));
    }
}

impl Draft {
    /// What became of the event.
    pub(super) fn step(mut self, old: &Schedule) -> Step<Schedule> {
        let is_new = old.revision == 0;
        if !is_new && self.texts.is_empty() && self.schedule == *old {
            return Step { change: Change::None, effects: vec![], outbox: self.outbox };
        }
        let record = (!self.texts.is_empty()).then(|| {
            self.schedule.revision += 1;
            Record { at: self.now, text: self.texts.join("; ") }
        });
        let change = Change::Next(Arc::new(self.schedule), record);
        Step { change, effects: vec![], outbox: self.outbox }
    }
}
