//! The callback listener: what job containers can reach, and nothing else.
//!
//! On a socket of its own, so that the network of the jobs never touches the API. The token in the `Authorization`
//! header is the whole authority: it is good for one attempt, to say what became of it, or as the token of a worker to
//! work on the queue of its pool.
//!
//! Invariant: a caller without the token of an attempt gets the same 403 whatever it asks about, so that
//! nothing can be learnt here about which jobs exist.

pub(crate) mod handler;
mod queues;
pub mod server;

use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{ResponseError as _, Route};
use dogwatch_actors::handle::Handle;

use crate::api::body::Bodies;
use crate::api::problem::Problem;
use crate::api::route_tree::{Leaf, plant};
use crate::api::routes::not_found;

/// The route of callbacks.
pub const PATTERN: &str = "/v1/callbacks/{job}/{attempt}";

const VERSION: &str = "/v1";

/// How a route is made, for each worker of the server anew.
type MakeRoute = fn() -> Route;

/// The routes that attempts call, for any scope of an application. Give it a scope of its own: it brings the
/// answer for everything else in the scope.
pub fn configure(handle: Handle) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
    let (handle, bodies) = (Data::new(handle), Bodies::default());
    move |config| {
        let other_methods = || async { Problem::method_not_allowed("POST").error_response() };
        let below = |pattern: &'static str| pattern.strip_prefix(VERSION).unwrap_or(pattern);
        let own = (PATTERN, (|| web::post().to(handler::callback)) as MakeRoute);
        let leaf = |(pattern, route): (&'static str, MakeRoute)| {
            let make =
                move |rest: &str| web::resource(rest).route(route()).default_service(web::to(other_methods));
            Leaf::new(below(pattern), make)
        };
        let leaves = std::iter::once(own).chain(queues::ROUTES).map(leaf).collect();
        let scope = plant(web::scope(VERSION), leaves).app_data(handle).app_data(bodies);
        config.service(scope).default_service(web::to(not_found));
    }
}
