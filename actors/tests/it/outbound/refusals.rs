//! What may not be reached is not connected to: a corpus of hostile URLs around a listener that nobody must
//! reach, and a name service that lies.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dogwatch_actors::outbound::Roots;
use dogwatch_actors::outbound::guard::Guard;
use dogwatch_actors::outbound::resolver::Lookup;
use dogwatch_actors::outbound::webhook::{SendError, WebhookSender};
use futures_util::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};

use super::receiver::{Answer, Receiver};
use super::webhook::{request, sender};

/// A public address that no test may ever wait for: it is always in bad company.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1));

/// A name service in an attacker's hands.
struct Hostile;

impl Lookup for Hostile {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let v6 = |text: &str| IpAddr::V6(text.parse::<Ipv6Addr>().unwrap());
        let found = match host.trim_end_matches('.') {
            "loopback.test" => vec![Ipv4Addr::LOCALHOST.into()],
            "loopback6.test" => vec![Ipv6Addr::LOCALHOST.into()],
            "last-is-private.test" => vec![PUBLIC, Ipv4Addr::LOCALHOST.into()],
            "first-is-private.test" => vec![Ipv4Addr::LOCALHOST.into(), PUBLIC],
            "private6.test" => vec![PUBLIC, v6("::1")],
            "mapped.test" => vec![v6("::ffff:127.0.0.1")],
            "nat64.test" => vec![v6("64:ff9b::7f00:1")],
            "metadata.test" => vec![Ipv4Addr::new(169, 254, 169, 254).into()],
            "any.test" => vec![Ipv4Addr::UNSPECIFIED.into()],
            "any6.test" => vec![Ipv6Addr::UNSPECIFIED.into()],
            name if name.contains("localhost") => vec![Ipv4Addr::LOCALHOST.into()],
            name => panic!("nothing may ask for {name}"),
        };
        Box::pin(async move { Ok(found) })
    }
}

/// Hosts and whole URLs; `{port}` is the listener's.
const CORPUS: &[&str] = &[
    // This host, in every spelling.
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://127.127.127.127:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0x0.0x0.0x1:{port}/",
    "http://0x7F.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0177.0.0.01:{port}/",
    "http://017700000001:{port}/",
    "http://00000177.1:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://127%2e0%2e0%2e1:{port}/",
    "http://127。0。0。1:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0x0:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost.:{port}/",
    "http://localhost..:{port}/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/",
    "http://hook.localhost:{port}/",
    "http://[::1]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[0000::0001]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2001:0:7f00:1::]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "https://127.0.0.1:{port}/",
    "https://[::1]:{port}/",
    // Its neighbours, metadata services, and places where nobody lives.
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://192.0.2.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[fc00::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    // URLs that are read in more than one way.
    "http://user@127.0.0.1:{port}/",
    "http://example.com@127.0.0.1:{port}/",
    "http://example.com:80@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@example.com/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://127.0.0.1:{port}?@example.com/",
    "http://127.0\t.0.1:{port}/",
    "http://127.0.0.1:{port}/\r\nhost: example.com",
    "\u{1}http://127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "http://127.0.0.1:0/",
    // Other schemes.
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/_POST",
    "ws://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "data:text/plain,hello",
    "unix:/var/run/docker.sock",
    // Names that resolve to what they should not.
    "http://loopback.test:{port}/",
    "http://loopback.test.:{port}/",
    "http://loopback6.test:{port}/",
    "http://last-is-private.test:{port}/",
    "http://first-is-private.test:{port}/",
    "http://private6.test:{port}/",
    "http://mapped.test:{port}/",
    "http://nat64.test:{port}/",
    "http://any.test:{port}/",
    "http://any6.test:{port}/",
    "http://metadata.test/",
    "https://loopback.test:{port}/",
];

/// A listener on every address of this host, IPv6 too where there is one.
async fn canary() -> Receiver {
    let listener = match TcpListener::bind("[::]:0").await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind("0.0.0.0:0").await.unwrap(),
    };
    Receiver::listening(listener, Answer::status("200 OK"))
}

#[tokio::test]
async fn no_hostile_url_leads_to_a_connection() {
    const { assert!(CORPUS.len() >= 60) };
    let mut canary = canary().await;
    let port = canary.addr.port();
    let guarded = WebhookSender::with(Guard::default(), Arc::new(Hostile), Roots::system()).unwrap();
    for url in CORPUS {
        let url = url.replace("{port}", &port.to_string());
        let outcome = guarded.post(request(&url)).await;
        assert!(matches!(outcome, Err(SendError::Refused(_))), "{url:?}: {outcome:?}");
    }
    // Connections are accepted in order: when one made now is the first, there was none before.
    let own = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    drop(own);
    assert_eq!(sender().post(request(format!("http://127.0.0.1:{port}/"))).await, Ok(200));
    canary.request().await;
    assert_eq!(canary.connections(), 2);
}

/// A name service that gives another answer every time.
struct Rebinding(Arc<AtomicUsize>);

impl Lookup for Rebinding {
    fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let last = match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => 1,
            _ => 2,
        };
        Box::pin(async move { Ok(vec![Ipv4Addr::new(127, 0, 0, last).into()]) })
    }
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_the_judged_address_is_connected_to() {
    let allowed = Receiver::answering(Answer::status("200 OK")).await;
    let port = allowed.addr.port();
    let other = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)).await.unwrap();
    let other = Receiver::listening(other, Answer::status("200 OK"));

    let lookups = Arc::new(AtomicUsize::new(0));
    let guard = Guard { allowed: vec!["127.0.0.1".parse().unwrap()], ..Guard::default() };
    let sender =
        WebhookSender::with(guard, Arc::new(Rebinding(Arc::clone(&lookups))), Roots::none()).unwrap();
    let url = format!("http://rebinding.test:{port}/");
    assert_eq!(sender.post(request(&url)).await, Ok(200));
    assert_eq!(lookups.load(Ordering::SeqCst), 1);

    // The next delivery asks again, and is told the other address.
    let outcome = sender.post(request(&url)).await;
    assert!(matches!(outcome, Err(SendError::Refused(_))), "{outcome:?}");
    assert_eq!((allowed.connections(), other.connections()), (1, 0));
}

/// A name service that knows nobody.
struct Empty;

impl Lookup for Empty {
    fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async { Err(io::Error::new(io::ErrorKind::NotFound, "no such name")) })
    }
}

#[tokio::test]
async fn an_unknown_name_may_become_known() {
    let sender = WebhookSender::with(Guard::default(), Arc::new(Empty), Roots::none()).unwrap();
    let error = sender.post(request("http://unknown.test/T000/hunter2")).await.unwrap_err();
    assert!(matches!(&error, SendError::Connect(text) if text.contains("no such name")), "{error:?}");
    assert!(!error.is_permanent() && !error.to_string().contains("hunter2"));
}
