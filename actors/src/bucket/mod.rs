//! Places for objects: a directory, memory, or a bucket of S3, Azure Blob or Google Cloud Storage.
//!
//! Responsible for: what is configured of one ([`Config`]), opening it, and names in it that no text of a user can
//! lead out of. Not responsible for: what is kept there, nor for making buckets.
//!
//! Invariants:
//! - a secret is read from a file or the environment when the bucket is opened, and stands in no configuration,
//!   error or log;
//! - without leave (`allow_http`) a bucket is spoken to over TLS only;
//! - in a directory an object is there whole and durable, or not at all.

mod config;
mod open;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;

pub use config::Config;
/// The name of an object in a bucket.
pub use object_store::path::Path as ObjectPath;

/// Why a bucket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What is configured makes no sense.
    #[error("the store `{name}` cannot be used: {message}")]
    Config {
        /// Its name.
        name: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// Its secret cannot be read.
    #[error("the secret of the store `{name}` cannot be read from {}: {source}; check the path and its permissions", .path.display())]
    Secret {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its directory cannot be used.
    #[error("the store `{name}` cannot use {}: {source}; check the path and its permissions", .path.display())]
    Directory {
        /// Its name.
        name: String,
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The object store refused what it was given.
    #[error("the store `{name}` cannot be used: {message}; check its account, secret_file and endpoint")]
    Refused {
        /// Its name.
        name: String,
        /// What it said.
        message: String,
    },
}

/// One place for objects. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    name: Arc<str>,
    store: Arc<dyn ObjectStore>,
    /// What stands before every object's name.
    prefix: ObjectPath,
    /// Where it is, when it is a directory of this machine.
    directory: Option<Arc<Path>>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket")
            .field("name", &self.name)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// A place in memory, for tests.
    pub fn in_memory(name: &str) -> Self {
        let store = Arc::new(object_store::memory::InMemory::new());
        Self { name: name.into(), store, prefix: ObjectPath::default(), directory: None }
    }

    /// A directory of this machine, which is made when it is not there.
    pub fn in_directory(name: &str, directory: impl AsRef<Path>) -> Result<Self, Error> {
        open::directory(name, directory.as_ref())
    }

    /// Opens what is configured under `name`. Reads files; connects only when it is first used.
    pub fn open(name: &str, config: &Config) -> Result<Self, Error> {
        open::open(name, config)
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What takes and gives objects, by the names that [`Bucket::path`] makes.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The name of an object, of its parts. Each part is escaped, so that none can be a way out.
    pub fn path<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> ObjectPath {
        parts.into_iter().fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// The directory, when it is one of this machine.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }
}
