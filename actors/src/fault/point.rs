//! The registry of points: their names, what each is, and which of them have an error of their own.
//!
//! A new point is one line here and one in the code; the test that goes through [`ALL`] fails until the point is
//! reached.

/// Defines the points, their names and their list at once, so that none can be missing from the list.
macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal $(, $fails:ident)?;)+) => {
        /// A place at which a test may interfere.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Point {
            $($(#[$doc])* $variant,)+
        }

        /// Every point, in the order of a job's life.
        pub const ALL: &[Point] = &[$(Point::$variant,)+];

        impl Point {
            /// The name in settings and in the log: `<what goes on>:<how far it is>`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Whether the step has an error of its own. Where it has none, failing means a panic or a crash.
            pub const fn can_fail(self) -> bool {
                match self {
                    $(Self::$variant => points!(@fails $($fails)?),)+
                }
            }
        }
    };
    (@fails fails) => { true };
    (@fails) => { false };
}

points! {
    /// A data directory is locked, its store not open yet.
    RecoveryLocked = "recovery:locked";
    /// The store is open and found whole.
    RecoveryOpened = "recovery:opened";
    /// All parts are started; nothing is brought back yet.
    RecoveryAssembled = "recovery:assembled";
    /// The jobs whose attempts may run are in memory again.
    RecoveryRunningRoused = "recovery:running_roused";
    /// Everything live is in memory again; the supervisor does not call itself recovered yet.
    RecoveryAllRoused = "recovery:all_roused";
    /// The fleet has the first list of what a runtime knows, and has not compared it yet.
    RecoveryListed = "recovery:listed";
    /// The listeners listen; nobody was told where.
    RecoveryListening = "recovery:listening";
    /// The addresses are written.
    RecoveryTold = "recovery:told";

    /// A submission is parsed.
    SubmitParsed = "submit:parsed";
    /// A submission is valid and let in; nothing is written.
    SubmitAdmitted = "submit:admitted", fails;
    /// A submission is durable; whoever sent it does not know. An error here comes after the effect.
    SubmitCommitted = "submit:committed", fails;
    /// The answer to a submission is made and not sent.
    SubmitAnswering = "submit:answering";
    /// The key of a submission is found to be used.
    SubmitReplayed = "submit:replayed", fails;

    /// A callback is read.
    CallbackRead = "callback:read";
    /// The token of a callback is right; nothing is written.
    CallbackAuthenticated = "callback:authenticated", fails;
    /// A callback is durable; the attempt does not know. An error here comes after the effect.
    CallbackCommitted = "callback:committed", fails;

    /// A cancel is let in; nothing is written.
    CancelAdmitted = "cancel:admitted", fails;
    /// A cancel is durable; whoever asked does not know. An error here comes after the effect.
    CancelCommitted = "cancel:committed", fails;

    /// A delivery has come to the shard of its machine.
    StepRouted = "step:routed";
    /// A machine's actor takes a delivery up.
    StepTaken = "step:taken";
    /// A machine has decided; nothing is written.
    StepDecided = "step:decided", fails;
    /// A step is durable: snapshot, history, index, timer and outbox rows in one batch. Only the disk knows.
    StepCommitted = "step:committed";
    /// The new state is shown to readers; whoever asked is not answered.
    StepPublished = "step:published";
    /// The answer is given; no effect is performed.
    StepReplied = "step:replied";
    /// An effect is about to be performed.
    StepPerforming = "step:performing";
    /// All effects of a step are performed.
    StepPerformed = "step:performed";

    /// The committer has a group of batches; nothing is written.
    CommitGathered = "commit:gathered", fails;
    /// The group is with the operating system and not synced.
    CommitWritten = "commit:written", fails;
    /// The group is synced; the mark of what was acknowledged is old.
    CommitSynced = "commit:synced", fails;
    /// The group is marked as acknowledged; nobody is answered.
    CommitMarked = "commit:marked", fails;

    /// An actor has read its machine's snapshot and not resumed.
    ActorHydrated = "actor:hydrated";
    /// An actor has resumed.
    ActorResumed = "actor:resumed";
    /// An actor at rest is about to be let go of.
    ActorLetGo = "actor:let_go";

    /// The fleet takes an input.
    FleetInput = "fleet:input";
    /// The fleet grants a slot and has not told the job.
    AttemptGranted = "attempt:granted";
    /// The intent of an attempt is durable and its plan made; the fleet does not have it.
    AttemptPlanned = "attempt:planned";
    /// The fleet has the attempt and does nothing for it yet.
    AttemptDriven = "attempt:driven";
    /// An attempt is about to be created on its runtime.
    AttemptCreating = "attempt:creating", fails;
    /// An attempt is created. An error here comes after the effect.
    AttemptCreated = "attempt:created", fails;
    /// The inputs of an attempt are fetched and about to be placed.
    InputsPlacing = "inputs:placing", fails;
    /// The inputs of an attempt are placed. An error here comes after the effect.
    InputsPlaced = "inputs:placed", fails;
    /// An attempt is created and asks whether it may be started.
    AttemptPrepared = "attempt:prepared";
    /// It is durable that a start of the attempt was asked for; the fleet does not let it start yet.
    AttemptAllowed = "attempt:allowed";
    /// An attempt is about to be started.
    AttemptStarting = "attempt:starting", fails;
    /// An attempt is started. An error here comes after the effect.
    AttemptStarted = "attempt:started", fails;
    /// An attempt was seen running; its job does not know.
    AttemptSeen = "attempt:seen";

    /// The end of an attempt was observed; nobody knows.
    ExitObserved = "exit:observed";
    /// The fleet knows of the end; the job does not.
    ExitTold = "exit:told";
    /// The outputs of an attempt are about to be collected.
    OutputsCollecting = "outputs:collecting", fails;
    /// The outputs of an attempt are kept; its job does not know. An error here comes after the effect.
    OutputsCollected = "outputs:collected", fails;
    /// A job has recorded the end and lets the fleet forget the attempt.
    ExitDiscarded = "exit:discarded";
    /// What is left of an attempt is about to be removed.
    ExitRemoving = "exit:removing", fails;
    /// What was left is removed; nobody made sure. An error here comes after the effect.
    ExitRemoved = "exit:removed", fails;

    /// The fleet is told to stop an attempt.
    StopOrdered = "stop:ordered";
    /// The stop is about to be sent to the runtime.
    StopSending = "stop:sending", fails;
    /// The attempt has ended by the stop, says the runtime. An error here comes after the effect.
    StopSent = "stop:sent", fails;

    /// A deadline is durable; the wheel does not know.
    TimerArmed = "timer:armed";
    /// A deadline has passed; its machine is not told.
    TimerDue = "timer:due";
    /// A machine has taken its tick.
    TimerTicked = "timer:ticked";

    /// A message between machines is read from the outbox and not delivered.
    OutboxRead = "outbox:read";
    /// A message between machines is taken.
    OutboxDelivered = "outbox:delivered";
    /// A webhook is about to be sent.
    WebhookSending = "webhook:sending", fails;
    /// A webhook was answered; that is not recorded. An error here comes after the effect.
    WebhookAnswered = "webhook:answered", fails;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_of_one_shape() {
        let names: BTreeSet<&str> = ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), ALL.len());
        for name in names {
            let (what, how) = name.split_once(':').expect("two parts");
            let is_word = |word: &str| {
                !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            };
            assert!(is_word(what) && is_word(how), "{name}");
        }
    }
}
