//! What arrives at a trigger: a version of an object. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// What stands for a version of an object.
pub type Key = [u8; 16];

/// Where an object came from. The order stays: keys are made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TriggerSource)]
pub enum Kind {
    /// A file in a directory.
    Directory,
    /// An object in a bucket.
    Bucket,
    /// An HTTP request.
    Http,
    /// A message of a queue.
    Queue,
}

/// A version of an object. It never changes; another version is another object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = TriggerObject)]
pub struct Object {
    /// Where it came from.
    pub source: Kind,
    /// What it is called there: the path of a file, the id of a message, what a request was given for a name.
    pub name: String,
    /// Tells its versions apart; of a file its size, its time of change and its number on the disk.
    pub version: String,
    /// Its bytes.
    pub size: u64,
    /// When it was changed, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub modified_at: Option<Timestamp>,
    /// What its body is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The body of a request or a message; not shown once its item is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub body: Option<Arc<str>>,
}

impl Object {
    /// What stands for this version. Requests and messages have one version: their name is enough.
    pub fn key(&self) -> Key {
        let version = match self.source {
            Kind::Directory | Kind::Bucket => self.version.as_str(),
            Kind::Http | Kind::Queue => "",
        };
        let mut hash = Sha256::new();
        hash.update([self.source as u8]);
        hash.update((self.name.len() as u64).to_be_bytes());
        hash.update(self.name.as_bytes());
        hash.update(version.as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        *digest.first_chunk().expect("32 bytes are more than 16")
    }

    /// The last part of its name.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> u64 {
        let body = self.body.as_ref().map_or(0, |body| body.len());
        (body + self.name.len() + self.version.len()) as u64
    }

    /// Without what only who is started for it needs.
    pub(super) fn without_body(&self) -> Self {
        Self { body: None, ..self.clone() }
    }
}
