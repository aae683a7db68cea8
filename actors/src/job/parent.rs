//! Who started a job and is told its end: an orchestration's task, a pool, a schedule, a trigger, or an array.
//! Data only.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::array::ArrayId;
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::orchestration::state::Parent as Task;
use crate::pool::PoolId;
use crate::queue::QueueId;
use crate::schedule::ScheduleId;
use crate::trigger::{Object, TriggerId};

/// Who started a job and is told its end. A task is written as it always was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Parent {
    /// The task of an orchestration that waits for it.
    Task(Task),
    /// The pool whose instance it is.
    Pool(PoolParent),
    /// The schedule that fired.
    Schedule(ScheduleParent),
    /// The array whose child it is.
    Array(ArrayParent),
    /// The trigger at which something arrived.
    Trigger(Box<TriggerParent>),
}

/// The pool whose instance a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolParent {
    /// Which.
    pub pool: PoolId,
    /// The task hub that it serves.
    pub hub: String,
    /// The queue that it works on, where it does not run activities.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub queue: Option<QueueId>,
    /// What the job's secrets are sealed for: they are those of all instances.
    pub sealed_for: JobId,
}

/// The schedule that submitted a job, and for which of its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleParent {
    /// Which.
    pub schedule: ScheduleId,
    /// The time that it was meant for.
    pub scheduled_at: Timestamp,
    /// It came late.
    pub past_due: bool,
    /// What the job's secrets are sealed for: they are those of all jobs of the schedule.
    pub sealed_for: JobId,
}

/// The array whose child a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayParent {
    /// Which.
    pub array: ArrayId,
    /// Which child, from 0.
    pub index: u32,
    /// How many there are.
    pub count: u32,
    /// The fire of a schedule that submitted the array.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fire: Option<ScheduleParent>,
}

/// The trigger that submitted a job, and for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerParent {
    /// Which.
    pub trigger: TriggerId,
    /// Which of its items.
    pub item: u64,
    /// How often something was started for the item, this time included.
    pub delivery: u32,
    /// What arrived.
    pub object: Arc<Object>,
    /// What the job's secrets are sealed for: they are those of all jobs of the trigger.
    pub sealed_for: JobId,
}

impl Parent {
    /// The task that waits, where it is one.
    pub fn task(&self) -> Option<Task> {
        match self {
            Self::Task(task) => Some(*task),
            Self::Pool(_) | Self::Schedule(_) | Self::Array(_) | Self::Trigger(_) => None,
        }
    }

    /// The pool, where it is one.
    pub fn pool(&self) -> Option<&PoolParent> {
        match self {
            Self::Pool(pool) => Some(pool),
            Self::Task(_) | Self::Schedule(_) | Self::Array(_) | Self::Trigger(_) => None,
        }
    }

    /// The fire of a schedule that it comes from: its own, or that of its array.
    pub fn fire(&self) -> Option<&ScheduleParent> {
        match self {
            Self::Schedule(schedule) => Some(schedule),
            Self::Array(array) => array.fire.as_ref(),
            Self::Task(_) | Self::Pool(_) | Self::Trigger(_) => None,
        }
    }

    /// The array, where it is one.
    pub fn array(&self) -> Option<&ArrayParent> {
        match self {
            Self::Array(array) => Some(array),
            Self::Task(_) | Self::Pool(_) | Self::Schedule(_) | Self::Trigger(_) => None,
        }
    }

    /// The trigger, where it is one.
    pub fn trigger(&self) -> Option<&TriggerParent> {
        match self {
            Self::Trigger(trigger) => Some(trigger),
            Self::Task(_) | Self::Pool(_) | Self::Schedule(_) | Self::Array(_) => None,
        }
    }

    /// What the job's secrets are sealed for, where it is not the job itself.
    pub fn sealed_for(&self) -> Option<JobId> {
        match self {
            Self::Task(_) => None,
            Self::Pool(pool) => Some(pool.sealed_for),
            Self::Schedule(schedule) => Some(schedule.sealed_for),
            Self::Array(array) => Some(array.fire.map_or_else(|| array.array.seal(), |fire| fire.sealed_for)),
            Self::Trigger(trigger) => Some(trigger.sealed_for),
        }
    }
}

impl From<Task> for Parent {
    fn from(task: Task) -> Self {
        Self::Task(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_of_a_task_is_one_still() {
        let stored = r#"{"instance":"blue/order-7","execution":2,"task":4294967297}"#;
        let parent: Parent = serde_json::from_str(stored).unwrap();
        let task = Task { instance: "blue/order-7".parse().unwrap(), execution: 2, task: 4_294_967_297 };
        assert_eq!((parent.task(), parent.pool()), (Some(task), None));
        assert_eq!(serde_json::to_string(&parent).unwrap(), stored);

        let pool = PoolParent {
            pool: "thumbnails".parse().unwrap(),
            hub: "default".to_owned(),
            queue: None,
            sealed_for: JobId::from_bytes([7; 16]),
        };
        let text = serde_json::to_string(&Parent::Pool(pool.clone())).unwrap();
        assert_eq!(serde_json::from_str::<Parent>(&text).unwrap().pool(), Some(&pool));

        let schedule = ScheduleParent {
            schedule: "nightly".parse().unwrap(),
            scheduled_at: Timestamp::from_millis(1_800_000_000_000),
            past_due: true,
            sealed_for: JobId::from_bytes([7; 16]),
        };
        let text = serde_json::to_string(&Parent::Schedule(schedule)).unwrap();
        assert_eq!(serde_json::from_str::<Parent>(&text).unwrap().fire(), Some(&schedule));

        for fire in [None, Some(schedule)] {
            let array = ArrayId::new(JobId::from_bytes([8; 16]));
            let array = ArrayParent { array, index: 3, count: 9, fire };
            let text = serde_json::to_string(&Parent::Array(array)).unwrap();
            let parent: Parent = serde_json::from_str(&text).unwrap();
            assert_eq!((parent.array(), parent.fire()), (Some(&array), fire.as_ref()));
            // The secrets are those of whoever sealed them.
            assert_eq!(
                parent.sealed_for(),
                Some(JobId::from_bytes([if fire.is_some() { 7 } else { 8 }; 16]))
            );
        }
        let trigger = TriggerParent {
            trigger: "drop".parse().unwrap(),
            item: 7,
            delivery: 2,
            object: Arc::new(Object {
                source: crate::trigger::Kind::Queue,
                name: "orders/7".to_owned(),
                version: String::new(),
                size: 2,
                modified_at: None,
                content_type: None,
                body: Some("{}".into()),
            }),
            sealed_for: JobId::from_bytes([7; 16]),
        };
        let text = serde_json::to_string(&Parent::Trigger(Box::new(trigger.clone()))).unwrap();
        assert_eq!(serde_json::from_str::<Parent>(&text).unwrap().trigger(), Some(&trigger));
    }
}
