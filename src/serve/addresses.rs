//! `addresses.json` in the data directory: where the running server listens, for clients on this machine.
//!
//! Not a proof of life: after a kill the file stays. A client that cannot connect treats it as "no server".

use std::io;
use std::net::IpAddr;
use std::path::Path;

use dogwatch_actors::data_dir::files;
use serde::{Deserialize, Serialize};

const FILE: &str = "addresses.json";
const PORT_FILE: &str = "callback.port";
const GRPC_PORT_FILE: &str = "grpc.port";
const GATEWAY_FILE: &str = "callback.gateway";

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The API's base URL.
    pub api: String,
    /// The callback listener's base URL for attempts on this machine.
    pub callback: String,
    /// Where workers and clients of the Durable Task SDKs connect, when they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<String>,
    /// The server's process id, for people.
    #[serde(default)]
    pub pid: u32,
}

impl Addresses {
    /// Reads the file; `None` when there is none or when it is unreadable or damaged, which for a client is
    /// all the same: there is no server to be found here.
    pub fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join(FILE)).ok()?).ok()
    }

    /// Replaces the file atomically.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self).expect("plain fields are JSON");
        text.push(b'\n');
        files::replace(&dir.join(FILE), &text)
    }

    /// Removes the file if it is the one of this process; another server may have written its own since.
    pub fn remove_own(dir: &Path) {
        if Self::read(dir).is_some_and(|addresses| addresses.pid == std::process::id())
            && let Err(error) = std::fs::remove_file(dir.join(FILE))
        {
            tracing::warn!(%error, "cannot remove {FILE}; clients will find that nobody answers there");
        }
    }
}

/// The callback port of the last start: running attempts hold it in their environment.
pub fn last_callback_port(dir: &Path) -> Option<u16> {
    last_port(dir, PORT_FILE)
}

/// The port of the last start by which the workers of running attempts know us.
pub fn last_grpc_port(dir: &Path) -> Option<u16> {
    last_port(dir, GRPC_PORT_FILE)
}

fn last_port(dir: &Path, file: &str) -> Option<u16> {
    std::fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok().filter(|port| *port != 0)
}

/// Remembers the callback port for the next start.
pub fn remember_callback_port(dir: &Path, port: u16) -> io::Result<()> {
    remember_port(dir, PORT_FILE, port)
}

/// Remembers the port for workers for the next start.
pub fn remember_grpc_port(dir: &Path, port: u16) -> io::Result<()> {
    remember_port(dir, GRPC_PORT_FILE, port)
}

fn remember_port(dir: &Path, file: &str, port: u16) -> io::Result<()> {
    if last_port(dir, file) == Some(port) {
        return Ok(());
    }
    files::replace(&dir.join(file), port.to_string().as_bytes())
}

/// The address by which containers reached this host when their engine was last asked.
pub fn last_gateway(dir: &Path) -> Option<IpAddr> {
    std::fs::read_to_string(dir.join(GATEWAY_FILE)).ok()?.trim().parse().ok()
}

/// Remembers that address for a start at which the engine does not answer.
pub fn remember_gateway(dir: &Path, ip: IpAddr) -> io::Result<()> {
    if last_gateway(dir) == Some(ip) {
        return Ok(());
    }
    files::replace(&dir.join(GATEWAY_FILE), ip.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_own_addresses_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let own = Addresses {
            api: "http://127.0.0.1:1".into(),
            callback: "c".into(),
            grpc: None,
            pid: std::process::id(),
        };
        let foreign = Addresses { pid: own.pid + 1, ..own.clone() };
        foreign.write(dir.path()).unwrap();
        Addresses::remove_own(dir.path());
        assert_eq!(Addresses::read(dir.path()), Some(foreign));
        own.write(dir.path()).unwrap();
        Addresses::remove_own(dir.path());
        assert_eq!(Addresses::read(dir.path()), None);
    }

    #[test]
    fn a_damaged_file_is_no_server() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), b"{\"api\": ").unwrap();
        assert_eq!(Addresses::read(dir.path()), None);
    }

    #[test]
    fn the_address_for_callbacks_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last_callback_port(dir.path()), None);
        remember_callback_port(dir.path(), 40_001).unwrap();
        assert_eq!(last_callback_port(dir.path()), Some(40_001));
        remember_callback_port(dir.path(), 40_002).unwrap();
        assert_eq!(last_callback_port(dir.path()), Some(40_002));
        let ip = "172.17.0.1".parse().unwrap();
        assert_eq!(last_gateway(dir.path()), None);
        remember_gateway(dir.path(), ip).unwrap();
        assert_eq!(last_gateway(dir.path()), Some(ip));
    }
}
