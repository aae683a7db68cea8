//! The shims of this process: each serves one attempt at a time, and another one when that is over, so that most
//! attempts cost no start of a program but their own.
//!
//! Responsible for: giving an attempt to a shim, and knowing which attempts are being served. Not responsible for:
//! what is true of an attempt, which only its record says, and for shims that an earlier process started.
//!
//! Invariants:
//! - a shim gets its next attempt when it has said that the last one is over: its end is recorded and nothing of it
//!   is left;
//! - what is known without a look was written into the record before it was told, and is forgotten before anybody
//!   else changes that;
//! - one that was dismissed gets none, so that what is done to it is done to the attempt in question;
//! - with our end their standard input is closed: those that rest go at once, the others when they are done.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{oneshot, watch};

use super::attempt::Attempt;
use super::record::End;
use super::shim::{MARKER, Reply, SMALL_PAGES, Shim};
use crate::id::AttemptKey;
use crate::limits::{PROCESS_START_MAX, PROCESSES_KNOWN_MAX, SHIM_REST_MAX, SHIMS_RESTING_MAX};
use crate::runtime::{Error, Result, Running};

/// How far an attempt has come with its shim.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    /// It was told.
    Asked,
    /// The process runs, and as what if that is recorded.
    Started(Option<Running>),
    /// The end is recorded, or there was nothing to be started.
    Over,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Shims {
    shim: Shim,
    root: PathBuf,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    serving: HashMap<AttemptKey, Service>,
    /// Those that have nothing to do, the last one to finish at the end.
    resting: Vec<oneshot::Sender<Order>>,
    /// Attempts that nobody serves, and what we or their shims wrote last into their records.
    known: HashMap<AttemptKey, Known>,
}

/// What a record says, without a look at it.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// We made it.
    Created,
    /// A shim of ours serves it, and has recorded this.
    Running(Running),
    /// A shim of ours has recorded this.
    Ended(End),
}

impl Book {
    fn remember(&mut self, key: AttemptKey, known: Known) {
        if self.known.len() < PROCESSES_KNOWN_MAX || self.known.contains_key(&key) {
            self.known.insert(key, known);
        }
    }
}

#[derive(Debug)]
struct Service {
    stage: watch::Receiver<Stage>,
    dismissed: bool,
}

impl Service {
    /// False when nobody listens to the shim any more: the task that did is gone, and the shim's input with it.
    fn is_heard(&self) -> bool {
        self.stage.has_changed().is_ok()
    }
}

/// One attempt for one shim.
#[derive(Debug)]
struct Order {
    key: AttemptKey,
    /// The name of the attempt's record.
    name: String,
    stage: watch::Sender<Stage>,
}

impl Shims {
    /// None yet; they will serve attempts whose records are in `root`.
    pub(super) fn new(shim: Shim, root: PathBuf) -> Self {
        Self { shim, root, book: Arc::default() }
    }

    /// Has a shim start the attempt, and returns how far it has come when it has reported: over may also mean that it
    /// could not be started, or that somebody else was first. The shim goes on when this is dropped.
    pub(super) async fn launch(&self, attempt: &Attempt) -> Result<Stage> {
        let mut stage = self.ask(attempt.key, attempt.record.path())?;
        let told = stage.wait_for(|stage| *stage != Stage::Asked);
        match tokio::time::timeout(PROCESS_START_MAX, told).await {
            Ok(Ok(stage)) => Ok(stage.clone()),
            // Nobody listens to it any more.
            Ok(Err(_)) => Ok(Stage::Over),
            Err(_) => Err(attempt.unavailable(&"its start takes too long")),
        }
    }

    /// The stage of an attempt that one of our shims serves.
    pub(super) fn serving(&self, key: AttemptKey) -> Option<watch::Receiver<Stage>> {
        let book = self.book.lock();
        book.serving.get(&key).filter(|service| service.is_heard()).map(|service| service.stage.clone())
    }

    /// What is known of an attempt without a look at its record.
    pub(super) fn known(&self, key: AttemptKey) -> Option<Known> {
        let book = self.book.lock();
        let Some(service) = book.serving.get(&key) else { return book.known.get(&key).cloned() };
        match &*service.stage.borrow() {
            Stage::Started(Some(running)) if service.is_heard() && !service.dismissed => {
                Some(Known::Running(running.clone()))
            }
            _ => None,
        }
    }

    /// We made the record of this attempt.
    pub(super) fn created(&self, key: AttemptKey) {
        self.book.lock().remember(key, Known::Created);
    }

    /// The record of this attempt is to be changed by somebody else than its shim.
    pub(super) fn forget(&self, key: AttemptKey) {
        self.book.lock().known.remove(&key);
    }

    /// The shim that serves this attempt, if it still does, gets no other.
    pub(super) fn dismiss(&self, key: AttemptKey) {
        if let Some(service) = self.book.lock().serving.get_mut(&key) {
            service.dismissed = true;
        }
    }

    fn ask(&self, key: AttemptKey, record: &Path) -> Result<watch::Receiver<Stage>> {
        let (tell, stage) = watch::channel(Stage::Asked);
        let name = record.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut order = Order { key, name, stage: tell };
        {
            let mut book = self.book.lock();
            if let Some(service) = book.serving.get(&key).filter(|service| service.is_heard()) {
                return Ok(service.stage.clone());
            }
            book.known.remove(&key);
            book.serving.insert(key, Service { stage: stage.clone(), dismissed: false });
            while let Some(resting) = book.resting.pop() {
                match resting.send(order) {
                    Ok(()) => return Ok(stage),
                    // It has gone meanwhile.
                    Err(refused) => order = refused,
                }
            }
        }
        let keeper = self.start().map(|child| Keeper { child, book: Arc::clone(&self.book) });
        match keeper {
            Ok(keeper) => {
                tokio::spawn(keeper.run(order));
                Ok(stage)
            }
            Err(error) => {
                self.book.lock().serving.remove(&key);
                let message =
                    format!("the shim {} cannot be started: {error}", self.shim.program().display());
                Err(Error::Transient { message })
            }
        }
    }

    fn start(&self) -> std::io::Result<Child> {
        let mut command = Command::new(self.shim.program());
        command.arg0("dogwatch").arg(MARKER).arg(&self.root).env_clear();
        if self.shim.lets_have_huge_pages() {
            command.env(SMALL_PAGES.0, SMALL_PAGES.1);
        }
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    }
}

/// Owns one shim: hands it its attempts, listens to it, and takes its exit status.
struct Keeper {
    child: Child,
    book: Arc<Mutex<Book>>,
}

impl Keeper {
    async fn run(mut self, first: Order) {
        let mut orders = self.child.stdin.take().expect("standard input is a pipe");
        let replies = self.child.stdout.take().expect("standard output is a pipe");
        let mut replies = BufReader::new(replies).lines();
        let mut next = Some(first);
        while let Some(order) = next {
            let over = serve(&mut orders, &mut replies, &order).await;
            let rest = self.finish(order.key, over);
            order.stage.send_replace(Stage::Over);
            next = match rest {
                Some(rest) => resume(rest).await,
                None => None,
            };
        }
        drop(orders);
        // Somebody must take its exit status, or it stays in the table of processes while we live.
        if let Err(error) = self.child.wait().await {
            tracing::debug!(%error, "a shim's end was not seen");
        }
    }

    /// Takes the attempt out of the book; where the next one comes from when there can be one.
    fn finish(&self, key: AttemptKey, over: Option<Option<End>>) -> Option<oneshot::Receiver<Order>> {
        let mut book = self.book.lock();
        let dismissed = book.serving.remove(&key).is_none_or(|service| service.dismissed);
        let end = over?;
        if dismissed {
            return None;
        }
        if let Some(end) = end {
            book.remember(key, Known::Ended(end));
        }
        book.resting.retain(|resting| !resting.is_closed());
        if book.resting.len() >= SHIMS_RESTING_MAX {
            return None;
        }
        let (rest, next) = oneshot::channel();
        book.resting.push(rest);
        Some(next)
    }
}

/// Has the shim serve one attempt, and gives the end that it recorded, if any; `None` when the shim has ended, or is not
/// fit for another.
async fn serve(
    orders: &mut ChildStdin,
    replies: &mut Lines<BufReader<ChildStdout>>,
    order: &Order,
) -> Option<Option<End>> {
    if orders.write_all(format!("{}\n", order.name).as_bytes()).await.is_err() {
        return None;
    }
    loop {
        match replies.next_line().await.ok().flatten().as_deref().and_then(Reply::decode)? {
            Reply::Started(running) => drop(order.stage.send_replace(Stage::Started(running))),
            Reply::Over(end) => return Some(end),
        }
    }
}

/// Waits for another attempt; `None` when there was none for long.
async fn resume(mut next: oneshot::Receiver<Order>) -> Option<Order> {
    match tokio::time::timeout(SHIM_REST_MAX, &mut next).await {
        Ok(order) => order.ok(),
        Err(_) => {
            next.close();
            // It may have come at the last moment.
            next.try_recv().ok()
        }
    }
}
