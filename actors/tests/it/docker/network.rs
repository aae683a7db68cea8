//! How this host and containers reach each other.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use dogwatch_actors::job::spec::Network;
use dogwatch_actors::runtime::docker::CallbackProbe;
use dogwatch_actors::runtime::{Observation, Runtime as _};
use tokio::time::timeout;

use super::{PATIENCE, Rig};

#[tokio::test]
async fn a_service_can_be_called_at_its_address() {
    let rig = Rig::new().await;
    let plan = super::Plan {
        network: Network::Default,
        service_port: Some(8080),
        ..rig.plan_of(["httpd", "-f", "-p", "8080", "-h", "/etc"])
    };
    rig.start(&plan).await.unwrap();
    let Ok(Observation::Running(running)) = rig.docker.observe(plan.key).await else { panic!("it runs") };
    let address = running.address.expect("it has an address");
    assert!(address.ip().is_loopback(), "{address}");
    let answered = async {
        // The engine's proxy accepts before the service does, so only an answer counts.
        while !get(address).is_some_and(|answer| answer.contains("root:x:0:0")) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, answered).await.expect("the service answers");
}

fn get(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /passwd HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[tokio::test]
async fn the_gateway_is_where_containers_reach_this_host() {
    let rig = Rig::new().await;
    let gateway = rig.docker.gateway().await.unwrap();
    let listener = TcpListener::bind((gateway, 0)).expect("the gateway is an address of this host");
    let address = listener.local_addr().unwrap();
    // A callback listener refuses a request without a token: that is an answer all the same.
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the container calls");
        let mut request = [0; 1024];
        let read = stream.read(&mut request).expect("it sends a request");
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").expect("it listens");
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let probe = rig.docker.probe_callback(&format!("http://{address}/livez")).await.unwrap();
    assert_eq!(probe, CallbackProbe::Reached);
    assert!(server.join().unwrap().starts_with("GET /livez"));
    // The listener is gone with its thread.
    let probe = rig.docker.probe_callback(&format!("http://{address}/livez")).await.unwrap();
    assert!(matches!(probe, CallbackProbe::Unreachable(_)), "{probe:?}");
    assert_eq!(rig.docker.list().await.unwrap(), [], "a probe is no attempt");
}
