//! The limits of triggers and of what arrives at them.

use std::time::Duration;

use crate::units::Span;

/// Triggers of one installation: all of them are read to list them, and each has lines of its own in the metrics.
pub const TRIGGERS_MAX: usize = 500;

/// Items of one trigger that wait, run or are dead: the objects of all of them are in memory.
pub const TRIGGER_ITEMS_MAX: usize = 10_000;

/// Bytes of what those items brought with them: bodies are in memory as long as their items are not over.
pub const TRIGGER_ITEM_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Versions of objects that a trigger remembers, so that none fires twice. What fires no more, because it cannot be
/// remembered, is said in the trigger's message.
pub const TRIGGER_KNOWN_MAX: usize = 100_000;

/// Items that are over and are still shown.
pub const TRIGGER_DONE_MAX: usize = 1_000;

/// The longest body of an HTTP request or a message that a trigger takes: it becomes a variable of the environment, and
/// Linux lets one have 128 KiB.
pub const TRIGGER_BODY_BYTES_MAX: usize = 64 * 1024;

/// The longest name of an object in bytes; a path of Linux has 4096.
pub const TRIGGER_OBJECT_BYTES_MAX: usize = 4_096;

/// Items that run at once where the trigger does not say.
pub const TRIGGER_PARALLELISM_DEFAULT: u32 = 10;

/// Items that may run at once.
pub const TRIGGER_PARALLELISM_MAX: u32 = 1_000;

/// How often an item is started before it is a dead letter, where the trigger does not say: its job has attempts of its
/// own.
pub const TRIGGER_DELIVERIES_DEFAULT: u32 = 1;

/// The most often that an item may be started.
pub const TRIGGER_DELIVERIES_MAX: u32 = 100;

/// The pause before an item is started the second time; it doubles.
pub const TRIGGER_RETRY_DELAY_DEFAULT: Span = Span::from_secs(10);

/// The longest pause before an item is started again.
pub const TRIGGER_RETRY_DELAY_MAX: Span = Span::from_secs(3_600);

/// How long a version is remembered that is not at its source any more: longer than a file system that is not mounted is
/// missed by nobody.
pub const TRIGGER_REMEMBER_DEFAULT: Span = Span::from_secs(7 * 86_400);

/// How long the idempotency key of an HTTP request is remembered.
pub const TRIGGER_KEY_REMEMBER_DEFAULT: Span = Span::from_secs(86_400);

/// How long a file must not change before it is taken for whole, where the trigger does not say.
pub const TRIGGER_SETTLE_DEFAULT: Span = Span::from_secs(2);

/// The longest that a file may have to be unchanged.
pub const TRIGGER_SETTLE_MAX: Span = Span::from_secs(3_600);

/// How often a bucket is listed where the trigger does not say.
pub const TRIGGER_BUCKET_POLL_DEFAULT: Span = Span::from_secs(60);

/// How often a source is looked at where nothing tells of a change.
pub const TRIGGER_POLL_DEFAULT: Span = Span::from_secs(10);

/// The shortest and the longest pause between two looks.
pub const TRIGGER_POLL_MIN: Span = Span::from_millis(100);

/// See [`TRIGGER_POLL_MIN`].
pub const TRIGGER_POLL_MAX: Span = Span::from_secs(86_400);

/// The pause between two looks however often one is told of changes: a thousand files that arrive are one look.
pub const TRIGGER_LOOK_PAUSE: Duration = Duration::from_millis(50);

/// The pause before a source that cannot be read is tried again.
pub const TRIGGER_RETRY_LOOK: Duration = Duration::from_secs(5);

/// Objects that one look at a source may find: what they are called is in memory meanwhile.
pub const TRIGGER_LOOK_MAX: usize = 200_000;

/// How long the list of a bucket may take: a million objects in pages of a thousand.
pub const TRIGGER_LIST_TIMEOUT: Duration = Duration::from_secs(600);

/// The shortest pause between two looks at a bucket: providers count lists, and take money for them.
pub const TRIGGER_BUCKET_POLL_MIN: Span = Span::from_secs(1);

/// Directories below that of a trigger: each is a watch of the kernel's.
pub const TRIGGER_DIRECTORIES_MAX: usize = 4_096;

/// How deep directories are looked into.
pub const TRIGGER_DEPTH_MAX: usize = 32;

/// Objects that a trigger is told of in one transition, and its rows that are deleted in one.
pub const TRIGGER_STEP_MAX: usize = 256;

/// Messages that a trigger takes from a queue at once.
pub const TRIGGER_RECEIVE_MAX: u32 = 32;

/// How long a trigger has a message before it is its own item: a commit takes milliseconds, and who was killed in
/// between has it once more when this has passed.
pub const TRIGGER_LEASE: Span = Span::from_secs(15);

/// How long one asks a queue for messages before one asks again.
pub const TRIGGER_RECEIVE_WAIT: Duration = Duration::from_secs(30);

/// Length of a pattern in bytes, and how many one may give.
pub const TRIGGER_PATTERN_BYTES_MAX: usize = 256;

/// See [`TRIGGER_PATTERN_BYTES_MAX`].
pub const TRIGGER_PATTERNS_MAX: usize = 32;

/// Placeholders in the arguments of a job: each may become as long as a path.
pub const TRIGGER_PLACEHOLDERS_MAX: usize = 16;

/// The longest sentence about why an item failed, in characters.
pub const TRIGGER_ERROR_CHARS_MAX: usize = 512;

/// The longest list of items in one answer.
pub const TRIGGER_PAGE_MAX: usize = 1_000;

/// The default length of a list of items.
pub const TRIGGER_PAGE_DEFAULT: usize = 100;
