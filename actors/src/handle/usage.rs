//! What was used: reports from the books, and of the jobs that are stored.

use super::{Filter, Handle, Result};
use crate::clock::Timestamp;
use crate::limits::{LIST_PAGE_MAX, USAGE_JOBS_READ_MAX, USAGE_REPORT_HOURS};
use crate::usage::charge::{begin_of, hour_of};
use crate::usage::report::{By, Question, Tally, UsageReport};

impl Handle {
    /// What was used, line by line, in whole hours. Has every attempt whose end was durable when it was asked.
    pub async fn usage(&self, question: &Question) -> Result<UsageReport> {
        let (from, before, until) = self.hours(question);
        let span = (begin_of(from), until);
        if question.by == By::Job {
            return self.usage_of_jobs(question, span).await;
        }
        let mut tally = Tally::default();
        self.inner.ledger.read(from..before, |sum| tally.add_sum(question, sum)).await?;
        Ok(tally.report(&question.by, span, false))
    }

    /// From which hour, before which one, and what is told of that end. Both are cut to whole hours, so that reports that
    /// meet share nothing; without an end there is none, not even where the clock was set back.
    fn hours(&self, question: &Question) -> (u32, u32, Timestamp) {
        let next = hour_of(self.inner.clock.now()).saturating_add(1);
        let asked = question.until.map(hour_of);
        let told = asked.unwrap_or(next);
        let from = question.since.map_or_else(|| told.saturating_sub(USAGE_REPORT_HOURS), hour_of);
        (from, asked.unwrap_or(u32::MAX), begin_of(told.max(from)))
    }

    /// Of the stored jobs that were submitted in this time.
    async fn usage_of_jobs(&self, question: &Question, span: (Timestamp, Timestamp)) -> Result<UsageReport> {
        let (mut tally, mut read) = (Tally::default(), 0);
        let mut filter = Filter {
            labels: question.labels.clone(),
            name: question.name.clone(),
            limit: LIST_PAGE_MAX,
            created_after: Some(span.0),
            created_before: Some(span.1),
            ..Filter::default()
        };
        while read < USAGE_JOBS_READ_MAX {
            let (jobs, next) = self.listed(&filter)?;
            read += jobs.len().max(1);
            for job in jobs.iter().filter(|job| job.charged > 0) {
                let tenant = self.inner.ledger.tenant_of(&job.given.spec);
                if question.tenant.as_deref().is_none_or(|asked| asked == tenant) {
                    tally.add(Some(job.id.to_string()), u64::from(job.charged), job.usage);
                }
            }
            filter.before = next;
            if next.is_none() {
                return Ok(tally.report(&question.by, span, false));
            }
            tokio::task::yield_now().await;
        }
        Ok(tally.report(&question.by, span, true))
    }
}
