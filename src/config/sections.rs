//! The sections of the configuration, one struct per component, with the built-in defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use dogwatch_actors::job::spec::SecurityProfile;
use dogwatch_actors::outbound::cidr::Cidr;
/// The databases.
use dogwatch_actors::store::Kind;
use dogwatch_actors::units::{Size, Span};
use serde::{Deserialize, Serialize};

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The server itself.
    pub server: Server,
    /// The listener for callbacks.
    pub callback: Callback,
    /// The listener for workers and clients of the Durable Task SDKs.
    pub grpc: Grpc,
    /// The durable store.
    pub store: Store,
    /// Where what attempts leave is kept.
    pub artifacts: Artifacts,
    /// What attempts may use together.
    pub fleet: Fleet,
    /// Who of the jobs that wait is next.
    pub admission: Admission,
    /// The docker runtime.
    pub docker: Docker,
    /// The process runtime.
    pub process: Process,
    /// What jobs may ask for.
    pub security: Security,
    /// Outgoing webhooks.
    pub webhooks: Webhooks,
    /// The server's own log.
    pub log: Log,
}

/// The server itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Where everything durable is kept; `None`: the default of the user.
    pub data_dir: Option<PathBuf>,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Whether the API may listen on an address that other machines reach.
    pub allow_remote: bool,
    /// The threads that jobs are spread over, and that serve the API and callbacks; `None`: one per core.
    pub threads: Option<usize>,
    /// Which runtimes are offered.
    pub runtime: RuntimeChoice,
    /// The file with the 32-byte key for secrets; `None`: the service credential or the data directory.
    pub secrets_key_file: Option<PathBuf>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            data_dir: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7070)),
            allow_remote: false,
            threads: None,
            runtime: RuntimeChoice::Auto,
            secrets_key_file: None,
        }
    }
}

/// Which runtimes are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeChoice {
    /// Processes, and containers whenever an engine answers.
    #[default]
    Auto,
    /// Containers only.
    Docker,
    /// Processes only.
    Process,
}

/// The listener for callbacks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Callback {
    /// Where it listens for attempts on this machine. Outside the range of ephemeral ports, so that no
    /// outgoing connection can hold it while the server is being restarted.
    pub listen: SocketAddr,
    /// Whether it also listens on the address by which containers reach this host.
    pub containers: bool,
    /// The base URL that containers are told; `None`: found out from the engine.
    pub docker_url: Option<String>,
}

impl Default for Callback {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7071)), containers: true, docker_url: None }
    }
}

/// The listener for workers and clients of the Durable Task SDKs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grpc {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it listens; `None`: the built-in address, or a free port where the API has one.
    pub listen: Option<SocketAddr>,
    /// Whether callers need no key; on a loopback address only.
    pub allow_without_key: bool,
    /// The file with the certificate chain, as PEM; without one it speaks plaintext.
    pub tls_cert: Option<PathBuf>,
    /// The file with the key of the certificate, as PEM.
    pub tls_key: Option<PathBuf>,
    /// Task hubs that are there from the start, beside `default`.
    pub task_hubs: Vec<String>,
}

impl Grpc {
    /// Where it listens when nothing is said.
    pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7072);
}

impl Default for Grpc {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: None,
            allow_without_key: false,
            tls_cert: None,
            tls_key: None,
            task_hubs: vec![],
        }
    }
}

/// Which database keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreEngine {
    /// The one that is in the data directory; in a new one that of the default kind.
    #[default]
    Auto,
    /// [`Kind::Lsm`].
    Lsm,
    /// [`Kind::Sled`].
    Sled,
    /// [`Kind::Redb`].
    Redb,
}

impl StoreEngine {
    /// The kind that is asked for; `None` when any will do.
    pub const fn kind(self) -> Option<Kind> {
        match self {
            Self::Auto => None,
            Self::Lsm => Some(Kind::Lsm),
            Self::Sled => Some(Kind::Sled),
            Self::Redb => Some(Kind::Redb),
        }
    }
}

/// The durable store.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Which database.
    pub engine: StoreEngine,
}

/// Where what attempts leave is kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Artifacts {
    /// The name of a store of `[stores.<name>]`; `None`: a folder of the data directory.
    pub store: Option<String>,
}

/// What attempts may use together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fleet {
    /// Attempts at once; `None`: the built-in limit.
    pub attempts_max: Option<usize>,
    /// Jobs that may wait for a slot; `None`: the built-in limit.
    pub queued_max: Option<usize>,
    /// Cores that they name together; `None`: no bound.
    pub cpus: Option<f64>,
    /// Memory that they name together; `None`: no bound.
    pub memory: Option<Size>,
}

/// The docker runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Docker {
    /// The engine's address; `None`: `DOCKER_HOST`, else the usual socket.
    pub host: Option<String>,
    /// What the names of our containers begin with.
    pub prefix: String,
    /// Cores of a container that asks for none.
    pub cpu: f64,
    /// Memory of a container that asks for none.
    pub memory: Size,
    /// Processes and threads of a container that asks for none.
    pub pids: u32,
    /// Paths of the host that containers may be given as volumes, with what is below them.
    pub host_paths: Vec<String>,
}

impl Default for Docker {
    fn default() -> Self {
        Self {
            host: None,
            prefix: "dogwatch".to_owned(),
            cpu: 1.0,
            memory: Size::from_bytes(512 << 20),
            pids: 512,
            host_paths: vec![],
        }
    }
}

/// Who of the jobs that wait is next; tenants and concurrency keys stand in tables of their own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// The label whose value is the tenant of a job that names none.
    pub tenant_label: Option<String>,
    /// So many attempts may start in `rate_per`, of all jobs together.
    pub rate_limit: Option<u32>,
    /// The time in which so many may.
    pub rate_per: Option<Span>,
}

/// The process runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// Whether jobs may be processes of this host. They run as the server's user, confined by nothing.
    pub enabled: bool,
}

impl Default for Process {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// What jobs may ask for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// The weakest security profile that is accepted.
    pub weakest_profile: SecurityProfile,
    /// Below these directories clients may have triggers look for files. Triggers of the configuration may look anywhere.
    pub trigger_directories: Vec<PathBuf>,
}

/// Outgoing webhooks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Whether a webhook may go to a loopback, private or link-local address.
    pub allow_private_networks: bool,
    /// Blocks of addresses that a webhook may go to whatever they are.
    pub allowed: Vec<Cidr>,
}

/// The server's own log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A level, or a filter such as `info,dogwatch=debug`. `RUST_LOG` wins over it.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
