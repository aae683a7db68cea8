//! What really ran, told by somebody other than dogwatch: by the attempts themselves, which write into a file,
//! or by the engine, whose events are taken down beside dogwatch and whatever stands between the two.
//!
//! Not responsible for: what should have run. Invariant: the engine's events are read from before the first
//! container on, so none of this installation is missing but those that the engine itself loses: where it stands still
//! for a tenth of a second between having an event and handing it over, it gives up on every other one. So what
//! it told counts, what it did not tell may have been, and of that there may be little.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::bench::{Bench, On};

/// One run's ledger.
pub(crate) enum Ledger {
    /// A line by every attempt that starts.
    Lines(PathBuf),
    /// The events of the engine, as its own client writes them down.
    Engine {
        /// The client.
        client: Child,
        /// What it writes.
        path: PathBuf,
    },
}

/// The life of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Life {
    pub(crate) created: usize,
    pub(crate) started: usize,
    /// With which codes it ended.
    pub(crate) died: Vec<i64>,
    pub(crate) removed: usize,
}

/// How many starts and ends the engine may fail to tell in one run: one for so many containers, and a few.
const LOST_OF: usize = 50;
const LOST_BESIDE: usize = 2;

impl Life {
    /// How often it ran: who died was started.
    fn runs(&self) -> usize {
        self.started.max(self.died.len())
    }

    /// How many starts and ends are missing of a container that is gone.
    fn lost(&self) -> usize {
        self.started.abs_diff(self.died.len())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Self::Engine { client, .. } = self {
            drop(client.kill());
            drop(client.wait());
        }
    }
}

impl Ledger {
    /// Opens it, before anything runs.
    pub(crate) fn open(bench: &Bench) -> Self {
        let path = bench.path().join("ledger");
        if bench.on == On::Process {
            return Self::Lines(path);
        }
        let file = std::fs::File::create(&path).unwrap();
        let label = format!("label=dev.dogwatch.installation={}", bench.installation());
        let mut command = Command::new("docker");
        command.args(["--host", bench.engine(), "events", "--since", "0", "--filter", &label]);
        let line = "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}";
        command.args(["--filter", "type=container", "--format", line]);
        let client = command.stdin(Stdio::null()).stdout(file).stderr(Stdio::null()).spawn().unwrap();
        Self::Engine { client, path }
    }

    /// What a script does first.
    pub(crate) fn mark(&self) -> String {
        match self {
            Self::Lines(path) => format!("echo $DOGWATCH_JOB_ID-$DOGWATCH_ATTEMPT >> {}", path.display()),
            Self::Engine { .. } => ":".to_owned(),
        }
    }

    fn text(&self) -> String {
        let (Self::Lines(path) | Self::Engine { path, .. }) = self;
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// How often each attempt was started.
    pub(crate) fn starts(&self) -> BTreeMap<String, usize> {
        let mut starts = BTreeMap::new();
        match self {
            Self::Lines(_) => {
                for line in self.text().lines() {
                    *starts.entry(line.to_owned()).or_default() += 1;
                }
            }
            Self::Engine { .. } => {
                starts.extend(self.lives().into_iter().map(|(name, life)| (name, life.runs())));
            }
        }
        starts
    }

    /// What the engine told of each container.
    pub(crate) fn lives(&self) -> BTreeMap<String, Life> {
        let mut lives: BTreeMap<String, Life> = BTreeMap::new();
        for line in self.text().lines() {
            let mut words = line.split(' ');
            let (Some(action), Some(name)) = (words.next(), words.next()) else { continue };
            let life = lives.entry(name.to_owned()).or_default();
            match action {
                "create" => life.created += 1,
                "start" => life.started += 1,
                "die" => life.died.push(words.next().and_then(|code| code.parse().ok()).unwrap_or(-1)),
                "destroy" => life.removed += 1,
                _ => {}
            }
        }
        lives
    }

    /// Waits until nothing is left of any attempt, here and in the ledger.
    pub(crate) async fn nothing_is_left(&self, bench: &Bench) {
        bench.cleared().await;
        if bench.on == On::Process {
            let processes = bench.path().join("processes");
            bench
                .eventually("no process and no record is left", async || {
                    let mut installations = std::fs::read_dir(&processes).ok()?;
                    installations
                        .all(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap().next().is_none())
                        .then_some(())
                })
                .await;
        } else {
            bench
                .eventually("the engine told of every removal", async || {
                    self.lives().values().all(|life| life.removed == life.created).then_some(())
                })
                .await;
        }
    }

    /// Holds the jobs' records against what the engine told: no attempt created or started twice, none started
    /// that no job knows, and every exit recorded as it was. Answers how many attempts there were.
    pub(crate) async fn agrees_with(&self, bench: &Bench, jobs: &[Value]) -> usize {
        self.nothing_is_left(bench).await;
        let mut lives = self.lives();
        let attempts: usize = lives.len();
        // A removal is told last, so that what is not there by now was never told.
        let lost: usize = lives.values().map(Life::lost).sum();
        assert!(lost <= attempts / LOST_OF + LOST_BESIDE, "the engine told too little: {lives:?}");
        for job in jobs {
            for attempt in job["attempts"].as_array().unwrap() {
                let name = format!("dogwatch-{}-{}", job["id"].as_str().unwrap(), attempt["number"]);
                let life = lives.remove(&name).unwrap_or_default();
                let (created, started) = (life.created, life.started);
                assert!(created <= 1 && started <= 1, "{name} is not one container started once: {life:?}");
                assert_eq!(attempt["started_at"].is_string(), life.runs() == 1, "{name}: {life:?} {job}");
                let codes: Vec<i64> = attempt["exit_code"].as_i64().into_iter().collect();
                let untold = life.died.is_empty() && started == 1;
                assert!(codes == life.died || untold, "{name} ended otherwise: {life:?} {job}");
            }
        }
        let unknown: Vec<_> = lives.iter().filter(|(_, life)| life.runs() > 0).collect();
        assert!(unknown.is_empty(), "containers were started for no attempt: {unknown:?}");
        attempts
    }
}
