//! What a run of the bench is given: the programs, the place, how much and how often.

use std::path::PathBuf;

use crate::error::Result;
use crate::place::Place;
use crate::server::Program;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Some minutes in all: for seeing that it works, and for a first impression.
    Quick,
    /// What the published figures are.
    Usual,
    /// With as many stored jobs as fit.
    Long,
}

/// What every scenario is given.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The program `dogwatch`.
    pub(crate) dogwatch: PathBuf,
    /// This program.
    pub(crate) bench: PathBuf,
    /// Where directories are made.
    pub(crate) base: PathBuf,
    /// Where programs to compare with are installed.
    pub(crate) peers: PathBuf,
    pub(crate) runs: usize,
    pub(crate) size: Size,
}

impl Plan {
    pub(crate) fn pick<T>(&self, quick: T, usual: T, long: T) -> T {
        match self.size {
            Size::Quick => quick,
            Size::Usual => usual,
            Size::Long => long,
        }
    }

    pub(crate) fn place(&self, name: &str) -> Result<Place> {
        Place::new(&self.base, name)
    }

    /// The real server, with this runtime.
    pub(crate) fn serve(&self, runtime: &str) -> Program {
        let arguments =
            ["serve", "--listen", "127.0.0.1:0", "--callback-listen", "127.0.0.1:0", "--runtime", runtime];
        Program {
            path: self.dogwatch.clone(),
            arguments: arguments.map(str::to_owned).to_vec(),
            environment: Vec::new(),
        }
    }

    /// The same API over attempts that cost nothing, so many at once.
    pub(crate) fn host(&self, attempts_max: usize) -> Program {
        let arguments = ["host", "--attempts-max", &attempts_max.to_string()].map(str::to_owned).to_vec();
        Program { path: self.bench.clone(), arguments, environment: Vec::new() }
    }
}
