//! The list of every key: what the environment may set, what `dogwatch config` shows, what a typing error
//! is compared with.

/// How a text (of an environment variable or a flag) becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As it is.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// Texts, separated by commas.
    List,
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// Section and name.
    pub(super) path: &'static str,
    /// How its text is read.
    pub(super) kind: Kind,
    /// A short environment variable beside `DOGWATCH_<SECTION>__<KEY>`.
    pub(super) alias: Option<&'static str>,
}

impl Key {
    /// Its environment variable.
    pub(super) fn variable(&self) -> String {
        format!("DOGWATCH_{}", self.path.to_ascii_uppercase().replace('.', "__"))
    }

    const fn new(path: &'static str, kind: Kind) -> Self {
        Self { path, kind, alias: None }
    }

    const fn or(path: &'static str, alias: &'static str) -> Self {
        Self { path, kind: Kind::Text, alias: Some(alias) }
    }
}

/// Every key, section by section, in the order in which they are shown.
pub(super) const KEYS: [Key; 37] = [
    Key::or("server.data_dir", "DOGWATCH_DATA_DIR"),
    Key::or("server.listen", "DOGWATCH_LISTEN"),
    Key::new("server.allow_remote", Kind::Bool),
    Key::new("server.threads", Kind::Whole),
    Key::or("server.runtime", "DOGWATCH_RUNTIME"),
    Key::or("server.secrets_key_file", "DOGWATCH_SECRETS_KEY_FILE"),
    Key::or("callback.listen", "DOGWATCH_CALLBACK_LISTEN"),
    Key::new("callback.containers", Kind::Bool),
    Key::new("callback.docker_url", Kind::Text),
    Key::new("grpc.enabled", Kind::Bool),
    Key::or("grpc.listen", "DOGWATCH_GRPC_LISTEN"),
    Key::new("grpc.allow_without_key", Kind::Bool),
    Key::new("grpc.tls_cert", Kind::Text),
    Key::new("grpc.tls_key", Kind::Text),
    Key::new("grpc.task_hubs", Kind::List),
    Key::new("store.engine", Kind::Text),
    Key::new("artifacts.store", Kind::Text),
    Key::new("fleet.attempts_max", Kind::Whole),
    Key::new("fleet.queued_max", Kind::Whole),
    Key::new("fleet.cpus", Kind::Number),
    Key::new("fleet.memory", Kind::Text),
    Key::new("admission.tenant_label", Kind::Text),
    Key::new("admission.rate_limit", Kind::Whole),
    Key::new("admission.rate_per", Kind::Text),
    Key::new("docker.host", Kind::Text),
    Key::new("docker.prefix", Kind::Text),
    Key::new("docker.cpu", Kind::Number),
    Key::new("docker.memory", Kind::Text),
    Key::new("docker.pids", Kind::Whole),
    Key::new("docker.host_paths", Kind::List),
    Key::new("process.enabled", Kind::Bool),
    Key::new("security.weakest_profile", Kind::Text),
    Key::new("security.trigger_directories", Kind::List),
    Key::new("webhooks.allow_private_networks", Kind::Bool),
    Key::new("webhooks.allowed", Kind::List),
    Key::new("log.level", Kind::Text),
    Key::new("log.format", Kind::Text),
];

/// The key of this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// A sentence that names what may have been meant by `given`.
pub(super) fn suggest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        // A third of the letters wrong is a typing error; more is another word.
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .min()
        .map(|(_, name)| name)
}
