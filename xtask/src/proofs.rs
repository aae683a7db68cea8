//! The proofs of the promises with more rounds than an ordinary test run has, and their figures.
//!
//! Not responsible for: what a proof does, nor its rounds in an ordinary run; both are the test's own.

use crate::checks::prepare;
use crate::command::{Outcome, cargo, run};

/// The tests that prove a promise; `docs/robustness.md` says which proves which.
const PROOFS: &str = "test(/^(backup|crash_harness|crash_orchestrations|defects|disk_faults|docker_attempts|docker_burst|docker_engine|docker_faults|docker_restart|flips|old_formats|overload|points|restarts|troubles|webhook_delivery)::/) \
     | test(/^queues::data::every/) \
     | test(/^triggers::files::every/) \
     | test(/^usage::a_kill/) \
     | test(/^docker_groups::(killed|all_containers)/) \
     | test(/^(arrays|schedules)::(each_child|a_killed)/) \
     | test(/^(process_jobs|docker_jobs)::(twenty|what_ends|a_kill)/) \
     | test(/^simulation::/) | test(/transition::tests::crash|^job_panics|^store::(killed|damage|power_loss)|^durable::crashes/)";

/// How long it may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// Some minutes, as for every change.
    Short,
    /// Hours, as before a release.
    Long,
}

/// How many rounds a proof goes: the variable that it reads, and what it is set to.
struct Rounds {
    name: &'static str,
    short: u32,
    long: u32,
}

const fn rounds(name: &'static str, short: u32, long: u32) -> Rounds {
    Rounds { name, short, long }
}

/// Every proof that goes rounds.
const ROUNDS: &[Rounds] = &[
    // Kills of the real binary under load, with processes and with containers.
    rounds("DOGWATCH_PROVE_CYCLES", 25, 1_000),
    rounds("DOGWATCH_PROVE_DOCKER_CYCLES", 3, 100),
    // Worlds from a seed, and timers under a clock that is set.
    rounds("DOGWATCH_PROVE_SEEDS", 1_500, 100_000),
    rounds("DOGWATCH_PROVE_CLOCKS", 20, 500),
    // Worlds of orchestrations from a seed.
    rounds("DOGWATCH_PROVE_WORKFLOWS", 150, 20_000),
    // Worlds of entities and those who lock them from a seed.
    rounds("DOGWATCH_PROVE_ENTITIES", 150, 20_000),
    // Moments of a crash for each way to make up for missed times, and children of an array that is killed.
    rounds("DOGWATCH_PROVE_SCHEDULES", 3, 50),
    rounds("DOGWATCH_PROVE_ARRAY", 500, 10_000),
    // Damage to the files of a store, losses of power, failing calls of a disk.
    rounds("DOGWATCH_PROVE_FLIPS", 150, 10_000),
    rounds("DOGWATCH_PROVE_POWER_LOSS", 12, 1_000_000),
    rounds("DOGWATCH_PROVE_DISK_FAULTS", 2, 10),
    // Keys that are used at once, and callbacks that are repeated.
    rounds("DOGWATCH_PROVE_KEYS", 20, 500),
    rounds("DOGWATCH_PROVE_CALLBACKS", 60, 1_000),
    // Containers: kills between intent, create and start; faults of the engine; ends unheard; restarts of the engine.
    rounds("DOGWATCH_PROVE_ATTEMPTS", 40, 10_000),
    rounds("DOGWATCH_PROVE_KILLS", 10, 500),
    rounds("DOGWATCH_PROVE_FAULTS", 10, 500),
    rounds("DOGWATCH_PROVE_BURST", 16, 300),
    rounds("DOGWATCH_PROVE_ENGINE", 4, 50),
    // Messages that a pool of workers does while the server is killed.
    rounds("DOGWATCH_PROVE_MESSAGES", 6_000, 10_000),
    // Files that are dropped while the server is killed, and while it is down.
    rounds("DOGWATCH_PROVE_FILES", 500, 2_000),
    // Attempts that run through a restart, and clients at once.
    rounds("DOGWATCH_PROVE_ATTACH", 50, 200),
    rounds("DOGWATCH_PROVE_OVERLOAD", 2_000, 10_000),
];

/// Runs the proofs and shows their figures. What the environment says of a proof's rounds is kept.
pub(crate) fn prove(length: Length) -> Outcome {
    prepare()?;
    let mut command = cargo();
    command.args(["nextest", "run", "--workspace", "--all-features", "--no-fail-fast"]);
    command.args(["--success-output", "final", "--profile", "prove", "--filterset", PROOFS]);
    for Rounds { name, short, long } in ROUNDS.iter().filter(|rounds| std::env::var_os(rounds.name).is_none())
    {
        let rounds = if length == Length::Long { long } else { short };
        command.env(name, rounds.to_string());
    }
    if length == Length::Long {
        command.env("DOGWATCH_PROVE_POINTS", "all");
    }
    run(&mut command)
}
