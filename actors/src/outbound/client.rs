//! The HTTP client under every outgoing request, with everything off that would act on its own.
//!
//! Responsible for: how a client is built, and whom it trusts. Not responsible for any one request. Nothing
//! here is global to the process: the TLS provider is passed by hand, so that an application that embeds the
//! crate may install another one, or none.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect, retry};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// A client could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// TLS could not be set up.
    #[error("tls cannot be set up for outgoing requests; report this as a bug")]
    Tls(#[source] rustls::Error),
    /// The client could not be set up.
    #[error("the client for outgoing requests cannot be set up; report this as a bug")]
    Client(#[source] reqwest::Error),
    /// A certificate that should be trusted is none.
    #[error("a trusted certificate cannot be read; give it as one certificate in der form")]
    Certificate(#[source] rustls::Error),
}

/// The certificate authorities that are trusted.
#[derive(Clone)]
pub struct Roots(RootCertStore);

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.0.len())
    }
}

impl Roots {
    /// Nobody is trusted: https cannot be used.
    pub fn none() -> Self {
        Self(RootCertStore::empty())
    }

    /// Those that the operating system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` where they are set.
    /// Reads files: call it at the start.
    pub fn system() -> Self {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "certificate authorities of the system cannot be read");
        }
        let mut roots = Self::none();
        let (_, ignored) = roots.0.add_parsable_certificates(found.certs);
        if ignored > 0 || roots.is_empty() {
            tracing::warn!(
                trusted = roots.0.len(),
                ignored,
                "certificate authorities of the system are missing"
            );
        }
        roots
    }

    /// Trusts one more, given in DER form.
    pub fn add(&mut self, certificate: Vec<u8>) -> Result<(), BuildError> {
        self.0.add(CertificateDer::from(certificate)).map_err(BuildError::Certificate)
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A client that follows, repeats, proxies and keeps nothing; `more` sets what is particular to it.
pub(super) fn build(
    roots: Roots,
    connect_timeout: Duration,
    more: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> Result<Client, BuildError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(BuildError::Tls)?
        .with_root_certificates(roots.0)
        .with_no_client_auth();
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("dogwatch/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        // A connection serves one request: each is judged anew, and the idle ones of many hosts would be a
        // queue without a bound.
        .pool_max_idle_per_host(0)
        .http1_only()
        .connect_timeout(connect_timeout);
    more(builder).build().map_err(BuildError::Client)
}
