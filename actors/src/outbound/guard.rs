//! Where webhooks may go: the rules that keep a user of the API from reaching, through us, what only we can
//! reach.
//!
//! Responsible for: judging a URL and judging an address. Not responsible for looking names up (`resolver`
//! does, and asks here about every address that it finds) nor for sending. Pure.
//!
//! Invariants:
//! - without leave, only globally reachable unicast addresses pass (RFC 6890 and the IANA registries behind
//!   it); what embeds another address (IPv4-mapped, NAT64, 6to4, Teredo) does not pass at all;
//! - an address written in the URL is judged here, because HTTP clients connect to it without resolving;
//! - the URL that is judged is the parsed one, and the same value is requested: nothing parses it again in
//!   another way.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::cidr::Cidr;
use crate::limits::URL_CHARS_MAX;

/// What may be reached besides the public internet. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Whether this host and the private networks around it may be reached: loopback, RFC 1918, carrier-grade
    /// NAT, unique local. Link-local addresses and known metadata services stay out of reach.
    pub allow_private: bool,
    /// Blocks that may be reached whatever they are.
    pub allowed: Vec<Cidr>,
}

/// Why a URL may not be called. Names no more of the URL than its host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is too long.
    #[error("the webhook's url is longer than {URL_CHARS_MAX} characters; use a shorter one")]
    TooLong,
    /// It is no URL, or one that parsers understand in different ways.
    #[error(
        "the webhook's url is not valid; write an absolute one without spaces, control characters or backslashes"
    )]
    Invalid,
    /// Neither http nor https.
    #[error("webhooks go to http and https only; use such a url")]
    Scheme,
    /// A user name or password in the URL.
    #[error("the webhook's url must not hold a user name or password; put a token into its path instead")]
    Credentials,
    /// Port 0.
    #[error("the webhook's url must name a port from 1 to 65535")]
    Port,
    /// A name that stands for this host.
    #[error(
        "the webhook's host `{0}` is this machine; let the server's configuration allow private targets first"
    )]
    LocalName(String),
    /// An address that may not be reached.
    #[error(
        "the webhook's host has the address {address} ({what}), which is not public; let the server's configuration allow it first"
    )]
    Address {
        /// The address.
        address: IpAddr,
        /// What it is.
        what: &'static str,
    },
}

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Everybody may reach it.
    Global,
    /// This host and the networks around it.
    Private(&'static str),
    /// No place to send a webhook to, unless it is allowed by its block.
    Special(&'static str),
}

/// The blocks that [`Guard::allow_private`] opens.
const PRIVATE: [(Cidr, &str); 7] = [
    (Cidr::v4(127, 0, 0, 0, 8), "loopback"),
    (Cidr::v4(10, 0, 0, 0, 8), "private network"),
    (Cidr::v4(172, 16, 0, 0, 12), "private network"),
    (Cidr::v4(192, 168, 0, 0, 16), "private network"),
    (Cidr::v4(100, 64, 0, 0, 10), "carrier-grade nat"),
    (Cidr::v6(0xfc00, 0, 7), "unique local"),
    // ::1/128 has no place in this notation; `reach` knows it.
    (Cidr::v6(0xfec0, 0, 10), "site-local"),
];

/// The blocks that only [`Guard::allowed`] opens; they are looked up before [`PRIVATE`]. IPv6 needs no entry
/// outside 2000::/3, because nothing there is global unicast.
const SPECIAL: [(Cidr, &str); 20] = [
    (Cidr::v4(0, 0, 0, 0, 8), "this network"),
    (Cidr::v4(169, 254, 0, 0, 16), "link-local"),
    (Cidr::v4(192, 0, 0, 0, 24), "protocol assignments"),
    (Cidr::v4(192, 0, 2, 0, 24), "documentation"),
    (Cidr::v4(198, 51, 100, 0, 24), "documentation"),
    (Cidr::v4(203, 0, 113, 0, 24), "documentation"),
    (Cidr::v4(192, 88, 99, 0, 24), "6to4 relay"),
    (Cidr::v4(192, 31, 196, 0, 24), "as112"),
    (Cidr::v4(192, 52, 193, 0, 24), "multicast tunnels"),
    (Cidr::v4(192, 175, 48, 0, 24), "as112"),
    (Cidr::v4(198, 18, 0, 0, 15), "benchmarking"),
    (Cidr::v4(224, 0, 0, 0, 4), "multicast"),
    (Cidr::v4(240, 0, 0, 0, 4), "reserved or broadcast"),
    // Metadata services outside the link-local block: they hand out the credentials of the machine.
    (Cidr::v4(100, 100, 100, 200, 32), "metadata service"),
    (Cidr::v4(168, 63, 129, 16, 32), "metadata service"),
    (Cidr::v6(0xfd00, 0x0ec2, 32), "metadata service"),
    // Teredo, ORCHID, benchmarking and what else IANA assigns to protocols.
    (Cidr::v6(0x2001, 0, 23), "protocol assignments"),
    (Cidr::v6(0x2001, 0x0db8, 32), "documentation"),
    (Cidr::v6(0x2002, 0, 16), "6to4"),
    (Cidr::v6(0x3fff, 0, 20), "documentation"),
];

/// All of IPv6 that is global unicast.
const GLOBAL_V6: Cidr = Cidr::v6(0x2000, 0, 3);

fn reach(address: IpAddr) -> Reach {
    let find = |table: &[(Cidr, &'static str)]| {
        table.iter().find(|(block, _)| block.contains(address)).map(|(_, what)| *what)
    };
    if let Some(what) = find(&SPECIAL) {
        return Reach::Special(what);
    }
    if let Some(what) = find(&PRIVATE) {
        return Reach::Private(what);
    }
    match address {
        IpAddr::V4(_) => Reach::Global,
        IpAddr::V6(v6) if v6.is_loopback() => Reach::Private("loopback"),
        IpAddr::V6(_) if GLOBAL_V6.contains(address) => Reach::Global,
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Reach::Special("ipv4 inside ipv6"),
        IpAddr::V6(_) => Reach::Special("not global unicast"),
    }
}

impl Guard {
    /// Whether `address` may be connected to.
    pub fn judge(&self, address: IpAddr) -> Result<(), Refusal> {
        if self.allowed.iter().any(|block| block.contains(address)) {
            return Ok(());
        }
        match reach(address) {
            Reach::Global => Ok(()),
            Reach::Private(_) if self.allow_private => Ok(()),
            Reach::Private(what) | Reach::Special(what) => Err(Refusal::Address { address, what }),
        }
    }

    /// Reads a URL and judges everything about it that does not need the name service. What is returned is
    /// what must be requested.
    pub fn check(&self, text: &str) -> Result<Url, Refusal> {
        if text.len() > URL_CHARS_MAX {
            return Err(Refusal::TooLong);
        }
        // The URL standard drops or rewrites these in silence, which other parsers do not.
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(Refusal::Invalid);
        }
        let url = Url::parse(text).map_err(|_| Refusal::Invalid)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        if url.port() == Some(0) {
            return Err(Refusal::Port);
        }
        match url.host() {
            None => Err(Refusal::Invalid),
            Some(Host::Ipv4(address)) => self.judge(address.into()),
            Some(Host::Ipv6(address)) => self.judge(address.into()),
            Some(Host::Domain(name)) => self.judge_name(name),
        }?;
        Ok(url)
    }

    /// Refuses the names that mean this host whatever the name service says (RFC 6761).
    fn judge_name(&self, name: &str) -> Result<(), Refusal> {
        let bare = name.trim_end_matches('.');
        if bare.is_empty() {
            return Err(Refusal::Invalid);
        }
        let local = bare == "localhost" || bare.ends_with(".localhost");
        if local && self.judge(Ipv4Addr::LOCALHOST.into()).is_err() {
            return Err(Refusal::LocalName(bare.to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(guard: &Guard, address: &str) -> bool {
        guard.judge(address.parse().unwrap()).is_ok()
    }

    fn refusal(url: &str) -> Refusal {
        Guard::default().check(url).unwrap_err()
    }

    const PUBLIC: [&str; 12] = [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001::200e",
    ];

    const NEIGHBOURS: [&str; 13] = [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "::1",
        "fc00::1",
        "fdff::1",
        "fec0::1",
    ];

    const NOWHERE: [&str; 33] = [
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "169.254.0.1",
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.255",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "100.100.100.200",
        "168.63.129.16",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "3fff::1",
        "fe80::1",
        "ff02::1",
        "fd00:ec2::254",
    ];

    #[test]
    fn only_public_addresses_pass_by_default() {
        let guard = Guard::default();
        for address in PUBLIC {
            assert!(passes(&guard, address), "{address}");
        }
        for address in NEIGHBOURS.iter().chain(&NOWHERE) {
            assert!(!passes(&guard, address), "{address}");
        }
    }

    #[test]
    fn leave_for_private_networks_opens_no_more_than_those() {
        let guard = Guard { allow_private: true, ..Guard::default() };
        for address in PUBLIC.iter().chain(&NEIGHBOURS) {
            assert!(passes(&guard, address), "{address}");
        }
        for address in NOWHERE {
            assert!(!passes(&guard, address), "{address}");
        }
    }

    #[test]
    fn a_named_block_opens_itself_only() {
        let guard = Guard { allowed: vec!["10.1.0.0/16".parse().unwrap()], ..Guard::default() };
        assert!(passes(&guard, "10.1.2.3"));
        assert!(!passes(&guard, "10.2.0.1"));
        assert!(!passes(&guard, "::ffff:10.1.2.3"));
        assert!(guard.check("http://10.1.2.3/hook").is_ok());
        assert!(guard.check("http://localhost/").is_err());
    }

    #[test]
    fn every_spelling_of_an_address_is_the_address() {
        let loopback = Refusal::Address { address: Ipv4Addr::LOCALHOST.into(), what: "loopback" };
        for host in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "017700000001",
            "0x7F.1",
            "%31%32%37.0.0.1",
            "127。0。0。1",
            "①②⑦.⓪.⓪.①",
        ] {
            assert_eq!(refusal(&format!("http://{host}/")), loopback, "{host}");
        }
    }

    #[test]
    fn what_is_no_plain_web_address_is_refused() {
        let table = [
            ("ftp://example.com/", Refusal::Scheme),
            ("file:///etc/passwd", Refusal::Scheme),
            ("javascript:alert(1)", Refusal::Scheme),
            ("https://user@example.com/", Refusal::Credentials),
            ("https://:pass@example.com/", Refusal::Credentials),
            ("https://example.com:0/", Refusal::Port),
            ("https://example.com:65536/", Refusal::Invalid),
            ("https://", Refusal::Invalid),
            ("https://./", Refusal::Invalid),
            ("/hook", Refusal::Invalid),
            ("", Refusal::Invalid),
            ("https://example.com\\@10.0.0.1/", Refusal::Invalid),
            ("https://exa\nmple.com/", Refusal::Invalid),
            (" https://example.com/", Refusal::Invalid),
            ("https://[fe80::1%25eth0]/", Refusal::Invalid),
            ("https://localhost/", Refusal::LocalName("localhost".to_owned())),
            ("https://LocalHost./", Refusal::LocalName("localhost".to_owned())),
            ("https://a.b.localhost/", Refusal::LocalName("a.b.localhost".to_owned())),
        ];
        for (url, expected) in table {
            assert_eq!(refusal(url), expected, "{url}");
        }
        let long = format!("https://example.com/{}", "a".repeat(URL_CHARS_MAX));
        assert_eq!(refusal(&long), Refusal::TooLong);
    }

    #[test]
    fn an_ordinary_url_passes_and_is_returned_as_it_will_be_requested() {
        for url in ["https://example.com/hook?a=b", "http://example.com:65535/", "https://1.1.1.1/"] {
            assert_eq!(Guard::default().check(url).unwrap().as_str(), url);
        }
        let idn = Guard::default().check("https://bücher.example/").unwrap();
        assert_eq!(idn.as_str(), "https://xn--bcher-kva.example/");
    }

    #[test]
    fn a_refusal_does_not_repeat_the_path() {
        let error = refusal("http://127.0.0.1/services/T000/token?key=hunter2");
        assert!(!format!("{error} {error:?}").contains("token") && !error.to_string().contains("hunter2"));
    }

    #[test]
    fn the_configuration_reads_and_refuses_what_it_does_not_know() {
        let guard: Guard = serde_json::from_str(r#"{"allowed": ["10.0.0.0/8"]}"#).unwrap();
        assert_eq!(guard.allowed.len(), 1);
        assert!(serde_json::from_str::<Guard>(r#"{"allow": true}"#).is_err());
    }
}
