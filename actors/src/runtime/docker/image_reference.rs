//! The name of an image: which registry it is on, what to ask it for, whose login belongs to it.
//!
//! Responsible for: reading the name strictly, since it becomes part of an address of the engine's API. Not
//! responsible for: asking anybody whether there is such an image.

use crate::job::spec::RegistryCredential;
use crate::runtime::{Error, StartFault};

/// Names of the same registry: the canonical one first.
const DOCKER_HUB: [&str; 4] =
    ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];
/// The address under which Docker Hub's logins are known to the engine.
const DOCKER_HUB_LOGIN: &str = "https://index.docker.io/v1/";
/// Longer than any that a registry accepts (255 for the name, 128 for the tag, 71 for a digest).
const REFERENCE_BYTES_MAX: usize = 512;

/// An image's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Reference {
    /// The name without tag or digest, as it was written.
    pub(super) name: String,
    /// The tag or digest; `latest` when none was written.
    pub(super) version: String,
    /// The registry's canonical host name, with its port where one was written.
    pub(super) registry: String,
}

impl Reference {
    /// Reads `registry/path:tag`, `path@sha256:…` and so on.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
        let strange = text.is_empty()
            || text.len() > REFERENCE_BYTES_MAX
            || !text.chars().all(allowed)
            || text.split('/').any(|part| part.is_empty() || part.starts_with('.'));
        if strange {
            return Err(Error::Start {
                fault: StartFault::Rejected,
                message: "the image's name cannot be read; write it like registry.example/path/name:tag"
                    .into(),
            });
        }
        let (name, version) = match text.split_once('@') {
            // A digest says exactly which image; a tag beside it says nothing more.
            Some((name, digest)) => (without_tag(name).0, digest),
            None => without_tag(text),
        };
        Ok(Self { name: name.into(), version: version.into(), registry: registry_of(name) })
    }

    /// The whole name, for the engine.
    pub(super) fn full(&self) -> String {
        let separator = if self.version.contains(':') { '@' } else { ':' };
        format!("{}{separator}{}", self.name, self.version)
    }

    /// The first login that is for this image's registry.
    pub(super) fn login<'a>(&self, logins: &'a [RegistryCredential]) -> Option<&'a RegistryCredential> {
        logins.iter().find(|login| canonical(&login.server) == self.registry)
    }

    /// What the engine calls the server of a login.
    pub(super) fn login_server(&self) -> String {
        if self.registry == DOCKER_HUB[0] { DOCKER_HUB_LOGIN.into() } else { self.registry.clone() }
    }
}

fn without_tag(text: &str) -> (&str, &str) {
    // A colon before the last slash belongs to the registry's port.
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !tag.is_empty() => (name, tag),
        _ => (text, "latest"),
    }
}

fn registry_of(name: &str) -> String {
    match name.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => canonical(first),
        _ => DOCKER_HUB[0].into(),
    }
}

/// A server as people write it, as one name.
fn canonical(server: &str) -> String {
    let server = server.trim().to_ascii_lowercase();
    let bare = server.split_once("://").map_or(server.as_str(), |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or(bare);
    let host = host.strip_suffix(":443").unwrap_or(host);
    if DOCKER_HUB.contains(&host) { DOCKER_HUB[0].into() } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn names_are_taken_apart() {
        let table = [
            ("busybox", "busybox", "latest", "docker.io", "busybox:latest"),
            ("library/busybox:1.36", "library/busybox", "1.36", "docker.io", "library/busybox:1.36"),
            ("localhost/x", "localhost/x", "latest", "localhost", "localhost/x:latest"),
            (
                "127.0.0.1:5000/a/b",
                "127.0.0.1:5000/a/b",
                "latest",
                "127.0.0.1:5000",
                "127.0.0.1:5000/a/b:latest",
            ),
            ("Reg.Example:443/x:1", "Reg.Example:443/x", "1", "reg.example", "Reg.Example:443/x:1"),
            ("docker.io/x@sha256:ab", "docker.io/x", "sha256:ab", "docker.io", "docker.io/x@sha256:ab"),
            ("r.example/x:1@sha256:ab", "r.example/x", "sha256:ab", "r.example", "r.example/x@sha256:ab"),
        ];
        for (text, name, version, registry, full) in table {
            let reference = Reference::parse(text).unwrap();
            let seen = (&*reference.name, &*reference.version, &*reference.registry, &*reference.full());
            assert_eq!(seen, (name, version, registry, full), "{text}");
        }
    }

    #[test]
    fn nothing_else_gets_into_an_address() {
        for bad in ["", "../containers/x", "a/../b", "/a", "a//b", "a?x=1", "a#b", "a b", "a%2e", "ä"] {
            assert!(matches!(Reference::parse(bad), Err(Error::Start { .. })), "{bad}");
        }
    }

    #[test]
    fn a_login_goes_to_its_own_registry_only() {
        let login = |server: &str| RegistryCredential {
            server: server.into(),
            username: "u".into(),
            password: Secret::new("p"),
        };
        let chosen = |image: &str, servers: &[&str]| {
            let logins: Vec<_> = servers.iter().map(|server| login(server)).collect();
            let reference = Reference::parse(image).unwrap();
            reference.login(&logins).map(|login| login.server.clone())
        };
        for alias in ["docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"] {
            assert_eq!(chosen("busybox", &["r.example", alias]).as_deref(), Some(alias));
        }
        assert_eq!(chosen("r.example/x", &["https://R.example/"]).as_deref(), Some("https://R.example/"));
        assert_eq!(chosen("r.example/x", &["evil-r.example", "r.example.evil", "example"]), None);
        assert_eq!(chosen("r.example:5000/x", &["r.example"]), None);
        assert_eq!(Reference::parse("busybox").unwrap().login_server(), DOCKER_HUB_LOGIN);
    }
}
