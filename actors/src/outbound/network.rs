//! The network as the rest of the crate sees it: three kinds of requests. A simulation puts its own in its place.
//!
//! Not responsible for: how a request is made (`webhook.rs`, `service.rs`) or when.

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;
use serde_json::Value;

use super::client::BuildError;
use super::guard::Guard;
use super::service::{CallError, ServiceCaller};
use super::webhook::{Request, SendError, WebhookSender};

/// Every request that leaves this process by itself. Each is made at most once per call, and ends in bounded time.
#[async_trait]
pub trait Network: Send + Sync + fmt::Debug + 'static {
    /// Makes one attempt at a delivery; the 2xx status that the receiver answered.
    async fn post_webhook(&self, request: Request) -> Result<u16, SendError>;

    /// Starts the work of a service. `idempotency` is the same for the same attempt.
    async fn start_service(
        &self,
        addr: SocketAddr,
        path: &str,
        body: &Value,
        idempotency: String,
    ) -> Result<Value, CallError>;

    /// Asks a service for the state of its work.
    async fn poll_service(&self, addr: SocketAddr, path: &str) -> Result<Value, CallError>;
}

/// The network by HTTP.
#[derive(Debug, Clone)]
pub struct HttpNetwork {
    sender: WebhookSender,
    caller: ServiceCaller,
}

impl HttpNetwork {
    /// A network on which webhooks may go where `guard` allows. Reads files.
    pub fn new(guard: Guard) -> Result<Self, BuildError> {
        Ok(Self { sender: WebhookSender::new(guard)?, caller: ServiceCaller::new()? })
    }
}

#[async_trait]
impl Network for HttpNetwork {
    async fn post_webhook(&self, request: Request) -> Result<u16, SendError> {
        self.sender.post(request).await
    }

    async fn start_service(
        &self,
        addr: SocketAddr,
        path: &str,
        body: &Value,
        idempotency: String,
    ) -> Result<Value, CallError> {
        self.caller.start(addr, path, body, idempotency).await
    }

    async fn poll_service(&self, addr: SocketAddr, path: &str) -> Result<Value, CallError> {
        self.caller.poll(addr, path).await
    }
}
