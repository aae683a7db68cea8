//! How containers on the default network reach this host.
//!
//! Responsible for: the address on which a callback listener must listen, and trying it from inside a
//! container. Not responsible for: firewalls; the probe says that nothing came through, not why.

use std::net::{IpAddr, Ipv4Addr};

use bollard::models::{ContainerCreateBody, NetworkInspect};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectNetworkOptions, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::create_body::{RESTRICTED_USER, hardened};
use super::engine::Engine;
use super::errors::{Fault, of_start};
use super::image_reference::Reference;
use super::pull::is_present;
use super::{CallbackProbe, labels};
use crate::limits::{CALLBACK_PROBE_TIMEOUT, ENGINE_CHANGE_TIMEOUT, ENGINE_QUERY_TIMEOUT};
use crate::runtime::{Error, Result};

/// The engine's name of its default network.
pub(super) const DEFAULT_NETWORK: &str = "bridge";
/// Images with `wget` that are used when they are here; none is pulled for a probe.
const PROBE_IMAGES: [&str; 4] = ["busybox:latest", "alpine:latest", "dogwatch-test:latest", "busybox:stable"];
/// What `wget` of busybox exits with when it got no answer, or one that is an HTTP error.
const WGET_FAILED: i64 = 1;

/// The host's address on the default network.
pub(super) async fn gateway(engine: &Engine) -> Result<IpAddr> {
    let ask = async |client: bollard::Docker| {
        client.inspect_network(DEFAULT_NETWORK, None::<InspectNetworkOptions>).await
    };
    let network = engine.connection.call(ENGINE_QUERY_TIMEOUT, ask).await;
    let network = network.map_err(|fault| fault.not_done("tell its default network"))?;
    first_gateway(&network).ok_or_else(|| Error::Transient {
        message: "the engine's default network has no gateway; set the callback address in the configuration"
            .into(),
    })
}

fn first_gateway(network: &NetworkInspect) -> Option<IpAddr> {
    let configs = network.ipam.as_ref()?.config.as_deref()?;
    let address = |text: &str| text.split('/').next()?.parse::<Ipv4Addr>().ok();
    let named = configs.iter().filter_map(|config| address(config.gateway.as_deref()?)).next();
    // Some engines name the gateway only when it is configured; it is then the first address of the subnet.
    let first = |subnet: Ipv4Addr| Ipv4Addr::from_bits(subnet.to_bits().saturating_add(1));
    let derived = || configs.iter().filter_map(|config| address(config.subnet.as_deref()?)).next().map(first);
    named.or_else(derived).map(IpAddr::V4)
}

/// Asks for `url` from inside a container.
pub(super) async fn probe(engine: &Engine, url: &str) -> Result<CallbackProbe> {
    let mut image = None;
    for name in PROBE_IMAGES {
        let reference = Reference::parse(name)?;
        if is_present(engine, &reference).await? {
            image = Some(reference);
            break;
        }
    }
    let Some(image) = image else {
        let names = PROBE_IMAGES.join(", ");
        return Ok(CallbackProbe::Untested(format!(
            "none of the images {names} is here; pull one to test it"
        )));
    };
    let name = format!("{}-probe-{}", engine.options.name_prefix, engine.options.installation);
    // What an earlier probe left behind when it was interrupted.
    clear(engine, &name).await?;
    let outcome = run(engine, &name, &image, url).await;
    clear(engine, &name).await?;
    outcome
}

async fn run(engine: &Engine, name: &str, image: &Reference, url: &str) -> Result<CallbackProbe> {
    // Without a timeout of its own (`-T` crashes some builds): the wait below ends it.
    let command = ["wget", "-q", "-O", "/dev/null", url].map(str::to_owned);
    let ours = [
        (labels::INSTALLATION, engine.options.installation.to_string()),
        (labels::PURPOSE, "callback-probe".to_owned()),
    ];
    let body = ContainerCreateBody {
        image: Some(image.full()),
        entrypoint: Some(Vec::new()),
        cmd: Some(command.to_vec()),
        user: Some(RESTRICTED_USER.to_owned()),
        labels: Some(ours.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        host_config: Some(hardened(&engine.options.defaults)),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    let create = async |client: bollard::Docker| client.create_container(Some(options), body).await;
    engine.connection.call(ENGINE_CHANGE_TIMEOUT, create).await.map_err(of_start)?;
    let start =
        async |client: bollard::Docker| client.start_container(name, None::<StartContainerOptions>).await;
    engine.connection.call(ENGINE_CHANGE_TIMEOUT, start).await.map_err(of_start)?;
    let client = engine.connection.long().await.map_err(Fault::unknown)?;
    let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
    let mut wait = std::pin::pin!(client.wait_container(name, Some(options)));
    drop(timeout(CALLBACK_PROBE_TIMEOUT, wait.next()).await);
    let inspect = engine.inspect(name).await.map_err(Fault::unknown)?;
    let state = inspect.and_then(|inspect| inspect.state);
    let code = state.filter(|state| state.running == Some(false)).and_then(|state| state.exit_code);
    let said = said(&client, name).await;
    Ok(match code {
        Some(0) => CallbackProbe::Reached,
        // An HTTP error is an answer.
        Some(WGET_FAILED) if said.contains("server returned error") => CallbackProbe::Reached,
        Some(_) if said.contains("wget:") => CallbackProbe::Unreachable(said),
        Some(code) => CallbackProbe::Untested(format!("wget in {} exited with {code}: {said}", image.full())),
        None => {
            CallbackProbe::Unreachable(format!("no answer within {} s", CALLBACK_PROBE_TIMEOUT.as_secs()))
        }
    })
}

async fn said(client: &bollard::Docker, name: &str) -> String {
    let options = bollard::query_parameters::LogsOptionsBuilder::new().stderr(true).stdout(true).build();
    let lines: Vec<_> = client.logs(name, Some(options)).take(20).collect().await;
    let text: String =
        lines.into_iter().filter_map(std::result::Result::ok).map(|line| line.to_string()).collect();
    text.trim().to_owned()
}

/// Removes the probe, when it is ours.
async fn clear(engine: &Engine, name: &str) -> Result<()> {
    let Some(inspect) = engine.inspect(name).await.map_err(Fault::unknown)? else { return Ok(()) };
    let labels = inspect.config.and_then(|config| config.labels).unwrap_or_default();
    let ours = labels.get(labels::INSTALLATION) == Some(&engine.options.installation.to_string());
    if !ours || !labels.contains_key(labels::PURPOSE) {
        return Err(Error::Foreign { name: name.to_owned() });
    }
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let ask = async |client: bollard::Docker| client.remove_container(name, Some(options)).await;
    match engine.connection.call(ENGINE_CHANGE_TIMEOUT, ask).await {
        Ok(()) => Ok(()),
        Err(fault) if fault.is_absent() || fault.is_conflict() => Ok(()),
        Err(fault) => Err(fault.not_done("remove the probe")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_gateway_is_the_first_of_version_4() {
        let of =
            |config| first_gateway(&serde_json::from_value(json!({"IPAM": {"Config": config}})).unwrap());
        assert_eq!(
            of(json!([{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}])),
            "172.17.0.1".parse().ok()
        );
        assert_eq!(of(json!([{"Gateway": "fd00::1"}, {"Gateway": "10.1.0.1/24"}])), "10.1.0.1".parse().ok());
        assert_eq!(of(json!([{"Subnet": "172.17.0.0/16"}])), "172.17.0.1".parse().ok());
        assert_eq!(of(json!([{"Subnet": "fd00::/64"}])), None);
    }
}
