//! The bar that shows how far the job is.

use std::io::{IsTerminal as _, Write as _};

use crate::cli::{Error, output};

/// Progress: one line that is written over on a terminal, a line per tenth elsewhere.
pub(super) struct Bar {
    is_terminal: bool,
    shown: Option<u64>,
}

impl Bar {
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stdout().is_terminal(), shown: None }
    }

    pub(super) fn show(&mut self, percent: u64, what: &str) -> Result<(), Error> {
        let step = if self.is_terminal { percent } else { percent / 10 };
        if self.shown.replace(step) == Some(step) {
            return Ok(());
        }
        let full = usize::try_from(percent.min(100) / 5).unwrap_or(0);
        let line = format!("   [{}{}] {percent:>3} %  {what}", "#".repeat(full), ".".repeat(20 - full));
        if !self.is_terminal {
            return output::data(&line);
        }
        let mut out = std::io::stdout().lock();
        write!(out, "\r{line}")?;
        out.flush().map_err(Error::from)
    }

    pub(super) fn end(&self) -> Result<(), Error> {
        if self.is_terminal { output::data("") } else { Ok(()) }
    }
}
