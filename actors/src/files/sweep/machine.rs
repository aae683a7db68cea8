//! The rules of a sweep. Pure.

use super::{Event, Rejected, Remove, Sweep};
use crate::clock::Timestamp;
use crate::durable::{Change, Liveness, Machine, Said, Step};
use crate::id::JobId;
use crate::limits::{COLLECT_DEADLINE, SWEEP_RETRY_AFTER, SWEEP_RETRY_MAX};
use crate::store::Key;

impl Machine for Sweep {
    const KIND: &'static str = "sweep";
    const VERSION: u8 = 1;

    type Id = JobId;
    type Event = Event;
    type Effect = Remove;
    type Record = Said;
    type Given = ();
    type Rejection = Rejected;

    fn create(id: JobId, event: &Event, now: Timestamp) -> Option<Result<Step<Self>, Rejected>> {
        if *event != Event::JobPurged {
            return None;
        }
        let fresh = Self { id, revision: 0, tries: 0, until: now, active: false };
        Some(fresh.apply(event, now))
    }

    fn apply(&self, event: &Event, now: Timestamp) -> Result<Step<Self>, Rejected> {
        let mut next = self.clone();
        let text = match event {
            Event::JobPurged if self.active => return Ok(Step::unchanged(vec![])),
            Event::Ticked if now < self.until => return Ok(Step::unchanged(vec![])),
            Event::JobPurged | Event::Ticked => {
                next.active = true;
                next.until = now.after(COLLECT_DEADLINE);
                "removing the artifacts".to_owned()
            }
            Event::Swept => {
                return Ok(Step { change: Change::Purge, effects: vec![], outbox: vec![] });
            }
            Event::Failed { reason } | Event::Quarantined { reason } => {
                next.tries = self.tries.saturating_add(1);
                next.active = false;
                let pause = SWEEP_RETRY_AFTER.saturating_mul(1 << self.tries.min(16)).min(SWEEP_RETRY_MAX);
                next.until = now.after(pause);
                format!("not all could be removed: {reason}")
            }
        };
        next.revision += 1;
        let effects = next.resume();
        Ok(Step::next(next, Said { at: now, text }, effects))
    }

    fn resume(&self) -> Vec<Remove> {
        if self.active { vec![Remove] } else { vec![] }
    }

    fn deadline(&self) -> Option<Timestamp> {
        Some(self.until)
    }

    fn tick() -> Event {
        Event::Ticked
    }

    fn quarantine(reason: String) -> Event {
        Event::Quarantined { reason }
    }

    fn given(&self) -> Option<&()> {
        None
    }

    fn with_given(self, (): ()) -> Self {
        self
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    /// No job is left of which this could be told.
    fn is_announced(_: &Said) -> bool {
        false
    }

    fn liveness(&self) -> Liveness {
        if self.active { Liveness::Live } else { Liveness::Waiting }
    }

    fn index(&self) -> Vec<Vec<u8>> {
        vec![]
    }

    fn owned_keys(&self) -> Vec<Key> {
        vec![]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(step: Step<Sweep>) -> (Sweep, Vec<Remove>) {
        match step.change {
            Change::Next(sweep, _) => (Sweep::clone(&sweep), step.effects),
            other => panic!("{other:?}"),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(0).after(std::time::Duration::from_secs(seconds))
    }

    fn begun() -> Sweep {
        let id = JobId::from_bytes([7; 16]);
        let (sweep, effects) = next(Sweep::create(id, &Event::JobPurged, at(0)).unwrap().unwrap());
        assert_eq!((effects, sweep.resume()), (vec![Remove], vec![Remove]));
        sweep
    }

    #[test]
    fn it_goes_on_until_nothing_is_left() {
        let mut sweep = begun();
        let mut now = 0;
        for _ in 0..30 {
            let (failed, effects) =
                next(sweep.apply(&Event::Failed { reason: "503".into() }, at(now)).unwrap());
            assert_eq!((effects, failed.resume()), (vec![], vec![]));
            let pause = failed.until.since(at(now));
            assert!(pause >= SWEEP_RETRY_AFTER && pause <= SWEEP_RETRY_MAX, "{pause:?}");
            let early = failed.apply(&Event::Ticked, at(now)).unwrap();
            assert!(matches!(early.change, Change::None) && early.effects.is_empty());
            now += pause.as_secs();
            let (again, effects) = next(failed.apply(&Event::Ticked, at(now)).unwrap());
            assert_eq!(effects, vec![Remove]);
            assert!(again.deadline().is_some_and(|due| due > at(now)));
            sweep = again;
        }
        assert!(matches!(sweep.apply(&Event::Swept, at(now)).unwrap().change, Change::Purge));
    }

    #[test]
    fn nothing_but_a_purge_makes_one_and_a_second_message_changes_nothing() {
        let id = JobId::from_bytes([7; 16]);
        for event in [Event::Ticked, Event::Swept, Event::Failed { reason: String::new() }] {
            assert!(Sweep::create(id, &event, at(0)).is_none());
        }
        assert!(matches!(begun().apply(&Event::JobPurged, at(1)).unwrap().change, Change::None));
    }
}
