//! Who may use the API: the extension's system key is one of our API keys.

use actix_web::HttpRequest;

use super::answer::Refusal;
use super::parameters::Parameters;
use crate::api::Auth;

/// The header in which Azure's clients send a key.
const FUNCTIONS_KEY: &str = "x-functions-key";

/// Lets a request in that has a key: as `code` in its query, as `x-functions-key`, or as everywhere else.
pub(super) fn check(auth: &Auth, req: &HttpRequest, parameters: &Parameters) -> Result<(), Refusal> {
    let header = req.headers().get(FUNCTIONS_KEY).and_then(|value| value.to_str().ok());
    let checked = match parameters.text("code").or(header) {
        Some(presented) => auth.check_key(presented),
        None => auth.check(req.headers()),
    };
    checked.map_err(|_| Refusal::unauthorized())
}
