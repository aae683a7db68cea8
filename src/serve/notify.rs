//! Tells the service manager what we do (the sd_notify protocol), when there is one that wants to know.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A message to the service manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// We listen and take work.
    Ready,
    /// We were asked to stop and do so.
    Stopping,
}

/// Sends `notice` to `NOTIFY_SOCKET`, if that is set. A failure is logged and harms nothing.
pub fn notify(notice: Notice) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let text = match notice {
        Notice::Ready => "READY=1\n",
        Notice::Stopping => "STOPPING=1\n",
    };
    if let Err(error) = send(name.as_bytes(), text) {
        tracing::warn!(%error, "cannot tell the service manager {text:?}");
    }
}

fn send(name: &[u8], text: &str) -> io::Result<()> {
    // A leading @ stands for the NUL of an abstract socket.
    let address = match name {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_manager_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str().as_bytes(), "READY=1\n").unwrap();
        let mut buffer = [0u8; 64];
        let length = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\n");
        assert!(send(dir.path().join("nobody").as_os_str().as_bytes(), "READY=1\n").is_err());
    }
}
