//! What was used: reports from the books, and of the jobs that are stored.

use super::{Filter, Handle, Result};
use crate::clock::Timestamp;
use crate::limits::{LIST_PAGE_MAX, USAGE_ITEMS_MAX, USAGE_REPORT_HOURS};
use crate::usage::charge::{begin_of, hour_of};
use crate::usage::report::{By, Question, Tally, UsageReport};

impl Handle {
    /// What was used, line by line, in whole hours. Has every attempt whose end was durable when it was asked.
    pub async fn usage(&self, question: &Question) -> Result<UsageReport> {
        let until = question.until.unwrap_or_else(|| self.inner.clock.now());
        // An hour that has begun is meant whole.
        let before = hour_of(Timestamp::from_millis(until.as_millis().saturating_sub(1))).saturating_add(1);
        let from = match question.since {
            Some(since) => hour_of(since),
            None => before.saturating_sub(USAGE_REPORT_HOURS),
        };
        // What has not come yet is empty.
        let before = before.max(from);
        let span = (begin_of(from), begin_of(before));
        if question.by == By::Job {
            return self.usage_of_jobs(question, span);
        }
        let mut tally = Tally::default();
        self.inner.ledger.read(from..before, |sum| tally.add_sum(question, sum)).await?;
        Ok(tally.report(&question.by, span, false))
    }

    /// Of the jobs that were submitted in this time and are stored, the newest first to be counted.
    fn usage_of_jobs(&self, question: &Question, span: (Timestamp, Timestamp)) -> Result<UsageReport> {
        let (mut tally, mut lines) = (Tally::default(), 0);
        let mut filter = Filter {
            labels: question.labels.clone(),
            name: question.name.clone(),
            limit: LIST_PAGE_MAX,
            created_after: Some(span.0),
            created_before: Some(span.1),
            ..Filter::default()
        };
        loop {
            let (jobs, next) = self.listed(&filter)?;
            for job in jobs {
                let tenant = self.inner.ledger.tenant_of(&job.given.spec);
                let is_asked = question.tenant.as_deref().is_none_or(|asked| asked == tenant);
                if job.charged == 0 || !is_asked {
                    continue;
                }
                if lines == USAGE_ITEMS_MAX {
                    return Ok(tally.report(&question.by, span, true));
                }
                tally.add(Some(job.id.to_string()), u64::from(job.charged), job.usage);
                lines += 1;
            }
            filter.before = next;
            if next.is_none() {
                return Ok(tally.report(&question.by, span, false));
            }
        }
    }
}
