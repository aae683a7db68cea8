//! Calling a trigger: who may, and what becomes of a call.
//!
//! The token is made of the name, the incarnation and the number of the token under the key of the installation: it is
//! nowhere stored, and no other key opens this door.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use super::{AnyError, Error, Result, Triggers, of_shell};
use crate::durable::batch::Terms;
use crate::handle::{FieldError, digest, hex};
use crate::limits::CLIENT_KEY_CHARS_MAX;
use crate::secret::Secret;
use crate::trigger::{Event, ItemView, Kind, Object, Trigger, TriggerId};

/// What tokens of triggers begin with.
const TOKEN: &str = "dwt_";

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Called {
    /// The trigger.
    pub trigger: String,
    /// The number of the item that was made of the call.
    pub id: u64,
    /// The item, with the job or the instance where that is started already. None of a call that came before when its
    /// item was over so long ago that it is not shown any more.
    pub item: Option<ItemView>,
    /// The same call came before.
    pub replayed: bool,
}

impl Triggers {
    /// The token of a trigger.
    pub(super) fn token(&self, trigger: &Trigger) -> Secret {
        let message = [
            &trigger.incarnation.as_bytes()[..],
            trigger.id.as_str().as_bytes(),
            &trigger.token.to_be_bytes(),
        ]
        .concat();
        let mac = self.handle.inner().keyring.digest("trigger-token", &message);
        Secret::new(format!("{TOKEN}{}", hex(&mac)))
    }

    /// The trigger that this token opens; the longest body that it takes.
    pub fn admit(&self, name: &str, token: &str) -> Result<usize> {
        let id: TriggerId = name.parse().map_err(|_| Error::Token)?;
        let trigger = self.handle.inner().triggers.published().read(id)?.ok_or(Error::Token)?;
        let fits: bool = self.token(&trigger).expose().as_bytes().ct_eq(token.as_bytes()).into();
        match &trigger.spec().http {
            Some(http) if fits => Ok(http.body_max),
            _ => Err(Error::Token),
        }
    }

    /// Makes an item of a call that was admitted. The same key with the same body is the same item for as long as it is
    /// remembered. Resolves when it is durable.
    pub async fn call(
        &self,
        name: &str,
        key: Option<&str>,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<Called> {
        let id: TriggerId = name.parse().map_err(|_| Error::Token)?;
        let inner = self.handle.inner();
        inner.open()?;
        let Ok(body) = std::str::from_utf8(body) else { return Err(invalid("the body is no UTF-8")) };
        // No variable of the environment can hold it.
        if body.contains('\0') {
            return Err(invalid("the body has a NUL in it"));
        }
        let is_kept = key.is_some();
        let call = match key {
            Some(key) => format!("key-{}", key.chars().take(CLIENT_KEY_CHARS_MAX).collect::<String>()),
            None => format!("call-{}", inner.ids.job_id(inner.clock.now())),
        };
        let object = Object {
            source: Kind::Http,
            name: call,
            version: if is_kept { hex(&digest(&[body])) } else { String::new() },
            size: body.len() as u64,
            modified_at: None,
            content_type: content_type.map(|kind| kind.chars().take(CLIENT_KEY_CHARS_MAX).collect()),
            body: (!body.is_empty()).then(|| Arc::from(body)),
        };
        let version_key = object.key();
        let before = self.whole(name).await?.next;
        let answer = inner.triggers.deliver(id, Event::Called(Box::new(object)), Terms::default()).await;
        let state = answer.map_err(|error| of_shell(name, error))?.state.ok_or(Error::Token)?;
        let book = state.book().ok_or(Error::Other(AnyError::Interrupted))?;
        let id = book.known(&version_key).ok_or(Error::Other(AnyError::Interrupted))?.item;
        let item = book.get(id).map(|entry| entry.view(id));
        Ok(Called { trigger: name.to_owned(), id, item, replayed: is_kept && id < before })
    }
}

fn invalid(message: &str) -> Error {
    Error::Invalid(vec![FieldError { pointer: String::new(), message: message.to_owned() }])
}
