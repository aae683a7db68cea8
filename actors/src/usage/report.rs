//! What is shown of the books. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::charge::Account;
use super::ledger::Sum;
use super::{Usage, UsageView};
use crate::clock::Timestamp;
use crate::limits::{USAGE_ITEMS_MAX, USAGE_LINES_MAX};

/// What a report has a line for each of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum By {
    /// Tenants.
    #[default]
    Tenant,
    /// Names of jobs.
    Name,
    /// Runtimes.
    Runtime,
    /// What started the jobs.
    Source,
    /// The values of this label.
    Label(String),
    /// Jobs.
    Job,
}

/// The text names nothing that a report can be by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not what usage can be shown by; use tenant, name, runtime, source, job or label:KEY")]
pub struct InvalidBy(String);

impl FromStr for By {
    type Err = InvalidBy;

    fn from_str(text: &str) -> Result<Self, InvalidBy> {
        match text {
            "tenant" => Ok(Self::Tenant),
            "name" => Ok(Self::Name),
            "runtime" => Ok(Self::Runtime),
            "source" => Ok(Self::Source),
            "job" => Ok(Self::Job),
            _ => match text.split_once(':') {
                Some(("label", key)) if !key.is_empty() => Ok(Self::Label(key.to_owned())),
                // No more of it than shows what is wrong.
                _ => Err(InvalidBy(text.chars().take(64).collect())),
            },
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str("tenant"),
            Self::Name => f.write_str("name"),
            Self::Runtime => f.write_str("runtime"),
            Self::Source => f.write_str("source"),
            Self::Job => f.write_str("job"),
            Self::Label(key) => write!(f, "label:{key}"),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// A line for each of these.
    pub by: By,
    /// Attempts whose end was recorded in the hour of this time or later; with [`By::Job`], jobs that were submitted then.
    pub since: Option<Timestamp>,
    /// Before the hour of this time.
    pub until: Option<Timestamp>,
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only of jobs with this name.
    pub name: Option<String>,
    /// Only of jobs with these labels.
    pub labels: BTreeMap<String, String>,
}

impl Question {
    fn admits(&self, account: &Account) -> bool {
        (self.tenant.is_none() || self.tenant == account.tenant)
            && (self.name.is_none() || self.name == account.name)
            && self.labels.iter().all(|(key, value)| account.labels.get(key) == Some(value))
    }
}

/// What was used, line by line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageReport {
    /// What the lines are by.
    pub by: String,
    /// From when: the beginning of an hour.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until when, exclusively: the beginning of an hour.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// The lines, those with the longest running time first.
    pub items: Vec<UsageItem>,
    /// Everything together, also what has no line.
    pub total: UsageTotal,
    /// What could not be kept apart by names and labels, of these tenants: a report by those, or of only some, lacks it.
    pub not_kept_apart: UsageTotal,
    /// There are more lines than are shown. With `by=job` the total may then lack some, too.
    pub truncated: bool,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageItem {
    /// Whose: a tenant, a name, the value of the label. `null`: of what has none, and of what could not be kept apart.
    pub key: Option<String>,
    /// What it used.
    #[serde(flatten)]
    pub used: UsageTotal,
}

/// What some attempts used.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct UsageTotal {
    /// How many attempts.
    pub attempts: u64,
    /// What they used.
    #[serde(flatten)]
    pub usage: UsageView,
}

/// Adds up what a report shows.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    lines: BTreeMap<Option<String>, (u64, Usage)>,
    total: (u64, Usage),
    not_kept_apart: (u64, Usage),
    /// Some lines were put together.
    is_full: bool,
}

impl Tally {
    /// Adds a sum of the books, where it is asked for.
    pub(crate) fn add_sum(&mut self, question: &Question, sum: Sum) {
        let is_of_tenant = question.tenant.is_none() || question.tenant == sum.account.tenant;
        if sum.account.others && is_of_tenant {
            add(&mut self.not_kept_apart, sum.attempts, sum.usage);
        }
        if !question.admits(&sum.account) {
            return;
        }
        let Sum { mut account, attempts, usage } = sum;
        let key = match &question.by {
            By::Tenant => account.tenant,
            By::Name => account.name,
            By::Runtime => account.runtime,
            By::Source => account.source,
            By::Label(key) => account.labels.remove(key),
            By::Job => None,
        };
        self.add(key, attempts, usage);
    }

    /// Adds to the line of `key`.
    pub(crate) fn add(&mut self, key: Option<String>, attempts: u64, usage: Usage) {
        let is_full = self.lines.len() >= USAGE_LINES_MAX && !self.lines.contains_key(&key);
        self.is_full |= is_full;
        let key = key.filter(|_| !is_full);
        add(self.lines.entry(key).or_default(), attempts, usage);
        add(&mut self.total, attempts, usage);
    }

    /// What comes of it; `more` says that not everything was added.
    pub(crate) fn report(self, by: &By, (since, until): (Timestamp, Timestamp), more: bool) -> UsageReport {
        let shown = |(attempts, usage): (u64, Usage)| UsageTotal { attempts, usage: usage.view() };
        let mut lines: Vec<_> = self.lines.into_iter().collect();
        lines.sort_by(|(one, (_, a)), (other, (_, b))| {
            b.running_ms.cmp(&a.running_ms).then_with(|| one.cmp(other))
        });
        let truncated = more || self.is_full || lines.len() > USAGE_ITEMS_MAX;
        let lines = lines.into_iter().take(USAGE_ITEMS_MAX);
        UsageReport {
            by: by.to_string(),
            since,
            until,
            items: lines.map(|(key, used)| UsageItem { key, used: shown(used) }).collect(),
            total: shown(self.total),
            not_kept_apart: shown(self.not_kept_apart),
            truncated,
        }
    }
}

fn add((count, sum): &mut (u64, Usage), attempts: u64, usage: Usage) {
    *count += attempts;
    *sum += usage;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(tenant: &str, team: Option<&str>) -> Account {
        let labels = team.map(|team| ("team".to_owned(), team.to_owned())).into_iter().collect();
        Account {
            tenant: Some(tenant.into()),
            name: Some("nightly".into()),
            runtime: Some("process".into()),
            labels,
            ..Account::default()
        }
    }

    fn lines(question: &Question) -> Vec<(Option<String>, u64, f64)> {
        let mut tally = Tally::default();
        let sums = [
            (account("a", Some("x")), 1, 1_000),
            (account("a", Some("y")), 2, 5_000),
            (account("b", Some("x")), 3, 9_000),
            (account("b", None), 4, 500),
        ];
        for (account, attempts, running_ms) in sums {
            let usage = Usage { running_ms, ..Usage::default() };
            tally.add_sum(question, Sum { account, attempts, usage });
        }
        let span = (Timestamp::from_millis(0), Timestamp::from_millis(1));
        let report = tally.report(&question.by, span, false);
        let total: u64 = report.items.iter().map(|item| item.used.attempts).sum();
        assert_eq!(report.total.attempts, total);
        let line = |item: UsageItem| (item.key, item.used.attempts, item.used.usage.container_seconds);
        report.items.into_iter().map(line).collect()
    }

    fn key(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn lines_are_by_what_is_asked_for_the_longest_first() {
        let by = |text: &str| Question { by: text.parse().unwrap(), ..Question::default() };
        assert_eq!(lines(&by("tenant")), [(key("b"), 7, 9.5), (key("a"), 3, 6.0)]);
        assert_eq!(lines(&by("label:team")), [(key("x"), 4, 10.0), (key("y"), 2, 5.0), (None, 4, 0.5)]);
        assert_eq!(lines(&by("name")), [(key("nightly"), 10, 15.5)]);
        assert_eq!(lines(&by("runtime")), [(key("process"), 10, 15.5)]);
        assert_eq!(lines(&by("source")), [(None, 10, 15.5)]);
    }

    #[test]
    fn only_what_is_asked_for_counts() {
        let asked = Question { tenant: key("a"), by: "label:team".parse().unwrap(), ..Question::default() };
        assert_eq!(lines(&asked), [(key("y"), 2, 5.0), (key("x"), 1, 1.0)]);
        let labels = BTreeMap::from([("team".to_owned(), "x".to_owned())]);
        let asked = Question { labels, ..Question::default() };
        assert_eq!(lines(&asked), [(key("b"), 3, 9.0), (key("a"), 1, 1.0)]);
        let asked = Question { name: key("other"), ..Question::default() };
        assert_eq!(lines(&asked), []);
    }

    #[test]
    fn what_could_not_be_kept_apart_is_told() {
        let question =
            Question { by: "label:team".parse().unwrap(), name: key("nightly"), ..Question::default() };
        let mut tally = Tally::default();
        for account in [account("a", Some("x")), account("a", Some("y")).of_tenant()] {
            tally.add_sum(&question, Sum { account, attempts: 1, usage: Usage::default() });
        }
        let span = (Timestamp::from_millis(0), Timestamp::from_millis(1));
        let report = tally.report(&question.by, span, false);
        assert_eq!((report.total.attempts, report.not_kept_apart.attempts), (1, 1));
    }

    #[test]
    fn lines_are_bounded_while_they_are_made() {
        let mut tally = Tally::default();
        for line in 0..USAGE_LINES_MAX + 10 {
            tally.add(Some(line.to_string()), 1, Usage::default());
        }
        assert_eq!(tally.lines.len(), USAGE_LINES_MAX + 1);
        assert_eq!(tally.lines[&None].0, 10);
    }

    #[test]
    fn what_it_can_be_by_is_said() {
        for text in ["tenant", "name", "runtime", "source", "job", "label:team", "label:a:b"] {
            assert_eq!(text.parse::<By>().unwrap().to_string(), text);
        }
        for text in ["", "label", "label:", "team", "labels:x"] {
            let error = text.parse::<By>().unwrap_err().to_string();
            assert!(error.contains("label:KEY"), "{error}");
        }
    }

    #[test]
    fn a_report_has_an_end() {
        let mut tally = Tally::default();
        for line in 0..=USAGE_ITEMS_MAX {
            tally.add(Some(line.to_string()), 1, Usage::default());
        }
        let span = (Timestamp::from_millis(0), Timestamp::from_millis(1));
        let report = tally.report(&By::Tenant, span, false);
        assert!(report.truncated);
        assert_eq!(report.items.len(), USAGE_ITEMS_MAX);
        assert_eq!(report.total.attempts, 1_001);
    }
}
