//! The configuration: flags over environment over file over built-in defaults.
//!
//! Responsible for: finding, merging and checking the values, and remembering where each came from.
//! Not responsible for: acting on them (that is `serve`), or for what a client needs to find a server
//! (that is `client::discover`).
//!
//! Invariants:
//! - a key that nobody knows is an error in every layer, with the nearest known key as a suggestion;
//! - every value knows its [`Origin`], and an error about a value names it;
//! - no secret is a value of the configuration, only the path of a file that holds one.

mod admission;
mod error;
mod keys;
mod layers;
mod origin;
mod paths;
mod render;
mod schedules;
mod sections;
mod stores;
mod triggers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dogwatch_actors::admission::Rules;
use dogwatch_actors::bucket;
use dogwatch_actors::schedule::{self, ScheduleId};
use dogwatch_actors::trigger::{self, TriggerId};

pub use error::Error;
pub use origin::Origin;
pub use paths::default_data_dir;
pub use sections::{
    Admission, Artifacts, Callback, Config, Docker, Fleet, Grpc, Log, LogFormat, Process, RuntimeChoice,
    Security, Server, Store, StoreEngine, Webhooks,
};

/// The environment, as read once at the start (or made up in a test).
pub type Environment = BTreeMap<String, String>;

/// One setting given as a flag: the flag's name, the key it sets and the value as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag, such as `--listen`.
    pub name: &'static str,
    /// The key, such as `server.listen`.
    pub key: &'static str,
    /// The value.
    pub value: String,
}

/// Where values may come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file of `--config`.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: Environment,
    /// The flags.
    pub flags: Vec<Flag>,
}

impl Sources {
    /// No file, no flags, and the process's environment. Variables that are not Unicode are left out:
    /// none of ours can be one.
    pub fn from_process() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { environment, ..Self::default() }
    }
}

/// A complete configuration, and where each of its values came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where each value came from, by its key. A key that is not set has none.
    pub origins: BTreeMap<String, Origin>,
    data_dir: PathBuf,
    schedules: schedules::Schedules,
    stores: stores::Stores,
    triggers: triggers::Triggers,
    admitted: admission::Declared,
    rules: Rules,
}

impl Loaded {
    /// Merges all sources.
    pub fn load(sources: &Sources) -> Result<Self, Error> {
        let mut layers = vec![layers::defaults()];
        let mut declarations = layers::Declarations::default();
        if let Some(path) = &sources.file {
            let (layer, declared) = layers::file(path)?;
            layers.push(layer);
            declarations = declared;
        }
        layers.push(layers::environment(&sources.environment)?);
        layers.push(layers::flags(&sources.flags)?);
        let (config, mut origins) = layers::merge(layers)?;
        let layers::Declarations { schedules, stores, triggers, admitted } = declarations;
        stores.check_name("artifacts.store", config.artifacts.store.as_deref(), &origins)?;
        let data_dir = match &config.server.data_dir {
            Some(dir) => dir.clone(),
            None => {
                origins.insert("server.data_dir".to_owned(), Origin::Default);
                default_data_dir(&sources.environment, rustix::process::geteuid().is_root())?
            }
        };
        let rate = ["admission.rate_limit", "admission.rate_per"].iter().find_map(|key| origins.get(*key));
        let rules = admission::rules(&config.admission, &admitted, rate.unwrap_or(&Origin::Default))?;
        Ok(Self { config, origins, data_dir, schedules, stores, triggers, admitted, rules })
    }

    /// The schedules that are declared in the file.
    pub fn schedules(&self) -> &BTreeMap<ScheduleId, schedule::Spec> {
        &self.schedules.specs
    }

    /// The triggers that are declared in the file.
    pub fn triggers(&self) -> &BTreeMap<TriggerId, trigger::Spec> {
        &self.triggers.specs
    }

    /// The buckets that are declared in the file, by their names.
    pub fn stores(&self) -> &BTreeMap<String, bucket::Config> {
        &self.stores.configs
    }

    /// Who of the jobs that wait is next.
    pub const fn admission(&self) -> &Rules {
        &self.rules
    }

    /// The data directory: the configured one or the default of this user.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The configuration as TOML, each line with where it came from.
    pub fn to_toml(&self) -> String {
        render::toml(self)
    }

    /// The same as JSON: `{"section": {"key": {"value": …, "from": …}}}`.
    pub fn to_json(&self) -> serde_json::Value {
        render::json(self)
    }
}
