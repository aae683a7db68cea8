//! https with certificates of our own making.

use std::sync::Arc;

use dogwatch_actors::outbound::Roots;
use dogwatch_actors::outbound::guard::Guard;
use dogwatch_actors::outbound::resolver::SystemLookup;
use dogwatch_actors::outbound::webhook::{SendError, WebhookSender};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::receiver::{Answer, Received, serve};
use super::webhook::request;

/// A receiver for `localhost` behind TLS: its port, its requests, and the authority that vouches for it.
async fn receiver() -> (u16, mpsc::UnboundedReceiver<Received>, Vec<u8>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, Answer::status("200 OK"), sender).await;
                }
            });
        }
    });
    (port, requests, authority.der().to_vec())
}

fn sender(roots: Roots) -> WebhookSender {
    let guard = Guard { allow_private: true, ..Guard::default() };
    WebhookSender::with(guard, Arc::new(SystemLookup), roots).unwrap()
}

#[tokio::test]
async fn https_works_without_a_provider_global_to_the_process() {
    let (port, mut requests, authority) = receiver().await;
    let mut roots = Roots::none();
    roots.add(authority).unwrap();
    let sender = sender(roots);
    assert_eq!(sender.post(request(format!("https://localhost:{port}/hook"))).await, Ok(200));
    assert_eq!(requests.recv().await.unwrap().line, "POST /hook HTTP/1.1");
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());

    // The same receiver under a name that its certificate does not hold.
    let error = sender.post(request(format!("https://127.0.0.1:{port}/hook"))).await.unwrap_err();
    assert!(matches!(&error, SendError::Connect(text) if text.contains("certificate")), "{error:?}");
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_is_not_believed() {
    let (port, mut requests, _) = receiver().await;
    let (_, _, other_authority) = receiver().await;
    let mut roots = Roots::none();
    roots.add(other_authority).unwrap();
    let url = format!("https://localhost:{port}/hook");
    let error = sender(roots).post(request(url.clone())).await.unwrap_err();
    assert!(matches!(&error, SendError::Connect(text) if text.contains("certificate")), "{error:?}");
    assert_eq!(sender(Roots::none()).post(request(url)).await, Err(SendError::NoRoots));
    assert!(requests.try_recv().is_err());
    assert!(Roots::none().add(b"no certificate".to_vec()).is_err());
}
