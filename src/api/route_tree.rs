//! Routes as a tree of scopes, one segment of the path at a time.
//!
//! A scope of actix tries its resources one after the other, each that has parameters with a regular expression: the
//! sixty of the API in a row were a fifth of what an event cost. In a tree a request passes one expression for each
//! parameter of its path, however many routes there are.
//!
//! Not responsible for what a resource answers, nor for who may ask.
//!
//! Invariant: what a resource matches is what its whole pattern says; a segment that is written out goes before a
//! parameter in its place.

use actix_web::web;
use actix_web::{Resource, Scope};

use super::routes::not_found;

/// A resource that is made for what the scopes above it leave of its pattern.
pub(crate) struct Leaf<'a> {
    pattern: &'a str,
    make: Box<dyn Fn(&str) -> Resource + 'a>,
}

impl<'a> Leaf<'a> {
    /// A resource at `pattern`: empty for the scope itself, else it begins with a slash.
    pub(crate) fn new(pattern: &'a str, make: impl Fn(&str) -> Resource + 'a) -> Self {
        Self { pattern, make: Box::new(make) }
    }

    /// The first segment with its slash.
    fn first(&self) -> &'a str {
        let end = self.pattern.match_indices('/').nth(1).map_or(self.pattern.len(), |(at, _)| at);
        &self.pattern[..end]
    }
}

/// Puts the resources below `scope`, which answers 404 to everything else.
pub(crate) fn plant(mut scope: Scope, leaves: Vec<Leaf<'_>>) -> Scope {
    let mut branches: Vec<(&str, Vec<Leaf<'_>>)> = Vec::new();
    for leaf in leaves {
        let first = leaf.first();
        match branches.iter_mut().find(|(segment, _)| *segment == first) {
            Some((_, branch)) => branch.push(leaf),
            None => branches.push((first, vec![leaf])),
        }
    }
    branches.sort_by_key(|(segment, _)| segment.contains('{'));
    for (segment, mut branch) in branches {
        if let [leaf] = branch.as_slice() {
            scope = scope.service((leaf.make)(leaf.pattern));
            continue;
        }
        for leaf in &mut branch {
            leaf.pattern = &leaf.pattern[segment.len()..];
        }
        scope = scope.service(plant(web::scope(segment), branch));
    }
    scope.default_service(web::to(not_found))
}

#[cfg(test)]
mod tests {
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, HttpRequest};

    use super::*;

    /// Answers with its pattern and what its parameters are.
    fn echo(pattern: &str) -> Resource {
        web::resource(pattern).to(|req: HttpRequest| async move {
            let parameters: Vec<String> =
                req.match_info().iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {}", req.match_pattern().unwrap_or_default(), parameters.join(","))
        })
    }

    #[actix_web::test]
    async fn every_route_is_found_and_nothing_else() {
        let patterns = [
            "/jobs",
            "/jobs/{id}",
            "/jobs/{id}/cancel",
            "/jobs/{id}/events/{name}",
            "/jobs/{id}/artifacts",
            "/jobs/{id}/artifacts/{path:.+}",
            "/schedules/{name}",
            "/schedules/{name}/pause",
            "/schedules/preview",
            "/usage",
        ];
        let leaves = patterns.iter().map(|pattern| Leaf::new(pattern, echo)).collect();
        let app = init_service(App::new().service(plant(web::scope("/v1"), leaves))).await;
        let table = [
            ("/v1/jobs", Some("/v1/jobs ")),
            ("/v1/jobs/7", Some("/v1/jobs/{id} id=7")),
            ("/v1/jobs/7/cancel", Some("/v1/jobs/{id}/cancel id=7")),
            ("/v1/jobs/7/events/x", Some("/v1/jobs/{id}/events/{name} id=7,name=x")),
            ("/v1/jobs/7/artifacts", Some("/v1/jobs/{id}/artifacts id=7")),
            ("/v1/jobs/7/artifacts/a/b.txt", Some("/v1/jobs/{id}/artifacts/{path:.+} id=7,path=a/b.txt")),
            ("/v1/schedules/preview", Some("/v1/schedules/preview ")),
            ("/v1/schedules/previews", Some("/v1/schedules/{name} name=previews")),
            ("/v1/schedules/x/pause", Some("/v1/schedules/{name}/pause name=x")),
            ("/v1/usage", Some("/v1/usage ")),
            ("/v1", None),
            ("/v1/", None),
            ("/v1/jobs/", None),
            ("/v1/jobs/7/", None),
            ("/v1/jobs/7/events", None),
            ("/v1/jobs/7/cancel/x", None),
            ("/v1/jobsx", None),
            ("/v1/usage/x", None),
        ];
        for (path, expected) in table {
            let answer = call_service(&app, TestRequest::with_uri(path).to_request()).await;
            let found = answer.status().is_success();
            let body = read_body(answer).await;
            assert_eq!(
                found.then(|| String::from_utf8_lossy(&body).into_owned()).as_deref(),
                expected,
                "{path}"
            );
        }
    }
}
