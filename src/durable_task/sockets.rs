//! The open sockets of the gRPC listener: for everybody, and on the same port for the containers of pools.
//!
//! They are opened before there is a supervisor: instances are told at their start where their workers connect, and
//! those that run since the last start know the port of that one.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use super::gate::Admits;
use super::server::Error;
use crate::limits::PORT_TRIES_MAX;

/// The open sockets.
#[derive(Debug)]
pub struct Sockets {
    /// Where clients on this machine connect.
    pub local: SocketAddr,
    /// Where the workers of containers connect, when there is such a place.
    pub containers: Option<SocketAddr>,
    /// Whether callers need no key.
    pub(super) is_open: bool,
    socket: TcpListener,
    bridge: Option<TcpListener>,
}

/// Where to listen, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The port to try first where any will do: that of the last start.
    pub last_port: Option<u16>,
    /// The address by which containers reach this host.
    pub gateway: Option<IpAddr>,
    /// Whether it has a certificate.
    pub has_tls: bool,
    /// Whether it may listen on an address that other machines reach without TLS.
    pub allow_remote: bool,
    /// Whether callers need no key; on a loopback address only.
    pub allow_without_key: bool,
}

impl Sockets {
    /// Opens them.
    pub fn open(wishes: Wishes) -> Result<Self, Error> {
        let Wishes { listen, last_port, gateway, has_tls, allow_remote, allow_without_key } = wishes;
        let is_local = listen.ip().is_loopback();
        if allow_without_key && !is_local {
            return Err(Error::Open(listen));
        }
        if !is_local && !has_tls && !allow_remote {
            return Err(Error::Remote(listen));
        }
        // An address that stands for all of them has the gateway in it.
        let extra = gateway.filter(|ip| !listen.ip().is_unspecified() && *ip != listen.ip());
        let last = last_port.filter(|_| listen.port() == 0).map(|port| SocketAddr::new(listen.ip(), port));
        let tries = last.into_iter().chain(std::iter::repeat_n(listen, PORT_TRIES_MAX));
        let mut failed = None;
        for wanted in tries {
            let refused = |source| Error::Listen { address: wanted, source };
            let socket = match bind(wanted) {
                Ok(socket) => socket,
                Err(source) if wanted.port() != listen.port() => {
                    tracing::warn!(
                        port = wanted.port(),
                        error = %source,
                        "the port of the last start is taken: instances of pools that run since then cannot connect"
                    );
                    continue;
                }
                Err(source) => return Err(refused(source)),
            };
            let local = socket.local_addr().map_err(refused)?;
            let opened = |bridge, containers: Option<IpAddr>| {
                let containers = containers.map(|ip| SocketAddr::new(ip, local.port()));
                Self { local, containers, is_open: allow_without_key, socket, bridge }
            };
            let Some(ip) = extra else { return Ok(opened(None, gateway)) };
            match bind(SocketAddr::new(ip, local.port())) {
                Ok(bridge) => return Ok(opened(Some(bridge), gateway)),
                // A port that is free here may be taken there.
                Err(error) => failed = Some((error, opened(None, None))),
            }
            if listen.port() != 0 {
                break;
            }
        }
        // Clients on this machine matter too much to be lost to a fault on the bridge.
        let (error, opened) = failed.ok_or_else(|| Error::Listen {
            address: listen,
            source: io::Error::from(io::ErrorKind::AddrInUse),
        })?;
        tracing::warn!(%error, "the workers of containers cannot connect; free the address, or let pools be processes");
        Ok(opened)
    }

    /// Each of them with who is let in there.
    pub(super) fn gates(self) -> impl Iterator<Item = (TcpListener, Admits)> {
        let bridge = self.bridge.map(|bridge| (bridge, Admits::Instances));
        std::iter::once((self.socket, Admits::All)).chain(bridge)
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(listen: &str) -> Wishes {
        Wishes {
            listen: listen.parse().unwrap(),
            last_port: None,
            gateway: None,
            has_tls: false,
            allow_remote: false,
            allow_without_key: false,
        }
    }

    #[test]
    fn containers_connect_to_the_gateway_on_the_same_port() {
        let gateway: Option<IpAddr> = Some("127.0.0.2".parse().unwrap());
        let away: Option<IpAddr> = Some("192.0.2.1".parse().unwrap());
        for (listen, gateway, gates, containers) in [
            ("127.0.0.1:0", None, 1, None),
            ("127.0.0.1:0", gateway, 2, gateway),
            ("127.0.0.2:0", gateway, 1, gateway),
            // No interface of this machine has it: clients on this machine are served all the same.
            ("127.0.0.1:0", away, 1, None),
        ] {
            let opened = Sockets::open(Wishes { gateway, ..wishes(listen) }).unwrap();
            let expected = containers.map(|ip| SocketAddr::new(ip, opened.local.port()));
            assert_eq!(
                (opened.containers, opened.gates().count()),
                (expected, gates),
                "{listen} {gateway:?}"
            );
        }
    }

    #[test]
    fn the_port_of_the_last_start_is_taken_again_where_it_is_free() {
        let first = Sockets::open(wishes("127.0.0.1:0")).unwrap();
        let last_port = Some(first.local.port());
        let other = Sockets::open(Wishes { last_port, ..wishes("127.0.0.1:0") }).unwrap();
        assert_ne!(other.local, first.local, "it is taken");
        let local = first.local;
        drop(first);
        let again = Sockets::open(Wishes { last_port, ..wishes("127.0.0.1:0") }).unwrap();
        assert_eq!(again.local, local);
        assert!(matches!(Sockets::open(wishes(&local.to_string())), Err(Error::Listen { .. })));
    }

    #[test]
    fn what_would_be_open_to_others_is_refused() {
        assert!(matches!(Sockets::open(wishes("0.0.0.0:0")), Err(Error::Remote(_))));
        let open = Wishes { allow_without_key: true, allow_remote: true, ..wishes("0.0.0.0:0") };
        assert!(matches!(Sockets::open(open), Err(Error::Open(_))));
    }
}
