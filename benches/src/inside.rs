//! A supervisor in this process, without HTTP and without a disk: how many messages become transitions.
//!
//! It runs as a process of its own, so that it can be looked at with a profiler and its memory is its own.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dogwatch_actors::fleet::Budget;
use dogwatch_actors::handle::{Callback, Handle};
use dogwatch_actors::id::JobId;
use dogwatch_actors::job::parse::parse;
use dogwatch_actors::job::view::JobState;
use dogwatch_actors::store;
use dogwatch_actors::supervisor::Supervisor;
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::child::until;
use crate::error::{Error, Result, file};
use crate::ghost::Ghosts;
use crate::workload::ghost;

/// How long the jobs may take to run.
const RUNNING_PATIENCE: Duration = Duration::from_secs(120);

/// Events on their way at once, of all threads together: enough that no thread ever waits for want of them.
const IN_FLIGHT: usize = 2_048;

/// Raises so many events to so many running jobs from so many threads, and writes what came of it to `tell`.
pub(crate) fn mailbox(jobs: usize, events: u64, threads: usize, tell: &Path) -> Result<()> {
    let found = actix::System::new().block_on(async {
        let place = tell.with_extension("logs");
        let builder = Supervisor::builder().store(store::volatile()).logs_dir(place);
        let budget = Budget { attempts_max: jobs, ..Budget::default() };
        let supervisor = builder.runtime(Arc::new(Ghosts::default())).budget(budget).start().await?;
        let handle = supervisor.handle();
        let ids: Arc<[JobId]> = running(&handle, jobs).await?.into();
        let started = Instant::now();
        let next = Arc::new(AtomicU64::new(0));
        let senders = (0..threads).map(|_| {
            let (handle, ids, next) = (handle.clone(), Arc::clone(&ids), Arc::clone(&next));
            tokio::task::spawn_blocking(move || send(&handle, &ids, &next, events, IN_FLIGHT / threads))
        });
        for outcome in try_join_all(senders).await.map_err(|error| Error::Void(error.to_string()))? {
            outcome?;
        }
        let took = started.elapsed();
        supervisor.shutdown().await;
        Ok::<Value, Error>(json!({"rate": events as f64 / took.as_secs_f64()}))
    })?;
    std::fs::write(tell, found.to_string()).map_err(file(tell))
}

/// So many jobs that run.
async fn running(handle: &Handle, jobs: usize) -> Result<Vec<JobId>> {
    let spec = parse(&ghost(None)).map_err(|faults| Error::Void(format!("{faults:?}")))?;
    let submissions = stream::iter(0..jobs).map(|_| handle.submit(spec.clone()));
    let submitted: Vec<_> = submissions.buffer_unordered(1_024).try_collect().await?;
    let ids: Vec<JobId> = submitted.into_iter().map(|submitted| submitted.job.id).collect();
    for id in &ids {
        until("a job runs", RUNNING_PATIENCE, async || {
            Ok((handle.job(*id)?.state == JobState::Running).then_some(()))
        })
        .await?;
    }
    Ok(ids)
}

/// One thread of senders.
fn send(handle: &Handle, ids: &[JobId], next: &AtomicU64, events: u64, in_flight: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Error::Program { program: "tokio".to_owned(), source })?;
    let data = Rc::new(json!({"rows": 5_000}));
    runtime.block_on(async {
        let sender = async || loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= events {
                return Ok::<(), Error>(());
            }
            let event = Callback { event: "imported".to_owned(), id: None, data: (*data).clone() };
            handle.raise(ids[number as usize % ids.len()], event).await?;
        };
        try_join_all((0..in_flight).map(|_| sender())).await.map(drop)
    })
}
