//! The connections to buckets.
//!
//! Responsible for: the client under the object stores' requests, with our own TLS and trust. Not responsible for
//! what is asked, signed or repeated: that is the object store's.
//!
//! Where a bucket is comes from the server's configuration alone, so nothing here judges addresses.

use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientConfigKey, ClientOptions};

use super::client::{self, Roots};
use crate::limits::{BUCKET_CONNECT_TIMEOUT, BUCKET_IDLE_CONNECTIONS_MAX, BUCKET_SILENCE_MAX};

/// Makes the clients of one bucket: one for its objects, perhaps one more for its credentials.
#[derive(Debug)]
pub struct StorageConnector {
    roots: Roots,
}

impl StorageConnector {
    /// Trusts these.
    pub const fn new(roots: Roots) -> Self {
        Self { roots }
    }
}

impl HttpConnector for StorageConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|it| it == "true");
        let client = client::build(self.roots.clone(), BUCKET_CONNECT_TIMEOUT, |builder| {
            builder
                .https_only(!allow_http)
                .read_timeout(BUCKET_SILENCE_MAX)
                .pool_max_idle_per_host(BUCKET_IDLE_CONNECTIONS_MAX)
        });
        let client = client
            .map_err(|error| object_store::Error::Generic { store: "bucket", source: Box::new(error) })?;
        Ok(HttpClient::new(client))
    }
}
