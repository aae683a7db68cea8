//! The floor for containers: the same calls to the engine, made by hand: create, start, wait, logs, remove.
//!
//! Invariant: every container has the label of this process, and all that have it are removed at the end.

use std::cell::Cell;
use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use dogwatch_actors::clock::{Clock as _, SystemClock, Timestamp};
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use tokio::time::Instant;

use crate::error::{Error, Result};

/// The image of the tests; `cargo xtask prepare` makes it.
pub(crate) const IMAGE: &str = "dogwatch-test";

/// How long the engine may take for one answer, in seconds.
const TIMEOUT_SECONDS: u64 = 300;

/// The label of the containers that are made here.
const LABEL: &str = "dev.dogwatch.bench";

/// An engine that is used by hand.
#[derive(Debug)]
pub(crate) struct BareEngine {
    client: Docker,
    label: String,
}

impl BareEngine {
    /// The engine of this host.
    pub(crate) async fn connect() -> Result<Self> {
        let socket = "unix:///var/run/docker.sock";
        let client = Docker::connect_with_unix(socket, TIMEOUT_SECONDS, API_DEFAULT_VERSION)?;
        let client = client.negotiate_version().await?;
        client.inspect_image(IMAGE).await?;
        Ok(Self { client, label: std::process::id().to_string() })
    }

    /// Runs so many containers, so many at a time; containers per second.
    pub(crate) async fn rate(&self, count: u64, parallelism: usize) -> Result<f64> {
        let next = Cell::new(0);
        let worker = async || {
            while next.get() < count {
                next.set(next.get() + 1);
                self.run().await?;
            }
            Ok::<(), Error>(())
        };
        let started = Instant::now();
        try_join_all((0..parallelism).map(|_| worker())).await?;
        Ok(count as f64 / started.elapsed().as_secs_f64())
    }

    /// Milliseconds from the wish for one container to its start, by the engine's clock.
    pub(crate) async fn start_millis(&self) -> Result<f64> {
        let wished = SystemClock.now();
        let id = self.create().await?;
        self.client.start_container(&id, None::<StartContainerOptions>).await?;
        let found = self.client.inspect_container(&id, None::<InspectContainerOptions>).await?;
        self.finish(&id).await?;
        let text = found.state.and_then(|state| state.started_at).unwrap_or_default();
        let started: Timestamp =
            text.parse().map_err(|_| Error::Answer { member: "StartedAt", answer: text.clone() })?;
        Ok(started.since(wished).as_secs_f64() * 1e3)
    }

    async fn run(&self) -> Result<()> {
        let id = self.create().await?;
        self.client.start_container(&id, None::<StartContainerOptions>).await?;
        self.finish(&id).await
    }

    /// As dogwatch creates one: with limits, an init, and less than the default capabilities.
    async fn create(&self) -> Result<String> {
        let body = ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            cmd: Some(vec!["true".to_owned()]),
            labels: Some(HashMap::from([(LABEL.to_owned(), self.label.clone())])),
            host_config: Some(HostConfig {
                init: Some(true),
                memory: Some(512 << 20),
                memory_swap: Some(512 << 20),
                nano_cpus: Some(1_000_000_000),
                pids_limit: Some(512),
                cap_drop: Some(vec!["NET_RAW".to_owned()]),
                security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
                log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: None }),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        Ok(self.client.create_container(None::<CreateContainerOptions>, body).await?.id)
    }

    /// Waits for the end, reads the logs, removes it.
    async fn finish(&self, id: &str) -> Result<()> {
        let mut wait = self.client.wait_container(id, None::<WaitContainerOptions>);
        while let Some(ended) = wait.next().await {
            ended?;
        }
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).timestamps(true).build();
        let mut lines = self.client.logs(id, Some(options));
        while let Some(line) = lines.next().await {
            line?;
        }
        let options = RemoveContainerOptionsBuilder::new().v(true).build();
        Ok(self.client.remove_container(id, Some(options)).await?)
    }

    /// Removes every container with this label, and returns how many there were.
    pub(crate) async fn remove_labelled(&self, label: &str) -> Result<usize> {
        let filters = HashMap::from([("label", vec![label.to_owned()])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = self.client.list_containers(Some(options)).await?;
        for id in found.iter().filter_map(|container| container.id.as_deref()) {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            // One that is gone by now is what is wanted.
            self.client.remove_container(id, Some(options)).await.ok();
        }
        Ok(found.len())
    }

    /// Removes what a measurement that broke off has left.
    pub(crate) async fn clear(&self) -> Result<usize> {
        self.remove_labelled(&format!("{LABEL}={}", self.label)).await
    }
}
