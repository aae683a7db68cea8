//! The logs of a job: of one attempt, or of all from one on for as long as it lives.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::timeout;

use super::{Error, Handle, LogQuery, Result};
use crate::durable::published::Wanted;
use crate::id::{AttemptKey, JobId};
use crate::job::state::Job;
use crate::job::view::AttemptState;
use crate::limits::LOG_DRAIN_MAX;
use crate::logs::Start;
use crate::runtime::LogLine;

type Lines = BoxStream<'static, Result<LogLine>>;

impl Handle {
    /// The log of a job. Without `follow`: what there is of one attempt. With it: what comes, until that
    /// attempt is over, or, where none was named, the job.
    pub fn logs(&self, id: JobId, query: LogQuery) -> Result<Lines> {
        let job = self.state(id)?;
        self.logs_of(&job, query, None)
    }

    /// The same of one container of a job, by its name; `None` when the job has no such container.
    pub fn container_logs(&self, id: JobId, container: &str, query: LogQuery) -> Result<Option<Lines>> {
        let job = self.state(id)?;
        let spec = &job.given.spec;
        if container == spec.main_name() {
            return self.logs_of(&job, query, None).map(Some);
        }
        if !spec.members().any(|member| member.name == container) {
            return Ok(None);
        }
        self.logs_of(&job, query, Some(container.to_owned())).map(Some)
    }

    fn logs_of(&self, job: &Job, query: LogQuery, member: Option<String>) -> Result<Lines> {
        let id = job.id;
        if let Some(number) = query.attempt
            && (number == 0 || number > job.attempt)
        {
            return Err(Error::NoAttempt(AttemptKey::new(id, number)));
        }
        let first = query.attempt.unwrap_or_else(|| job.attempt.max(1));
        if !query.follow {
            let key = AttemptKey::new(id, first);
            if is_over(job, first) && self.inner().logs.is_being_saved(key) {
                // Its last lines are on their way, and whoever asks now wants them too.
                return Ok(self.follow(key, query, member));
            }
            return Ok(self.reader(key, query, member.as_deref()).lines().map_err(Error::from).boxed());
        }
        if query.attempt.is_some() {
            return Ok(self.follow(AttemptKey::new(id, first), query, member));
        }
        let later = LogQuery { tail: None, ..query };
        let state = (self.clone(), Some(first), query, member);
        let attempts = stream::unfold(state, move |(handle, number, query, member)| async move {
            let key = AttemptKey::new(id, number?);
            let next = handle.begun(key).await.then_some(key.number + 1);
            let lines = match next {
                Some(_) => handle.follow(key, query, member.clone()),
                None => stream::empty().boxed(),
            };
            Some((lines, (handle, next, later, member)))
        });
        Ok(attempts.flatten().boxed())
    }

    fn reader(&self, key: AttemptKey, query: LogQuery, member: Option<&str>) -> crate::logs::LogReader {
        let start = query.tail.map_or(Start::Beginning, Start::Last);
        let logs = &self.inner().logs;
        let reader = member.map_or_else(|| logs.reader(key), |member| logs.member_reader(key, member));
        reader.from(start).only(query.stream)
    }

    fn follow(&self, key: AttemptKey, query: LogQuery, member: Option<String>) -> Lines {
        let handle = self.clone();
        let over = async move {
            handle.until(key.job, move |job| is_over(job, key.number)).await;
            let logs = handle.inner().logs.clone();
            drop(timeout(LOG_DRAIN_MAX, logs.saved(key)).await);
        };
        self.reader(key, query, member.as_deref()).follow(over).map_err(Error::from).boxed()
    }

    /// Waits until the attempt exists; `false` when the job ends without it.
    async fn begun(&self, key: AttemptKey) -> bool {
        self.until(key.job, move |job| job.attempt >= key.number || job.state().is_terminal()).await;
        self.state(key.job).is_ok_and(|job| job.attempt >= key.number)
    }

    /// Waits until `holds` does, or the job is gone.
    async fn until(&self, id: JobId, holds: impl Fn(&Job) -> bool + Send + Sync + 'static) {
        let wanted: Wanted<Job> = Arc::new(move |job| job.is_none_or(&holds));
        if let Err(error) = self.inner().jobs.published().until(id, &wanted).await {
            tracing::warn!(job = %id, %error, "the job whose output is followed cannot be read");
        }
    }
}

fn is_over(job: &Job, number: u32) -> bool {
    let record = job.attempts.iter().find(|attempt| attempt.number == number);
    job.attempt > number
        || job.state().is_terminal()
        || record.is_some_and(|record| job.attempt_state(record) == AttemptState::Exited)
}
