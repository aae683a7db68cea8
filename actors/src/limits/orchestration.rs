//! The limits of orchestrations, of their workers and of what they are given.

use std::time::Duration;

/// Length of an orchestration's instance id in bytes: the 100 that the Durable Task Scheduler takes, and what the names
/// of children and grandchildren add to them.
pub const INSTANCE_ID_BYTES_MAX: usize = 190;

/// Length of a task hub's name in bytes: what the Durable Task Scheduler takes.
pub const TASK_HUB_BYTES_MAX: usize = 64;

/// Bytes of one input, output or event of an orchestration as JSON: what fits into a message of the SDKs. Larger data
/// belong where they are at home, and a reference to them here.
pub const ORCHESTRATION_PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of an orchestration's custom status as JSON, as Durable Functions has it: it is written with every turn.
pub const CUSTOM_STATUS_BYTES_MAX: usize = 16 * 1024;

/// Actions of one turn of an orchestration: what is asked for at once is one row of history, which must be read whole.
pub const TURN_ACTIONS_MAX: usize = 200_000;

/// Bytes of a failure's message that are kept.
pub const FAILURE_TEXT_BYTES_MAX: usize = 8 * 1024;

/// Events that may wait for an orchestration that does not exist yet: nobody may fill the disk with them.
pub const EVENTS_AWAITING_START_MAX: usize = 100;

/// The longest that an event waits for its orchestration to be started.
pub const EVENT_KEPT_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Names of awaited events that an orchestration's snapshot holds, to say what it waits for.
pub const AWAITED_NAMES_MAX: usize = 16;

/// Orchestrations whose code stays in memory between events; the others are replayed when something happens to them.
pub const INSTANCES_HOT_MAX: usize = 10_000;

/// Activities that run at the same time in this process: as many as may share its memory and its connections.
pub const ACTIVITIES_RUNNING_MAX: usize = 1_024;

/// How often an activity is started again because the process ended while it ran, before it is parked: what ends
/// the process every time must not do so for ever.
pub const ACTIVITY_RESTARTS_MAX: u32 = 10;

/// How long an activity that is told to stop may take before it is dropped.
pub const ACTIVITY_STOP_GRACE: Duration = Duration::from_secs(5);

/// Pieces of work of one kind that a worker which names no limit has at the same time: they wait for it in its memory.
pub const WORKER_ITEMS_DEFAULT: u32 = 1_000;

/// How many workers in a row may go with a turn that they were given, before it is given to nobody any more: a message
/// that is larger than they take ends their streams each time.
pub const TURN_WORKERS_LOST_MAX: u32 = 10;

/// The first pause before a piece of work that a worker gave back is handed out again; it doubles.
pub const WORK_GIVEN_BACK_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause: somebody may have changed the workers meanwhile, and a new one ends it anyway.
pub const WORK_GIVEN_BACK_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Tags of an orchestration.
pub const TAGS_MAX: usize = 32;

/// Length of the name of an orchestration, an activity or a raised event, in characters.
pub const ORCHESTRATION_NAME_CHARS_MAX: usize = 255;

/// Things that an explanation lists one by one.
pub const EXPLAIN_TASKS_MAX: usize = 20;

/// Instances that one purge by filter deletes before it answers with what is left.
pub const PURGE_BATCH_MAX: usize = 1_000;

/// How long a purge by filter goes on before it answers with what is left.
pub const PURGE_PATIENCE: Duration = Duration::from_secs(20);

/// Events of an orchestration's history in one page.
pub const HISTORY_PAGE_MAX: usize = 1_000;
