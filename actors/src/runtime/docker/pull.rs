//! Getting an image: pulled only when it is not here, once for all who want it.
//!
//! Responsible for: the login of the right registry, a bound for silence and one for the whole, and telling
//! faults that pass from those that do not. Not responsible for: removing images, ever.
//!
//! Invariant: a login is sent only for the registry it was given for, and a pull is shared only by those who
//! gave the same login.

use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::engine::Engine;
use super::errors::{Fault, of_pull};
use super::image_reference::Reference;
use crate::job::spec::RegistryCredential;
use crate::limits::{ENGINE_QUERY_TIMEOUT, PULL_STALL_TIMEOUT, PULL_TIMEOUT};
use crate::runtime::{Error, Result};

/// What makes two pulls the same: the image, and a hash of the login, so that none is kept here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PullKey(Reference, [u8; 32]);

impl PullKey {
    pub(super) fn new(image: &Reference, login: Option<&RegistryCredential>) -> Self {
        let mut hash = Sha256::new();
        if let Some(login) = login {
            for part in [&login.server, &login.username, login.password.expose()] {
                hash.update(part.len().to_be_bytes());
                hash.update(part);
            }
        }
        Self(image.clone(), hash.finalize().into())
    }
}

/// Whether the engine has the image.
pub(super) async fn is_present(engine: &Engine, image: &Reference) -> Result<bool> {
    let name = image.full();
    let found =
        engine.connection.call(ENGINE_QUERY_TIMEOUT, async |client| client.inspect_image(&name).await).await;
    match found {
        Ok(_) => Ok(true),
        Err(fault) if fault.is_absent() => Ok(false),
        Err(fault) => Err(fault.unknown()),
    }
}

/// Pulls the image.
pub(super) async fn pull(
    engine: &Engine,
    image: &Reference,
    login: Option<RegistryCredential>,
) -> Result<()> {
    let name = image.full();
    tracing::info!(image = %name, with_login = login.is_some(), "pulling the image");
    let too_slow = |what: &str, seconds: u64| Error::Transient {
        message: format!("the pull of {name} {what} {seconds} s; check the registry and the network"),
    };
    let whole = timeout(PULL_TIMEOUT, async {
        let client = engine.connection.long().await.map_err(Fault::unknown)?;
        let options = CreateImageOptionsBuilder::new().from_image(&image.name).tag(&image.version).build();
        let mut progress = std::pin::pin!(client.create_image(
            Some(options),
            None,
            login.map(|login| credentials(image, &login))
        ));
        loop {
            let step = timeout(PULL_STALL_TIMEOUT, progress.next()).await;
            match step.map_err(|_| too_slow("made no progress for", PULL_STALL_TIMEOUT.as_secs()))? {
                None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let fault = Fault::from(error);
                    engine.connection.drop_if_lost(&fault);
                    return Err(of_pull(&name, fault));
                }
            }
        }
    });
    whole.await.map_err(|_| too_slow("took longer than", PULL_TIMEOUT.as_secs()))?
}

fn credentials(image: &Reference, login: &RegistryCredential) -> DockerCredentials {
    DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(login.password.expose().to_owned()),
        serveraddress: Some(image.login_server()),
        ..DockerCredentials::default()
    }
}
