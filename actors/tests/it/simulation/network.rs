//! The network of a simulated world: one receiver of webhooks, with moods.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::outbound::Network;
use dogwatch_actors::outbound::service::CallError;
use dogwatch_actors::outbound::webhook::{Request, SendError};
use dogwatch_actors::runtime::async_trait;
use parking_lot::Mutex;
use serde_json::Value;

use super::trace::note;
use super::world::World;

/// What the receiver keeps: bodies by the id of their message.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    pub(super) accepted: Mutex<BTreeMap<String, Vec<Value>>>,
}

#[derive(Debug)]
pub(super) struct Net {
    pub(super) world: Arc<World>,
}

#[async_trait]
impl Network for Net {
    async fn post_webhook(&self, request: Request) -> Result<u16, SendError> {
        let World { random, trace, receiver, .. } = &*self.world;
        note!(trace, "webhook {}", request.id);
        tokio::time::sleep(random.up_to(Duration::from_millis(80))).await;
        let mood = random.chance(self.world.faults().receiver).then(|| random.below(5));
        match mood {
            Some(0) => return Err(SendError::Status(500)),
            Some(1) => return Err(SendError::Connect("as the seed wants it".to_owned())),
            Some(2) => {
                tokio::time::sleep(Duration::from_secs(15)).await;
                return Err(SendError::Timeout);
            }
            _ => {}
        }
        let body = serde_json::from_slice(&request.body).expect("a webhook is JSON");
        receiver.accepted.lock().entry(request.id).or_default().push(body);
        match mood {
            Some(3) => Err(SendError::Broken("the answer is lost".to_owned())),
            _ => Ok(204),
        }
    }

    async fn start_service(&self, _: SocketAddr, _: &str, _: &Value, _: String) -> Result<Value, CallError> {
        pending().await
    }

    async fn poll_service(&self, _: SocketAddr, _: &str) -> Result<Value, CallError> {
        pending().await
    }
}
