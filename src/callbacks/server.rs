//! The server of the callback listener: one port on several addresses.
//!
//! Typically loopback, for processes, and the gateway of the containers' bridge.

use std::net::{SocketAddr, TcpListener};

use dogwatch_actors::handle::Handle;

use super::configure;
use crate::limits::PORT_TRIES_MAX;
use crate::listener::{self, BindError, Listening};

/// Binds every address; the server runs when its future is polled. Addresses with port 0 all get the same
/// free port, so that one number is enough to know.
pub fn bind(addresses: &[SocketAddr], handle: Handle) -> Result<Listening, BindError> {
    serve(open_all(addresses)?, handle)
}

/// Serves sockets that are open already: for whoever must know the port before there is a supervisor.
pub(crate) fn serve(sockets: Vec<TcpListener>, handle: Handle) -> Result<Listening, BindError> {
    let threads = handle.threads();
    listener::serve(sockets, &threads, configure(handle))
}

/// Opens every address, those with port 0 all on the same free port.
pub(crate) fn open_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    let mut last = BindError::NoAddress;
    for _ in 0..PORT_TRIES_MAX {
        match try_open_all(addresses) {
            // A port that is free on one address may be taken on another: take another one.
            Err(error @ BindError::Io { .. }) if addresses.iter().any(|address| address.port() == 0) => {
                last = error
            }
            done => return done,
        }
    }
    Err(last)
}

fn try_open_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BindError> {
    let mut port = 0;
    let mut sockets = Vec::new();
    for address in addresses {
        let mut address = *address;
        if address.port() == 0 {
            address.set_port(port);
        }
        let socket = listener::open(address)?;
        if port == 0 {
            port = socket.local_addr().map_err(|source| BindError::Io { address, source })?.port();
        }
        sockets.push(socket);
    }
    if sockets.is_empty() { Err(BindError::NoAddress) } else { Ok(sockets) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_get_one_port() {
        let addresses = ["127.0.0.1:0".parse().unwrap(), "127.0.0.2:0".parse().unwrap()];
        let sockets = open_all(&addresses).unwrap();
        let ports: Vec<u16> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert_eq!((ports.len(), ports[0] > 0, ports[0]), (2, true, ports[1]));
    }

    #[test]
    fn a_taken_port_and_no_address_are_errors() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = open_all(&[taken.local_addr().unwrap()]).unwrap_err();
        assert!(error.to_string().contains("choose another address"), "{error}");
        assert!(matches!(open_all(&[]), Err(BindError::NoAddress)));
    }
}
