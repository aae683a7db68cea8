//! Which orchestrations and activities there are: plain async functions, by name and version.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::activity::ActivityContext;
use super::context::{OrchestrationContext, read};
use super::failure::{Failure, Result, kinds};
use super::payload::Payload;
use super::version::{DEFAULT_VERSION, Version, VersionPolicy, to_begin, to_go_on};
use crate::limits::ORCHESTRATION_PAYLOAD_BYTES_MAX;

/// Code that is given a context and JSON, and gives JSON.
type Code<C> = Arc<dyn Fn(C, Payload) -> BoxFuture<'static, Result<Payload>> + Send + Sync>;
pub(super) type OrchestrationCode = Code<OrchestrationContext>;
pub(super) type ActivityCode = Code<ActivityContext>;

/// Orchestrations and activities. Every start of the application registers what it has; instances find their code by
/// name and version.
#[derive(Clone, Default)]
pub struct Registry {
    orchestrations: BTreeMap<String, Versions>,
    activities: BTreeMap<String, ActivityCode>,
}

#[derive(Clone, Default)]
struct Versions {
    codes: BTreeMap<Version, OrchestrationCode>,
    policy: VersionPolicy,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let orchestrations: Vec<_> = self.orchestrations.keys().collect();
        let activities: Vec<_> = self.activities.keys().collect();
        f.debug_struct("Registry")
            .field("orchestrations", &orchestrations)
            .field("activities", &activities)
            .finish()
    }
}

impl Registry {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers an orchestration as version 1.0.0.
    #[must_use]
    pub fn orchestration<I, O, E, F, Fut>(self, name: &str, code: F) -> Self
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        E: Into<Failure> + 'static,
        F: Fn(OrchestrationContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<O, E>> + Send + 'static,
    {
        self.version(name, DEFAULT_VERSION, code)
    }

    /// Registers a version of an orchestration. Instances that begin take the newest, unless they are started with
    /// another one.
    #[must_use]
    pub fn version<I, O, E, F, Fut>(mut self, name: &str, version: &str, code: F) -> Self
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        E: Into<Failure> + 'static,
        F: Fn(OrchestrationContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<O, E>> + Send + 'static,
    {
        let code: OrchestrationCode = over_json("the input of the orchestration", code);
        self.orchestrations.entry(name.to_owned()).or_default().codes.insert(Version::new(version), code);
        self
    }

    /// Which version instances of this orchestration go on with. Default: that with which they began.
    #[must_use]
    pub fn version_policy(mut self, name: &str, policy: VersionPolicy) -> Self {
        self.orchestrations.entry(name.to_owned()).or_default().policy = policy;
        self
    }

    /// Registers an activity. It may do anything; it runs at least once each time it is asked for.
    #[must_use]
    pub fn activity<I, O, E, F, Fut>(mut self, name: &str, code: F) -> Self
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        E: Into<Failure> + 'static,
        F: Fn(ActivityContext, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = std::result::Result<O, E>> + Send + 'static,
    {
        let code: ActivityCode = over_json("the input of the activity", code);
        self.activities.insert(name.to_owned(), code);
        self
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.orchestrations.is_empty() && self.activities.is_empty()
    }

    /// The names of the orchestrations.
    pub fn orchestrations(&self) -> impl Iterator<Item = &str> {
        self.orchestrations.keys().map(String::as_str)
    }

    pub(super) fn find_activity(&self, name: &str) -> Option<&ActivityCode> {
        self.activities.get(name)
    }

    /// The code for an instance that begins.
    pub(super) fn to_begin(&self, name: &str, asked: Option<&str>) -> Option<(&str, &OrchestrationCode)> {
        let (version, code) = to_begin(&self.orchestrations.get(name)?.codes, asked)?;
        Some((version.text(), code))
    }

    /// The code for an instance that goes on.
    pub(super) fn to_go_on(&self, name: &str, began: &str) -> Option<(&str, &OrchestrationCode)> {
        let versions = self.orchestrations.get(name)?;
        let (version, code) = to_go_on(&versions.codes, began, versions.policy)?;
        Some((version.text(), code))
    }
}

/// A typed function as one over JSON.
fn over_json<C, I, O, E, F, Fut>(what: &'static str, code: F) -> Code<C>
where
    I: DeserializeOwned,
    O: Serialize,
    E: Into<Failure>,
    F: Fn(C, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = std::result::Result<O, E>> + Send + 'static,
{
    Arc::new(move |ctx, input| {
        let future = read(what, input).map(|input| code(ctx, input));
        Box::pin(async move { write(future?.await.map_err(Into::into)?) })
    })
}

fn write(output: impl Serialize) -> Result<Payload> {
    let output = Payload::from(serde_json::to_value(output)?);
    is_small(&output)?;
    Ok(output)
}

/// Whether a payload may be kept in a history.
pub(crate) fn is_small(payload: &Payload) -> Result<()> {
    let is_small = match payload {
        Payload::Text(text) => text.len() <= ORCHESTRATION_PAYLOAD_BYTES_MAX,
        Payload::Json(value) => serde_json::to_writer(Counter(0), value).is_ok(),
    };
    if is_small {
        return Ok(());
    }
    let message = format!(
        "a payload has at most {ORCHESTRATION_PAYLOAD_BYTES_MAX} bytes as JSON; keep the data elsewhere and pass a reference"
    );
    Err(Failure::new(kinds::PAYLOAD, message).non_retriable())
}

/// Counts bytes and fails when there are too many.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        if self.0 > ORCHESTRATION_PAYLOAD_BYTES_MAX {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
