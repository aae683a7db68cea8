//! Makes the requests of deliveries and reports what came of them.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt as _;

use super::state::{Announcement, Delivery, Event, Post, WebhookId};
use crate::clock::Clock;
use crate::durable::Perform;
use crate::durable::host::{Host, WeakHost};
use crate::fault::{self, Point};
use crate::outbound::Network;
use crate::outbound::cloudevent::{CloudEvent, DataContentType, SpecVersion};
use crate::outbound::webhook::Request;
use crate::secret::{Keyring, Secret};
use crate::supervise::panic_text;

/// The performer.
#[derive(Clone)]
pub struct WebhookPerformer {
    network: Arc<dyn Network>,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
    source: String,
    /// Weak, because the host owns its performer.
    host: Arc<OnceLock<WeakHost<Delivery>>>,
}

impl std::fmt::Debug for WebhookPerformer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookPerformer").field("source", &self.source).finish_non_exhaustive()
    }
}

impl WebhookPerformer {
    /// A performer; `source` names this installation in the events' envelope.
    pub fn new(network: Arc<dyn Network>, keyring: Keyring, clock: Arc<dyn Clock>, source: String) -> Self {
        Self { network, keyring, clock, source, host: Arc::default() }
    }

    /// Opens the way back into the deliveries' mailboxes. Later calls change nothing.
    pub fn open(&self, host: &Host<Delivery>) {
        drop(self.host.set(host.downgrade()));
    }

    fn tell(&self, id: WebhookId, event: Event) {
        if let Some(host) = self.host.get().and_then(WeakHost::upgrade) {
            host.tell(id, event);
        }
    }

    async fn post(&self, id: WebhookId, announcement: Announcement) -> Event {
        let message = announcement.message.clone();
        let failed =
            |reason: String, permanent| Event::Failed { message: message.clone(), reason, permanent };
        let secret = match self.secret(id, &announcement) {
            Ok(secret) => secret,
            Err(error) => return failed(error.to_string(), true),
        };
        let event = CloudEvent {
            specversion: SpecVersion::V1,
            id: announcement.message.clone(),
            source: self.source.clone(),
            kind: announcement.kind,
            subject: Some(id.job.to_string()),
            time: announcement.at,
            datacontenttype: DataContentType::Json,
            data: announcement.data,
        };
        let request = Request {
            url: announcement.url,
            id: announcement.message,
            timestamp: self.clock.now(),
            body: event.to_body(),
            secret,
        };
        if fault::check(Point::WebhookSending, || ()).is_err() {
            return failed("a fault point".to_owned(), false);
        }
        let answer = self.network.post_webhook(request).await;
        if fault::check(Point::WebhookAnswered, || ()).is_err() {
            return failed("a fault point".to_owned(), false);
        }
        match answer {
            Ok(status) => Event::Delivered { message, status },
            Err(error) => failed(error.to_string(), error.is_permanent()),
        }
    }

    fn secret(
        &self,
        id: WebhookId,
        announcement: &Announcement,
    ) -> Result<Option<Secret>, crate::secret::OpenError> {
        let Some(vault) = &announcement.vault else { return Ok(None) };
        let mut secrets = self.keyring.open(announcement.sealed_for.unwrap_or(id.job), vault)?;
        Ok(secrets.remove(&format!("webhook/{}", id.target)))
    }
}

impl Perform<Delivery> for WebhookPerformer {
    fn perform(&self, id: WebhookId, _: &Delivery, Post(announcement): Post) {
        let (this, message) = (self.clone(), announcement.message.clone());
        tokio::spawn(async move {
            let posted = AssertUnwindSafe(this.post(id, announcement)).catch_unwind().await;
            // Known at once to have failed, not when the time for an answer has passed.
            let event = posted.unwrap_or_else(|panic| {
                tracing::error!(webhook = %id, cause = panic_text(&*panic), "sending a webhook panicked");
                Event::Failed { message, reason: panic_text(&*panic), permanent: false }
            });
            this.tell(id, event);
        });
    }
}
