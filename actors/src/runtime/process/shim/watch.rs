//! Waiting for the end of the attempt's process: pumping its output, obeying, reaping.
//!
//! When the process ends everything that descends from it is killed: nothing of an attempt outlives it, as in a
//! container. The shim is their subreaper, so that "no child is left" means that nothing is.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use tokio::time::Instant;

use super::meter::Meter;
use super::note;
use super::pump::{Log, Pump};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::limits::{PROCESS_DRAIN_MAX, PROCESS_KILL_MAX, SHIM_TELLS_AFTER};
use crate::runtime::process::control::StopOrder;
use crate::runtime::process::kill;
use crate::runtime::{Exit, LogStream};

/// How often adopted orphans that have ended are reaped when nothing else happens.
const REAP_EVERY: Duration = Duration::from_secs(10);

/// How often is looked where the kernel cannot tell us: without a pidfd, and while killing.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What the end of an attempt left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing: every descendant has ended.
    Nothing,
    /// Something that could not be ended.
    Something,
}

/// The process under watch.
pub(super) struct Watch<'a> {
    /// What orders to this attempt begin with.
    name: &'a str,
    pid: Pid,
    pidfd: Option<OwnedFd>,
    stdout: Pump<ChildStdout>,
    stderr: Pump<ChildStderr>,
    log: Log,
    control: &'a mut File,
    orders: Vec<u8>,
    kill_at: Option<Instant>,
    started_at: Timestamp,
    meter: Meter,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        mut child: Child,
        control: &'a mut File,
        name: &'a str,
        log_path: &Path,
        started_at: Timestamp,
    ) -> Self {
        let pid = Pid::from_child(&child);
        Self {
            name,
            pid,
            pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok(),
            stdout: Pump::new(child.stdout.take(), LogStream::Stdout),
            stderr: Pump::new(child.stderr.take(), LogStream::Stderr),
            log: Log::new(log_path),
            control,
            orders: Vec::new(),
            kill_at: None,
            started_at,
            meter: Meter::begin(),
        }
    }

    /// Watches to the end of the process and of all its descendants. Calls `runs` when it has run for a moment; most of
    /// those that are over sooner are not worth to be told of twice.
    pub(super) fn run(mut self, runs: impl FnOnce()) -> (Exit, Left) {
        let mut runs = Some((Instant::now() + SHIM_TELLS_AFTER, runs));
        let status = loop {
            if let Some(status) = self.reap() {
                break status;
            }
            let due = runs.as_ref().map(|(at, _)| at.saturating_duration_since(Instant::now()));
            if due == Some(Duration::ZERO)
                && let Some((_, runs)) = runs.take()
            {
                runs();
                continue;
            }
            self.poll(due.map_or_else(|| self.patience(), |due| due.min(self.patience())));
            self.obey();
            self.meter.tick();
            if self.kill_at.is_some_and(|at| at <= Instant::now()) {
                self.kill();
            }
        };
        let finished_at = SystemClock.now();
        let left = self.end_descendants();
        self.drain();
        let exit = Exit {
            runtime_id: self.pid.as_raw_pid().to_string(),
            code: status.exit_status(),
            signal: status.terminating_signal(),
            oom_killed: false,
            container: None,
            unseen: None,
            started_at: Some(self.started_at),
            finished_at: Some(finished_at),
            usage: Some(self.meter.usage(finished_at.since(self.started_at), finished_at)),
        };
        (exit, left)
    }

    /// Takes what has ended; the status when the process itself has.
    fn reap(&self) -> Option<WaitStatus> {
        let mut status = None;
        while let Ok(Some((pid, ended))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == self.pid {
                status = Some(ended);
            }
        }
        status
    }

    fn patience(&self) -> Duration {
        let patience = if self.pidfd.is_some() { REAP_EVERY } else { LOOK_EVERY };
        let patience = patience.min(self.meter.patience());
        self.kill_at.map_or(patience, |at| patience.min(at.saturating_duration_since(Instant::now())))
    }

    /// Waits until something happens, and pumps what came.
    fn poll(&mut self, patience: Duration) {
        let (out, err) = {
            let fds = [
                self.stdout.fd(),
                self.stderr.fd(),
                self.pidfd.as_ref().map(AsFd::as_fd),
                Some(self.control.as_fd()),
            ];
            let mut polled: Vec<PollFd<'_>> =
                fds.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
            let patience = Timespec::try_from(patience).expect("a few seconds fit");
            // Interrupted or not: what the caller does next is right in any case.
            rustix::event::poll(&mut polled, Some(&patience)).ok();
            let mut ready = polled.iter().map(|fd| !fd.revents().is_empty());
            (
                self.stdout.is_open() && ready.next().unwrap_or(false),
                self.stderr.is_open() && ready.next().unwrap_or(false),
            )
        };
        if out {
            self.stdout.pump(&mut self.log);
        }
        if err {
            self.stderr.pump(&mut self.log);
        }
    }

    /// Reads and follows the orders in the control pipe. The shortest grace of several holds.
    fn obey(&mut self) {
        let mut block = [0; 256];
        while let Ok(read @ 1..) = self.control.read(&mut block) {
            self.orders.extend_from_slice(&block[..read]);
        }
        while let Some(end) = self.orders.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.orders.drain(..=end).collect();
            let order = StopOrder::decode(&line).filter(|order| order.name == self.name);
            let Some(order) = order else { continue };
            // A grace beyond the end of time is none that ends.
            let kill_at = Instant::now().checked_add(order.grace);
            self.kill_at = [self.kill_at, kill_at].into_iter().flatten().min();
            if let Some(signal) = Signal::from_named_raw(order.signal) {
                // Not reaped yet, so that the id is still its own.
                rustix::process::kill_process_group(self.pid, signal).ok();
            }
        }
        // No writer writes half a line; whatever this is, it is no order.
        if self.orders.len() > 256 {
            self.orders.clear();
        }
    }

    fn kill(&mut self) {
        rustix::process::kill_process_group(self.pid, Signal::KILL).ok();
        note(kill::kill_descendants().map(drop));
        // Something may have been born while we looked; look again soon.
        self.kill_at = Some(Instant::now() + LOOK_EVERY);
    }

    fn end_descendants(&self) -> Left {
        let until = Instant::now() + PROCESS_KILL_MAX;
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => continue,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // No child, so no descendant.
                Err(_) => return Left::Nothing,
                Ok(None) if Instant::now() >= until => return Left::Something,
                Ok(None) => note(kill::kill_descendants().map(drop)),
            }
            std::thread::sleep(LOOK_EVERY / 5);
        }
    }

    /// Reads what is left in the pipes. They close when the last process is gone.
    fn drain(&mut self) {
        let until = Instant::now() + PROCESS_DRAIN_MAX;
        self.pidfd = None;
        while (self.stdout.is_open() || self.stderr.is_open()) && Instant::now() < until {
            self.poll(until.saturating_duration_since(Instant::now()));
            // An order that came too late would keep the pipe ready.
            self.obey_nothing();
        }
        self.stdout.close(&mut self.log);
        self.stderr.close(&mut self.log);
    }

    fn obey_nothing(&mut self) {
        let mut block = [0; 256];
        while let Ok(1..) = self.control.read(&mut block) {}
    }
}
