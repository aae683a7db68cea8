//! The servers on real sockets: addresses, separation, a stop that ends.

use std::net::SocketAddr;
use std::time::Duration;

use dogwatch::api::server::{ServerOptions, bind};
use dogwatch::callbacks;
use dogwatch::listener::BindError;

use crate::api_support::{KEY, NO_JOB, auth, handle};

async fn options(address: &str, allow_remote: bool) -> ServerOptions {
    let address = address.parse().expect("an address");
    ServerOptions { address, handle: handle().await, auth: auth(), allow_remote }
}

/// Sends a request as it stands and reads to the end of the connection.
async fn exchange(address: SocketAddr, request: String) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let talk = async {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("it answers");
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(Duration::from_secs(10), talk).await.expect("an answer in time")
}

#[actix_web::test]
async fn it_serves_on_a_free_port_until_it_is_stopped() {
    let listening = bind(options("127.0.0.1:0", false).await).unwrap();
    let address = listening.addresses[0];
    assert_ne!(address.port(), 0);
    let stop = listening.server.handle();
    let served = actix_web::rt::spawn(listening.server);
    let answer =
        exchange(address, "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let request = format!(
        "GET /v1/jobs/{NO_JOB} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n\r\n"
    );
    let answer = exchange(address, request).await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("job_not_found"), "{answer}");
    let answer = exchange(address, "GET /nope HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into()).await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("route_not_found"), "{answer}");
    stop.stop(true).await;
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("it stops").unwrap().unwrap();
}

#[actix_web::test]
async fn an_address_for_others_must_be_asked_for() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:192.0.2.1]:0"] {
        let refused = bind(options(address, false).await).unwrap_err();
        assert!(matches!(refused, BindError::Remote { .. }), "{address}: {refused}");
    }
    // The loopback address of IPv4 as IPv6 writes it is one too.
    assert!(!matches!(bind(options("[::ffff:127.0.0.1]:0", false).await), Err(BindError::Remote { .. })));
    let listening = bind(options("0.0.0.0:0", true).await).unwrap();
    assert_eq!(listening.addresses.len(), 1);
}

#[actix_web::test]
async fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = bind(options(&address, false).await).unwrap_err().to_string();
    assert!(refused.contains(&address) && refused.contains("choose another"), "{refused}");
}

#[actix_web::test]
async fn the_callback_listener_serves_callbacks_on_every_address() {
    let addresses = ["127.0.0.1:0".parse().unwrap(), "127.0.0.2:0".parse().unwrap()];
    let listening = callbacks::server::bind(&addresses, handle().await).unwrap();
    assert_eq!(listening.addresses.len(), 2);
    let stop = listening.server.handle();
    let served = actix_web::rt::spawn(listening.server);
    for address in listening.addresses {
        let body = r#"{"event": "completed"}"#;
        let request = format!(
            "POST /v1/callbacks/{NO_JOB}/1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer dwc_x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(address, request).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("bad_token"), "{address}: {answer}");
        let answer =
            exchange(address, "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into()).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{address}: {answer}");
    }
    stop.stop(false).await;
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("it stops").unwrap().unwrap();
}
