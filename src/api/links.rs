//! Where things are, as seen by the client of this request.
//!
//! The routes may be mounted under any scope of a larger application; every link carries that scope's path,
//! taken from the request itself. No host: the client knows how it got here.

use std::collections::BTreeMap;

use actix_web::HttpRequest;
use dogwatch_actors::id::JobId;
use dogwatch_actors::job::view::{JobState, JobView};

/// The path under which the routes are mounted: empty at the root, else `/scope` without a final slash.
pub(crate) fn prefix(req: &HttpRequest) -> String {
    let pattern = req.match_pattern().unwrap_or_default();
    prefix_of(&pattern, req.path()).to_owned()
}

/// Our own routes are the last segments of the pattern, and each of their parameters is one segment. Counting
/// segments leaves the scope's part of the path, whatever parameters the scope's own pattern has.
fn prefix_of<'a>(pattern: &str, path: &'a str) -> &'a str {
    let own = ["/v1/", "/openapi.json", "/metrics", "/livez", "/readyz"];
    let mut slashes = pattern.rmatch_indices('/').map(|(at, _)| at);
    // A reference to a `&str` would be searched for instead of compared.
    let Some(start) = slashes.find(|at| own.iter().any(|route| pattern[*at..].starts_with(*route))) else {
        return "";
    };
    let mut rest = path;
    for _ in pattern[start..].matches('/') {
        rest = rest.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    rest
}

/// The path of a job.
pub(crate) fn job_path(prefix: &str, id: JobId) -> String {
    format!("{prefix}/v1/jobs/{id}")
}

/// The job with links for this client.
pub(crate) fn with_links(mut job: JobView, prefix: &str) -> JobView {
    job.links = of_job(job.id, job.state, prefix);
    job
}

/// What can be done with a job in this state.
fn of_job(id: JobId, state: JobState, prefix: &str) -> BTreeMap<String, String> {
    let own = job_path(prefix, id);
    let verbs: &[&str] = match state {
        JobState::Succeeded => &[],
        JobState::Failed | JobState::Cancelled => &["retry"],
        JobState::Suspended => &["resume", "cancel"],
        _ => &["suspend", "restart", "cancel"],
    };
    let parts = ["history", "logs", "artifacts"].iter().chain(verbs);
    let mut links: BTreeMap<String, String> =
        parts.map(|part| ((*part).to_owned(), [&own, "/", part].concat())).collect();
    links.insert("self".to_owned(), own);
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_the_scope_of_the_request() {
        let table = [
            ("/v1/jobs", "/v1/jobs", ""),
            ("/v1/jobs/{id}", "/v1/jobs/x", ""),
            ("/dogwatch/v1/jobs/{id}/events/{name}", "/dogwatch/v1/jobs/x/events/v1", "/dogwatch"),
            ("/{tenant}/v1/v1/jobs/{id}", "/acme/v1/v1/jobs/x", "/acme/v1"),
            ("/a/b/openapi.json", "/a/b/openapi.json", "/a/b"),
        ];
        for (pattern, path, prefix) in table {
            assert_eq!(prefix_of(pattern, path), prefix, "{pattern}");
        }
    }

    #[test]
    fn links_offer_what_the_state_allows() {
        let id: JobId = "01939f6e-2d5c-7a00-8000-0123456789ab".parse().unwrap();
        let links = of_job(id, JobState::Running, "/dogwatch");
        assert_eq!(links["cancel"], format!("/dogwatch/v1/jobs/{id}/cancel"));
        assert_eq!(links["self"], format!("/dogwatch/v1/jobs/{id}"));
        assert!(!of_job(id, JobState::Succeeded, "").contains_key("cancel"));
        assert!(of_job(id, JobState::Failed, "").contains_key("retry"));
    }
}
