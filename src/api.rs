//! The REST API over a [`Handle`].
//!
//! Responsible for HTTP only: it reads requests, refuses what is malformed, asks the handle and writes the
//! answer. What a job may do and what is durable is decided behind the handle.
//!
//! The routes can be mounted under any scope of a larger actix-web application:
//!
//! ```no_run
//! # use actix_web::{App, web};
//! # use dogwatch_actors::handle::Handle;
//! use dogwatch::api::{Auth, Mount as _};
//!
//! # fn mount(handle: &Handle) {
//! let app = App::new().service(web::scope("/dogwatch").configure(handle.configure(Auth::none())));
//! # }
//! ```
//!
//! Give it a scope of its own: it brings the answer for everything in the scope that is no route.
//!
//! Invariants: every answer that is an error is a problem document ([`problem`]), in whatever application;
//! nothing depends on application-level extractor configuration; a command that was read is carried out even
//! when the client goes away; every route but those that the table names public needs a key.

mod admission;
pub(crate) mod arrays;
mod auth;
pub(crate) mod body;
mod declared;
pub(crate) mod detached;
pub mod event_name;
mod events;
mod jobs;
mod links;
mod metrics;
pub mod openapi;
mod orchestrations;
mod pools;
mod probes;
pub mod problem;
pub(crate) mod query;
pub(crate) mod queues;
pub(crate) mod route_tree;
pub mod routes;
pub(crate) mod schedules;
pub mod server;
pub(crate) mod state;
mod store;
pub(crate) mod triggers;
mod usage;

use actix_web::web::{Data, ServiceConfig};
use dogwatch_actors::handle::Handle;

pub use self::arrays::ArrayList;
pub(crate) use self::auth::bearer;
pub use self::auth::{Auth, UnusableKey};
pub use self::jobs::artifacts::ArtifactList;
pub use self::jobs::history::HistoryPage;
pub use self::jobs::list::JobPage;
pub use self::jobs::webhooks::WebhookList;
pub use self::orchestrations::history::InstanceHistoryPage;
pub use self::pools::PoolList;
pub use self::probes::{Liveness, Readiness};
pub use self::queues::dead::Moved;
pub use self::queues::work::{Acked, Acks, ReceivedMessages};
pub use self::queues::{NewMessages, QueueList, SentMessages};
pub use self::schedules::{ScheduleList, TriggeredSchedule};
use self::state::Api;
pub use self::triggers::{DeclaredTrigger, TriggerList, TriggerToken};
use crate::{callbacks, durable_functions};

/// What is mounted.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The supervisor.
    pub handle: Handle,
    /// Who may use it.
    pub auth: Auth,
}

/// The routes of the API, for [`actix_web::App::configure`] or [`actix_web::Scope::configure`]. Make it once
/// and clone it into every worker: the clones share their limits.
pub fn configure(options: ApiOptions) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static {
    let api = Data::new(Api::new(options.handle));
    move |config| {
        durable_functions::register(config, &api, &options.auth);
        routes::register(config, &api, &options.auth);
    }
}

/// Mounting a supervisor in an application of one's own.
pub trait Mount {
    /// The routes of the API.
    fn configure(&self, auth: Auth) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + use<Self>;

    /// The route that attempts call. Mount it where their network reaches, and tell the supervisor its URL.
    fn configure_callbacks(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + use<Self>;
}

impl Mount for Handle {
    fn configure(&self, auth: Auth) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + use<> {
        configure(ApiOptions { handle: self.clone(), auth })
    }

    fn configure_callbacks(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + use<> {
        callbacks::configure(self.clone())
    }
}
