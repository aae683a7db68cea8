//! Reading all that is recorded of an instance's execution, in the order in which its code saw it.

use std::sync::Arc;

use super::{Error, Orchestrations, Result};
use crate::clock::Timestamp;
use crate::orchestration::InstanceId;
use crate::orchestration::executor::remote::Chronicle;
use crate::orchestration::history::{Arrival, Entry, Note};
use crate::orchestration::state::Orchestration;

/// All that is recorded of an execution.
#[derive(Debug, Clone)]
pub struct Record {
    /// The state that it led to.
    pub state: Arc<Orchestration>,
    /// What the code saw and asked for.
    pub chronicle: Chronicle,
    /// What it has not seen yet, with when it was recorded.
    pub unseen: Vec<(Timestamp, Arrival)>,
    /// What was done to the instance and is not told to its code.
    pub notes: Vec<(Timestamp, Note)>,
}

impl Orchestrations {
    /// All that is recorded of the current execution of an instance.
    pub fn record(&self, id: InstanceId) -> Result<Record> {
        let state = self.state(id)?;
        let mut notes = Vec::new();
        let entries = self.entries(&state, state.began).inspect(|entry| {
            if let Ok(Entry { at, note: Some(note), .. }) = entry {
                notes.push((*at, note.clone()));
            }
        });
        let (chronicle, unseen) = Chronicle::of::<Error>(entries)?;
        Ok(Record { state, chronicle, unseen, notes })
    }
}
