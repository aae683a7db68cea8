//! The URLs that a client of the extension is given, in the extension's order.

use std::fmt::Write as _;

use actix_web::HttpRequest;
use actix_web::http::header::HOST;
use dogwatch_actors::orchestration::InstanceId;
use serde::Serialize;
use url::form_urlencoded::byte_serialize;

use super::BASE;
use super::parameters::Parameters;

/// The task hub that is named where the client named none.
const TASK_HUB: &str = "dogwatch";

/// The connection that is named where the client named none.
const CONNECTION: &str = "Storage";

/// Where an instance can be asked about and told things.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Management {
    id: String,
    pub(super) status_query_get_uri: String,
    send_event_post_uri: String,
    terminate_post_uri: String,
    purge_history_delete_uri: String,
    restart_post_uri: String,
    suspend_post_uri: String,
    resume_post_uri: String,
}

/// The URLs for an instance, as the client of this request reaches it.
pub(super) fn management(req: &HttpRequest, parameters: &Parameters, id: InstanceId) -> Management {
    let own = instance_url(req, id);
    let suffix = suffix(parameters);
    let verb = |verb: &str| format!("{own}/{verb}?reason={{text}}&{suffix}");
    Management {
        id: id.local().to_owned(),
        status_query_get_uri: format!("{own}?{suffix}"),
        send_event_post_uri: format!("{own}/raiseEvent/{{eventName}}?{suffix}"),
        terminate_post_uri: verb("terminate"),
        purge_history_delete_uri: format!("{own}?{suffix}"),
        restart_post_uri: format!("{own}/restart?{suffix}"),
        suspend_post_uri: verb("suspend"),
        resume_post_uri: verb("resume"),
    }
}

fn instance_url(req: &HttpRequest, id: InstanceId) -> String {
    let scope = req.path().rfind(BASE).map_or("", |at| &req.path()[..at]);
    let id: String = byte_serialize(id.local().as_bytes()).collect();
    format!("{}{scope}{BASE}/instances/{id}", origin(req))
}

/// Scheme and host that the client has asked, as it said or a proxy did. Nothing where nobody said so, which is for HTTP/1.0
/// only (RFC 9112, section 3.2): what follows is relative to what was asked then.
pub(super) fn origin(req: &HttpRequest) -> String {
    let connection = req.connection_info();
    let is_guessed = connection.host() == req.app_config().host() && !req.headers().contains_key(HOST);
    if is_guessed { String::new() } else { format!("{}://{}", connection.scheme(), connection.host()) }
}

/// What every URL ends with. The key is in it only where the client sent it in its own.
fn suffix(parameters: &Parameters) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let hub = encoded(parameters.text("taskHub").unwrap_or(TASK_HUB));
    let connection = encoded(parameters.text("connection").unwrap_or(CONNECTION));
    let mut suffix = format!("taskHub={hub}&connection={connection}");
    if let Some(code) = parameters.text("code") {
        // Writing to a text cannot fail.
        let _written = write!(suffix, "&code={}", encoded(code));
    }
    suffix
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn links_begin_with_what_the_client_asked_or_with_nothing() {
        let asked = |headers: &[(&str, &str)]| {
            let with = |req: TestRequest, header: &(&str, &str)| req.insert_header((header.0, header.1));
            origin(&headers.iter().fold(TestRequest::get(), with).to_http_request())
        };
        assert_eq!(asked(&[("host", "10.0.0.1:7070")]), "http://10.0.0.1:7070");
        // As it happens, what the server would guess.
        assert_eq!(asked(&[("host", "localhost:8080")]), "http://localhost:8080");
        let proxied = [("x-forwarded-proto", "https"), ("x-forwarded-host", "jobs.example.org")];
        assert_eq!(asked(&proxied), "https://jobs.example.org");
        assert_eq!(asked(&[]), "");
    }
}
