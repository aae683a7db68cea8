//! One look at every row.
//!
//! Not responsible for where the rows come from.

use std::collections::VecDeque;

use super::{Fault, Records, Report, Source};
use crate::array::{Array, ArrayId};
use crate::durable::batch::read_event_pointer;
use crate::durable::{Liveness, Machine, MachineId, keys, published};
use crate::entity::Entity;
use crate::files::sweep::Sweep;
use crate::id::JobId;
use crate::job::state::Job;
use crate::limits::{EXAMINE_FAULTS_MAX, EXAMINE_PAGE};
use crate::orchestration::state::Orchestration;
use crate::pool::Pool;
use crate::queue::Queue;
use crate::schedule::Schedule;
use crate::store::{Error, Key, KeyRange, Log, codec};
use crate::trigger::Trigger;
use crate::usage::charge::Charge;
use crate::usage::ledger::Sum;
use crate::webhook::Delivery;

/// A look that is going on.
#[derive(Debug, Default)]
pub(super) struct Examination {
    records: Records,
    faults: Vec<Fault>,
    found: u64,
}

/// What a row belongs to.
enum Owner<M> {
    Is(Box<M>),
    Missing,
    /// Named already, where its own row is looked at.
    Unreadable,
}

impl Examination {
    /// Remembers that something is missing or broken.
    pub(super) fn fault(&mut self, job: Option<JobId>, message: String) {
        self.found += 1;
        if self.faults.len() < EXAMINE_FAULTS_MAX {
            self.faults.push(Fault { job: job.map(|job| job.to_string()), message });
        }
    }

    /// What was found.
    pub(super) fn report(self) -> Report {
        let (records, faults, faults_found) = (self.records, self.faults, self.found);
        Report { ok: faults_found == 0, records, faults, faults_found, ..Report::default() }
    }

    /// Looks at every row.
    pub(super) fn run(&mut self, source: &impl Source) {
        let mut range = KeyRange::prefix("");
        loop {
            let page = match source.keys(range.clone(), EXAMINE_PAGE) {
                Ok(page) => page,
                Err(error) => return self.fault(None, format!("nothing behind this can be read: {error}")),
            };
            let Some(last) = page.last() else { return };
            range = range.after(last);
            for key in page {
                if let Err(error) = self.row(source, &key) {
                    self.fault(job_in(&key), error.to_string());
                }
            }
        }
    }

    fn row(&mut self, source: &impl Source, key: &[u8]) -> Result<(), Error> {
        for log in [Log::Events, Log::Outbox] {
            if KeyRange::log(log).contains(key) {
                return self.log_row(source, log, key);
            }
        }
        if let Some(digest) = key.strip_prefix(b"i/") {
            return self.claim(source, key, digest);
        }
        if key.starts_with(b"u/") || key.starts_with(b"v/") {
            return self.usage_row(source, key);
        }
        match kind_of(key) {
            Some(Job::KIND) => self.machine_row::<Job>(source, key),
            Some(Delivery::KIND) => self.machine_row::<Delivery>(source, key),
            Some(Orchestration::KIND) => self.machine_row::<Orchestration>(source, key),
            Some(Pool::KIND) => self.machine_row::<Pool>(source, key),
            Some(Sweep::KIND) => self.machine_row::<Sweep>(source, key),
            Some(Array::KIND) => self.machine_row::<Array>(source, key),
            Some(Schedule::KIND) => self.machine_row::<Schedule>(source, key),
            Some(Trigger::KIND) => self.machine_row::<Trigger>(source, key),
            Some(Entity::KIND) => self.machine_row::<Entity>(source, key),
            Some(Queue::KIND) => self.machine_row::<Queue>(source, key),
            _ => {
                self.fault(None, format!("the row {} is of no known kind", key.escape_ascii()));
                Ok(())
            }
        }
    }

    fn log_row(&mut self, source: &impl Source, log: Log, key: &[u8]) -> Result<(), Error> {
        let Some(value) = source.get(key)? else { return Ok(()) };
        if log == Log::Outbox {
            self.records.messages += 1;
            codec::decode(key, &value)?.parse::<(String, Vec<u8>, serde_json::Value)>(key)?;
            return Ok(());
        }
        self.records.events += 1;
        let Some((kind, id, revision)) = read_event_pointer(&value) else {
            self.fault(None, format!("the event {} points nowhere", key.escape_ascii()));
            return Ok(());
        };
        // Of a purged job the events stay.
        if kind == Job::KIND
            && let Some(id) = JobId::from_key(id)
            && let Owner::Is(job) = owner::<Job>(source, id)?
            && job.revision < revision
        {
            let newest = job.revision;
            let message = format!("event {revision} was recorded, but the job is at event {newest}");
            self.fault(Some(id), message);
        }
        Ok(())
    }

    /// A charge or a sum: nothing else refers to it, so that it only has to be readable.
    fn usage_row(&mut self, source: &impl Source, key: &[u8]) -> Result<(), Error> {
        self.records.usage += 1;
        let Some(value) = source.get(key)? else { return Ok(()) };
        let record = codec::decode(key, &value)?;
        if key.starts_with(b"u/") {
            record.parse::<Charge>(key).map(drop)?;
        } else {
            record.parse::<Sum>(key).map(drop)?;
        }
        Ok(())
    }

    fn claim(&mut self, source: &impl Source, key: &[u8], digest: &[u8]) -> Result<(), Error> {
        self.records.claims += 1;
        let Some(value) = source.get(key)? else { return Ok(()) };
        let job = value.first_chunk::<16>().filter(|_| value.len() == 48).map(|id| JobId::from_bytes(*id));
        let Some(job) = job else {
            self.fault(None, format!("the idempotency key {} cannot be read", digest.escape_ascii()));
            return Ok(());
        };
        let is_missing = matches!(owner::<Job>(source, job)?, Owner::Missing);
        if is_missing && matches!(owner::<Array>(source, ArrayId::new(job))?, Owner::Missing) {
            self.fault(Some(job), "the job is missing: an idempotency key names it".to_owned());
        }
        Ok(())
    }

    fn machine_row<M: Machine>(&mut self, source: &impl Source, key: &[u8]) -> Result<(), Error> {
        let Some(id) = id_of::<M>(key) else {
            self.fault(None, format!("the row {} names no {}", key.escape_ascii(), M::KIND));
            return Ok(());
        };
        if key.starts_with(b"m/") {
            match M::KIND {
                Job::KIND => self.records.jobs += 1,
                Delivery::KIND => self.records.webhooks += 1,
                Pool::KIND => self.records.pools += 1,
                Sweep::KIND => self.records.sweeps += 1,
                Array::KIND => self.records.arrays += 1,
                Schedule::KIND => self.records.schedules += 1,
                Trigger::KIND => self.records.triggers += 1,
                Entity::KIND => self.records.entities += 1,
                Queue::KIND => self.records.queues += 1,
                _ => self.records.orchestrations += 1,
            }
            let Some(stored) = published::load::<M>(id, |key| source.get(key))? else { return Ok(()) };
            return self.machine(source, id, &stored.machine);
        }
        let count = match key.first() {
            Some(b'h') => &mut self.records.history,
            Some(b'd') => &mut self.records.digests,
            Some(b't') => &mut self.records.timers,
            Some(b'r') => &mut self.records.rows,
            // Counted with its snapshot.
            Some(b'g') => &mut 0,
            _ => &mut self.records.index,
        };
        *count += 1;
        let machine = match owner::<M>(source, id)? {
            Owner::Is(machine) => machine,
            Owner::Unreadable => return Ok(()),
            Owner::Missing => {
                let row = key.escape_ascii();
                self.fault(id.job(), format!("the {} {id} is missing: the row {row} names it", M::KIND));
                return Ok(());
            }
        };
        if key.starts_with(b"h/") {
            let Some(bytes) = source.get(key)? else { return Ok(()) };
            codec::decode(key, &bytes)?.parse::<M::Record>(key)?;
        } else if key.starts_with(b"r/") {
            return self.row_beside::<M>(source, id, key);
        } else if !key.starts_with(b"d/")
            && !key.starts_with(b"g/")
            && !rows_of(id, machine.as_ref()).any(|expected| expected == key)
        {
            let row = key.escape_ascii();
            self.fault(id.job(), format!("the row {row} does not agree with the {} {id}", M::KIND));
        }
        Ok(())
    }

    /// A row beside the snapshot of a machine that is there.
    fn row_beside<M: Machine>(&mut self, source: &impl Source, id: M::Id, key: &[u8]) -> Result<(), Error> {
        let Some(bytes) = source.get(key)? else { return Ok(()) };
        codec::decode(key, &bytes)?;
        let name = &key[keys::rows::<M>(id).len()..];
        for other in M::companions(name, &bytes) {
            let other = keys::row::<M>(id, &other);
            // It may have gone with the row meanwhile.
            if source.get(&other)?.is_none() && source.get(key)?.is_some_and(|now| now == bytes) {
                let message = format!("the row {} of the {} {id} is missing", other.escape_ascii(), M::KIND);
                self.fault(id.job(), message);
            }
        }
        Ok(())
    }

    /// What a machine keeps beside its snapshot, taken together.
    fn rows_beside<M: Machine>(&mut self, source: &impl Source, id: M::Id, machine: &M) -> Result<(), Error> {
        if M::ROWS.is_empty() {
            return Ok(());
        }
        let mut machine = machine.clone();
        published::load_rows(id, &mut machine, |range, limit| {
            let keys = source.keys(range, limit)?;
            let row = |key: Key| Ok(source.get(&key)?.map(|value| (key, value)));
            keys.into_iter().filter_map(|key| row(key).transpose()).collect()
        })?;
        for fault in machine.rows_faults() {
            self.fault(id.job(), format!("the {} {id}: {fault}", M::KIND));
        }
        Ok(())
    }

    /// Everything that there must be of a machine.
    fn machine<M: Machine>(&mut self, source: &impl Source, id: M::Id, machine: &M) -> Result<(), Error> {
        let missing: Vec<Key> = rows_of(id, machine)
            .chain(machine.owned_keys())
            .filter_map(|key| match source.get(&key) {
                Ok(Some(_)) => None,
                _ => Some(key),
            })
            .collect();
        for key in missing {
            self.fault(
                id.job(),
                format!("the row {} of the {} {id} is missing", key.escape_ascii(), M::KIND),
            );
        }
        self.rows_beside(source, id, machine)?;
        self.history::<M>(source, id, machine)
    }

    /// The entries of its history: all that it keeps, and no others.
    fn history<M: Machine>(&mut self, source: &impl Source, id: M::Id, machine: &M) -> Result<(), Error> {
        let newest = machine.revision();
        let mut kept: VecDeque<(u64, u64)> = machine.kept().into();
        let mut range = KeyRange::prefix(keys::history::<M>(id));
        loop {
            let page = source.keys(range.clone(), EXAMINE_PAGE)?;
            let Some(last) = page.last() else { break };
            range = range.after(last);
            for key in page {
                let Some(number) = key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)) else {
                    continue;
                };
                while let Some((first, last)) = kept.pop_front_if(|(first, _)| *first < number) {
                    self.hole(id, first, last.min(number - 1), M::KIND);
                    if last >= number {
                        kept.push_front((number, last));
                    }
                }
                match kept.pop_front_if(|(first, _)| *first == number) {
                    Some((_, last)) if last > number => kept.push_front((number + 1, last)),
                    Some(_) => {}
                    None if number > newest => {
                        let message =
                            format!("the history goes on to {number}, but the {} is at {newest}", M::KIND);
                        self.fault(id.job(), message);
                    }
                    None => {
                        let message =
                            format!("entry {number} of the history of the {} {id} should be gone", M::KIND);
                        self.fault(id.job(), message);
                    }
                }
            }
        }
        for (first, last) in kept {
            self.hole(id, first, last, M::KIND);
        }
        Ok(())
    }

    fn hole(&mut self, id: impl MachineId, from: u64, to: u64, kind: &str) {
        let message = if from == to {
            format!("entry {from} of the history of the {kind} {id} is missing")
        } else {
            format!("entries {from} to {to} of the history of the {kind} {id} are missing")
        };
        self.fault(id.job(), message);
    }
}

/// The index rows that a machine in this state has.
fn rows_of<M: Machine>(id: M::Id, machine: &M) -> impl Iterator<Item = Key> {
    let live = (machine.liveness() == Liveness::Live).then(|| keys::live::<M>(id));
    let timer = machine.deadline().map(|due| keys::timer::<M>(due, id));
    let listed = machine.index().into_iter().map(move |text| keys::index::<M>(&text, id));
    live.into_iter().chain(timer).chain(listed)
}

fn owner<M: Machine>(source: &impl Source, id: M::Id) -> Result<Owner<M>, Error> {
    Ok(match published::load(id, |key| source.get(key)) {
        Ok(Some(stored)) => Owner::Is(Box::new(stored.machine)),
        Ok(None) => Owner::Missing,
        Err(_) => Owner::Unreadable,
    })
}

/// The kind in a key of a machine's row.
fn kind_of(key: &[u8]) -> Option<&'static str> {
    let rest = match key.split_first_chunk::<2>()? {
        (b"t/", _) => return keys::read_timer(key).and_then(|(_, kind, _)| known(kind.as_bytes())),
        (b"m/" | b"g/" | b"h/" | b"l/" | b"x/" | b"d/" | b"r/", rest) => rest,
        _ => return None,
    };
    known(rest.split(|byte| *byte == b'/').next()?)
}

fn known(kind: &[u8]) -> Option<&'static str> {
    let kinds = [
        Job::KIND,
        Delivery::KIND,
        Orchestration::KIND,
        Entity::KIND,
        Pool::KIND,
        Queue::KIND,
        Schedule::KIND,
        Trigger::KIND,
        Array::KIND,
        Sweep::KIND,
    ];
    kinds.into_iter().find(|known| known.as_bytes() == kind)
}

/// The machine in a key of one of its rows.
fn id_of<M: Machine>(key: &[u8]) -> Option<M::Id> {
    if let Some((_, _, id)) = keys::read_timer(key) {
        return M::Id::from_key(id);
    }
    let rest = key.get(2..)?.strip_prefix(M::KIND.as_bytes())?.strip_prefix(b"/")?;
    match key.first()? {
        b'm' | b'g' | b'l' => M::Id::from_key(rest),
        b'x' => M::Id::at_end(rest),
        _ => M::Id::at_front(rest),
    }
}

fn job_in(key: &[u8]) -> Option<JobId> {
    match kind_of(key)? {
        Job::KIND => id_of::<Job>(key),
        Delivery::KIND => id_of::<Delivery>(key).map(|id| id.job),
        _ => None,
    }
}
