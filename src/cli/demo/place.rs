//! Where the job of the demonstration runs: in a container where an engine answers, else as a process.
//!
//! Responsible for: what differs between the two, and for leaving nothing behind. Not responsible for: the
//! demonstration itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dogwatch_actors::id::{AttemptKey, InstallationId};
use dogwatch_actors::job::spec::StopSignal;
use dogwatch_actors::logs::LogStore;
use dogwatch_actors::runtime::docker::{DockerOptions, DockerRuntime};
use dogwatch_actors::runtime::{LogLine, Runtime as _};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{failed, image};
use crate::cli::Error;
use crate::config::{Config, RuntimeChoice};
use crate::limits::{DEMO_IMAGE_MAX, ENGINE_START_MAX};

/// The name of the image that is made for the demonstration, and removed after it.
const IMAGE: &str = "dogwatch-demo";

/// Where the job runs.
pub(super) enum Place {
    /// As a process of this host.
    Process {
        /// This program.
        program: PathBuf,
    },
    /// In a container.
    Docker {
        /// The engine.
        runtime: DockerRuntime,
        /// What it is called.
        engine: String,
        /// The tag of the image: this demonstration's own.
        tag: String,
    },
}

impl Place {
    /// A container where one is wanted, and an engine answers and takes our image.
    pub(super) async fn find(program: &Path, installation: InstallationId, config: &Config) -> Self {
        let is_wanted = config.server.runtime != RuntimeChoice::Process;
        let docker = if is_wanted { Self::docker(program, installation, config).await } else { None };
        docker.unwrap_or_else(|| Self::Process { program: program.to_owned() })
    }

    async fn docker(program: &Path, installation: InstallationId, config: &Config) -> Option<Self> {
        let options = DockerOptions { host: config.docker.host.clone(), ..DockerOptions::new(installation) };
        let runtime = DockerRuntime::connect(options).ok()?;
        let health = timeout(ENGINE_START_MAX, runtime.health()).await.ok()?.ok()?;
        let (path, tag) = (program.to_owned(), installation.to_string());
        let tar = tokio::task::spawn_blocking(move || image::tar(&path)).await.ok()?.ok()?;
        let import = timeout(DEMO_IMAGE_MAX, runtime.import_image(IMAGE, &tag, tar)).await.ok()?;
        if let Err(error) = import {
            tracing::debug!(%error, "the engine does not take the image of the demonstration");
            return None;
        }
        Some(Self::Docker { runtime, engine: health.version, tag })
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Process { .. } => "a process".to_owned(),
            Self::Docker { engine, .. } => format!("a container ({engine})"),
        }
    }

    /// What the supervisor is told with `--runtime`.
    pub(super) const fn runtime(&self) -> &'static str {
        match self {
            Self::Process { .. } => "process",
            Self::Docker { .. } => "docker",
        }
    }

    /// The job.
    pub(super) fn spec(&self) -> Value {
        let (image, program) = match self {
            Self::Process { program } => (None, program.display().to_string()),
            Self::Docker { tag, .. } => (Some(format!("{IMAGE}:{tag}")), image::PROGRAM.to_owned()),
        };
        let mut spec = json!({
            "name": "demo", "entrypoint": [program, "demo-worker"], "completion": "callback", "max_attempts": 1,
        });
        if let Some(image) = image {
            spec["image"] = image.into();
        }
        spec
    }

    /// What the attempt writes, from the beginning and as it comes, without the help of any supervisor.
    pub(super) async fn output(
        &self,
        dir: &Path,
        key: AttemptKey,
    ) -> Result<BoxStream<'static, Result<LogLine, Error>>, Error> {
        let fault = |error: &dyn std::fmt::Display| Error::Demo(format!("the log cannot be read: {error}"));
        Ok(match self {
            Self::Process { .. } => {
                let reader = LogStore::new(dir.join("logs")).reader(key);
                reader.follow(std::future::pending()).map_err(move |error| fault(&error)).boxed()
            }
            Self::Docker { runtime, .. } => {
                let lines = runtime.logs(key, None).await.map_err(|error| fault(&error))?;
                lines.map_err(move |error| fault(&error)).boxed()
            }
        })
    }

    /// Removes what may be left: containers where the demonstration broke off, and the image.
    pub(super) async fn clear(&self) -> Result<(), Error> {
        let Self::Docker { runtime, tag, .. } = self else { return Ok(()) };
        let cleared = timeout(DEMO_IMAGE_MAX, async {
            for (key, _) in runtime.list().await? {
                runtime.stop(key, StopSignal::Sigkill, Duration::ZERO).await?;
                runtime.remove(key).await?;
            }
            runtime.remove_image(&format!("{IMAGE}:{tag}")).await
        });
        match cleared.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => failed(format!("something may be left in the engine: {error}")),
            Err(_) => failed("something may be left in the engine: it does not answer"),
        }
    }
}
