//! What every command has at hand.

use dogwatch_actors::clock::{Clock as _, SystemClock, Timestamp};
use dogwatch_actors::id::JobId;

use super::output::Paint;
use super::{Error, Global};
use crate::client::discover::Locator;
use crate::client::{Client, ListQuery};
use crate::config::{Flag, Loaded, Origin, Sources};
use crate::serve::assemble::Shim;
use crate::telemetry;

/// What every command has at hand.
#[derive(Debug)]
pub(super) struct Context {
    /// The configuration.
    pub(super) loaded: Loaded,
    /// Where the server is.
    pub(super) locator: Locator,
    /// Whether to print the API's JSON.
    pub(super) json: bool,
    /// How to paint.
    pub(super) paint: Paint,
    /// For a server in this process.
    pub(super) shim: Shim,
    rust_log: Option<String>,
}

impl Context {
    /// Reads the configuration; `flags` are those of the command.
    pub(super) fn new(global: Global, mut flags: Vec<Flag>, shim: Shim) -> Result<Self, Error> {
        if let Some(dir) = &global.data_dir {
            let value =
                dir.to_str().ok_or_else(|| Error::Usage("--data-dir must be Unicode".to_owned()))?.to_owned();
            flags.push(Flag { name: "--data-dir", key: "server.data_dir", value });
        }
        let sources = Sources { file: global.config, flags, ..Sources::from_process() };
        let loaded = Loaded::load(&sources)?;
        let locator = Locator::new(global.url, &sources.environment, loaded.data_dir().to_owned());
        let rust_log = sources.environment.get("RUST_LOG").cloned();
        Ok(Self { loaded, locator, json: global.json, paint: Paint::detect(), shim, rust_log })
    }

    /// Starts the log: of a server as configured; of another command quiet unless somebody asked for more.
    pub(super) fn start_log(&self, quiet: bool) -> Result<(), Error> {
        let log = &self.loaded.config.log;
        let is_default = self.loaded.origins.get("log.level") == Some(&Origin::Default);
        let level = if quiet && is_default { "error" } else { &log.level };
        telemetry::init(level, log.format, self.rust_log.as_deref()).map_err(Error::from)
    }

    /// A client of the server.
    pub(super) fn client(&self) -> Result<Client, Error> {
        self.locator.client().map_err(Error::from)
    }

    /// The time.
    pub(super) fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    /// The job that `text` means: an id, a name (the newest of it) or a part of an id.
    pub(super) async fn find_job(&self, client: &Client, text: &str) -> Result<JobId, Error> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let named = ListQuery { name: Some(text.to_owned()), limit: Some(1), ..ListQuery::default() };
        // What cannot be a name is refused as one, and may still be a part of an id.
        match client.list(&named).await {
            Ok(page) if !page.value.jobs.is_empty() => return Ok(page.value.jobs[0].id),
            Err(error) if error.status().is_none_or(|status| status != 400 && status != 422) => {
                return Err(error.into());
            }
            _ => {}
        }
        let all = client.list(&ListQuery { limit: Some(500), ..ListQuery::default() }).await?;
        let is_part = |id: &JobId| id.to_string().starts_with(text) || id.to_string().ends_with(text);
        let found: Vec<JobId> = all.value.jobs.iter().map(|job| job.id).filter(is_part).collect();
        match found.as_slice() {
            [id] => Ok(*id),
            [] => Err(Error::NoJob(text.to_owned())),
            many => Err(Error::Ambiguous { text: text.to_owned(), count: many.len() }),
        }
    }
}
