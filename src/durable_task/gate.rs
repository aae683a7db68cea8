//! Who is let in, and how far: whoever has a key may ask for everything, the worker of a pool's instance for its own
//! work only.
//!
//! It stands in front of the whole service and looks at the path of a call, so that a call that is not named here is
//! closed to such a worker. Not responsible for: which work is its own, which is asked where that matters.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use dogwatch_actors::handle::pools::{Pools, Scope};
use dogwatch_actors::orchestration::executor::remote::{Names, WorkerOptions};
use dogwatch_actors::secret::WORKER_TOKEN;
use futures_util::future::Either;
use futures_util::{StreamExt as _, stream};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Request, Status};

use super::refusal::of_pool;
use super::workers::WorkItems;
use crate::api::Auth;

/// What the worker of an instance may call: it is given activities, and nothing else.
const WORKER_CALLS: [&str; 4] =
    ["Hello", "GetWorkItems", "CompleteActivityTask", "AbandonTaskActivityWorkItem"];

/// Who is let in at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admits {
    /// Whoever has a key, and workers of pools.
    All,
    /// Workers of pools only.
    Instances,
}

/// The gate in front of a service.
#[derive(Debug, Clone)]
pub(super) struct Gate<S> {
    inner: S,
    auth: Auth,
    pools: Pools,
    admits: Admits,
}

impl<S> Gate<S> {
    pub(super) fn new(inner: S, auth: Auth, pools: Pools, admits: Admits) -> Self {
        Self { inner, auth, pools, admits }
    }

    /// Lets a call in, or says why not; the scope where it is the worker of a pool that calls.
    fn check(&self, path: &str, headers: &http::HeaderMap) -> Result<Option<Scope>, Status> {
        let mut presented = headers.get_all("authorization").iter();
        let value = match (presented.next(), presented.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        };
        let bearer = value.and_then(|value| value.split_once(' ')).map(|(_, token)| token.trim());
        if let Some(token) = bearer.filter(|token| token.starts_with(WORKER_TOKEN)) {
            let scope = self.pools.admit(token).map_err(of_pool)?;
            let call = path.rsplit('/').next().unwrap_or_default();
            return if WORKER_CALLS.contains(&call) {
                Ok(Some(scope))
            } else {
                Err(Status::permission_denied(format!(
                    "the token of a pool's worker is good for its own activities, not for {call}; use an API key"
                )))
            };
        }
        if self.admits == Admits::Instances {
            return Err(Status::unauthenticated(
                "here only the workers of pools are let in; send DOGWATCH_GRPC_TOKEN as `authorization: Bearer <token>`",
            ));
        }
        self.auth.check_bearer(value).map_err(|problem| Status::unauthenticated(problem.detail()))?;
        Ok(None)
    }
}

impl<S> Service<http::Request<Body>> for Gate<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Self::Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        match self.check(request.uri().path(), request.headers()) {
            Ok(scope) => {
                if let Some(scope) = scope {
                    request.extensions_mut().insert(Arc::new(scope));
                }
                Either::Right(self.inner.call(request))
            }
            Err(status) => Either::Left(ready(Ok(status.into_http()))),
        }
    }
}

/// What the worker of an instance may do, where it is one that calls.
pub(super) fn scope<T>(request: &Request<T>) -> Option<Arc<Scope>> {
    request.extensions().get::<Arc<Scope>>().cloned()
}

/// A worker of an instance asks about this task hub.
pub(super) fn check_hub(scope: Option<&Arc<Scope>>, hub: &str) -> Result<(), Status> {
    match scope {
        Some(scope) if scope.bound.hub != hub => Err(Status::permission_denied(format!(
            "the pool `{}` serves the task hub `{}`, not `{hub}`; send DOGWATCH_TASK_HUB as `taskhub`",
            scope.pool, scope.bound.hub
        ))),
        _ => Ok(()),
    }
}

/// What the worker of an instance takes, whatever it asked for: the activities of its pool.
pub(super) fn restrict(options: &mut WorkerOptions, scope: &Scope) {
    options.takes = [Some(Names::new()), Some(scope.bound.takes.clone()), Some(Names::new())];
    let [_, activities, _] = &mut options.limits;
    *activities = if *activities == 0 { scope.limit } else { scope.limit.min(*activities) };
    options.instance = Some((scope.pool, scope.key.job));
}

/// The work of an instance, until its attempt is over: somebody else may have its token then.
pub(super) fn while_it_runs(items: WorkItems, pools: Pools, scope: Arc<Scope>) -> WorkItems {
    let over = Box::pin(async move { pools.attempt_over(scope.key).await });
    let end = || ready(Err(Status::unauthenticated("the attempt of this worker is over")));
    Box::pin(items.take_until(over).chain(stream::once(end())))
}
