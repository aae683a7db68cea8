//! The floor for processes: spawn and wait, so many at a time, of what a job would run.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::error::{Error, Result};

/// Runs `program` so often in so many threads; processes per second. Each must succeed.
pub(crate) fn rate(program: &str, arguments: &[&str], count: u64, parallelism: usize) -> Result<f64> {
    let next = AtomicU64::new(0);
    let one = || -> std::io::Result<()> {
        while next.fetch_add(1, Ordering::Relaxed) < count {
            let mut command = Command::new(program);
            command.args(arguments);
            // Its output is piped and read to the end, as that of a job is.
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let output = command.spawn()?.wait_with_output()?;
            if !output.status.success() {
                return Err(std::io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
            }
        }
        Ok(())
    };
    let started = Instant::now();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..parallelism).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    let took = started.elapsed();
    for outcome in outcomes {
        let outcome = outcome.map_err(|_| Error::Void("a thread of the bare spawn died".to_owned()))?;
        outcome.map_err(|source| Error::Program { program: program.to_owned(), source })?;
    }
    Ok(count as f64 / took.as_secs_f64())
}
