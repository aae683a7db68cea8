//! Reports of what was used.

use dogwatch_actors::usage::report::UsageReport;
use reqwest::Method;

use super::{Answer, Client, Result, with_query};

/// What to ask for; what is absent is the server's default.
#[derive(Debug, Clone, Default)]
pub struct UsageQuery {
    /// What has a line each: `tenant`, `label:KEY` and so on.
    pub by: Option<String>,
    /// From when, RFC 3339.
    pub since: Option<String>,
    /// Until when, RFC 3339.
    pub until: Option<String>,
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only of jobs with this name.
    pub name: Option<String>,
    /// Only of jobs with these labels, as `key:value`.
    pub labels: Vec<String>,
}

impl Client {
    /// What was used.
    pub async fn usage(&self, query: &UsageQuery) -> Result<Answer<UsageReport>> {
        let single = [
            ("by", &query.by),
            ("since", &query.since),
            ("until", &query.until),
            ("tenant", &query.tenant),
            ("name", &query.name),
        ];
        let single = single.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        let pairs = single.chain(query.labels.iter().map(|label| ("label", label.clone())));
        self.ask(self.request(Method::GET, &with_query("/v1/usage", pairs))).await
    }
}
