pub mod cloudevent;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct Error;
pub struct Clients {
    pub webhooks: webhook::WebhookSender,
    pub services: service::ServiceCaller,
}
impl Clients {
    pub fn new(_: guard::Guard) -> Result<Self, Error> {
        Ok(Self { webhooks: webhook::WebhookSender, services: service::ServiceCaller })
    }
}
pub mod guard {
    #[derive(Debug, Clone, Default)]
    pub struct Guard {
        pub allow_private: bool,
    }
}
pub mod webhook {
    use crate::{clock::Timestamp, secret::Secret};
    pub struct Request {
        pub url: String,
        pub id: String,
        pub timestamp: Timestamp,
        pub body: bytes::Bytes,
        pub secret: Option<Secret>,
    }
    #[derive(Debug, Clone)]
    pub struct WebhookSender;
    #[derive(Debug, thiserror::Error)]
    #[error("x")]
    pub struct SendError;
    impl SendError {
        pub fn is_permanent(&self) -> bool {
            false
        }
    }
    impl WebhookSender {
        pub async fn post(&self, _: Request) -> Result<u16, SendError> {
            Err(SendError)
        }
    }
}
pub mod service {
    #[derive(Debug, Clone)]
    pub struct ServiceCaller;
    pub struct CallError {
        pub message: String,
        pub refused: bool,
    }
    impl ServiceCaller {
        pub async fn start(
            &self,
            _: std::net::SocketAddr,
            _: &str,
            _: &serde_json::Value,
            _: String,
        ) -> Result<serde_json::Value, CallError> {
            Err(CallError { message: "x".into(), refused: true })
        }
        pub async fn poll(&self, _: std::net::SocketAddr, _: &str) -> Result<serde_json::Value, CallError> {
            Err(CallError { message: "x".into(), refused: true })
        }
    }
}
