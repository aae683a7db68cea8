//! Who is told: webhook targets.
//!
//! Addresses that are written as such are judged here; what a name resolves to is judged when the webhook is
//! sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{Host, Url};

use super::{Findings, Policy};
use crate::job::spec::Spec;
use crate::limits::{URL_CHARS_MAX, WEBHOOKS_MAX};

pub(super) fn check(spec: &Spec, policy: &Policy, findings: &mut Findings) {
    if !findings.count("/on_complete", spec.on_complete.len(), WEBHOOKS_MAX) {
        return;
    }
    for (index, target) in spec.on_complete.iter().enumerate() {
        if let Err(message) = address(&target.url, policy) {
            findings.add(format!("/on_complete/{index}/url"), message);
        }
        if !target.secret.is_empty() && !is_signing_secret(target.secret.expose()) {
            let message = "must be `whsec_` and the base64 of 24 to 64 random bytes (Standard Webhooks)";
            findings.add(format!("/on_complete/{index}/secret"), message);
        }
    }
}

fn address(text: &str, policy: &Policy) -> Result<(), &'static str> {
    if text.len() > URL_CHARS_MAX {
        return Err("is too long; at most 2048 characters are accepted");
    }
    // The parser drops tabs and line breaks; what was checked must be what is called.
    if !text.chars().all(|c| c.is_ascii_graphic()) {
        return Err("contains a space, a control character or one that is not ASCII; percent-encode it");
    }
    let url = Url::parse(text).map_err(|_| "is not a URL; write it like `https://hooks.example/path`")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with `https://` or `http://`");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "contains credentials, which would be shown with the job; sign the webhook with `secret` instead",
        );
    }
    let private = match url.host() {
        None => return Err("has no host"),
        Some(Host::Domain(name)) => is_local_name(name),
        Some(Host::Ipv4(ip)) => !is_global(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => !is_global(IpAddr::V6(ip)),
    };
    if private && !policy.webhook_private_networks {
        return Err("is a private address, where this server sends no webhooks; use a public one");
    }
    Ok(())
}

fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_global_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped().or_else(|| nat64(ip)) {
            Some(inner) => is_global_v4(inner),
            None => is_global_v6(ip),
        },
    }
}

/// The special-purpose registry of RFC 6890, as far as it is not the public internet.
fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_broadcast()
        || ip.is_multicast()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (18..20).contains(&b))
        || a >= 240)
}

fn is_global_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    // Only 2000::/3 is given out; of it not the documentation range, and not 6to4 or Teredo, which hide a v4.
    (a & 0xe000) == 0x2000 && !(a == 0x2001 && (b == 0x0db8 || b == 0)) && a != 0x2002
}

/// The v4 address in a well-known NAT64 prefix (RFC 6052).
fn nat64(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = ip.segments() else { return None };
    Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
}

fn is_signing_secret(text: &str) -> bool {
    text.strip_prefix("whsec_")
        .and_then(|key| STANDARD.decode(key).ok())
        .is_some_and(|key| (24..=64).contains(&key.len()))
}
