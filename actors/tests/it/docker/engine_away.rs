//! An engine that is away: everything is unknown, nothing is an exit, and when it is back all goes on.

use std::path::Path;
use std::time::Duration;

use dogwatch_actors::job::spec::StopSignal;
use dogwatch_actors::runtime::docker::{DockerOptions, DockerRuntime};
use dogwatch_actors::runtime::{Error, Observation, Runtime as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{PATIENCE, Rig, options};

const ENGINE: &str = "/var/run/docker.sock";

/// An engine behind a socket of ours: as long as this lives, connections to `socket` reach it.
struct Relay(tokio::task::JoinHandle<()>);

impl Relay {
    fn open(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("the socket is free");
        Self(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut far = UnixStream::connect(ENGINE).await.expect("the engine is there");
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        }))
    }

    /// Cuts every connection, as an engine does that is killed.
    async fn close(self, socket: &Path) {
        self.0.abort();
        assert!(self.0.await.is_err_and(|error| error.is_cancelled()));
        std::fs::remove_file(socket).expect("it was there");
    }
}

fn is_unavailable<T: std::fmt::Debug>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Unavailable { .. }))
}

#[tokio::test]
async fn while_the_engine_is_away_nothing_is_known_and_then_it_is_again() {
    let rig = Rig::new().await;
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("engine.sock");
    let host = Some(format!("unix://{}", socket.display()));
    let docker = DockerRuntime::connect(DockerOptions { host, ..options(rig.installation) }).unwrap();
    let plan = rig.plan("sleep 100");
    let key = plan.key;

    // Not there when we start.
    let health = docker.health().await;
    assert!(format!("{health:?}").contains("DOCKER_HOST"), "it says what to do: {health:?}");
    assert!(is_unavailable(docker.create(&plan).await));
    assert!(is_unavailable(docker.list().await));

    let relay = Relay::open(&socket);
    docker.create(&plan).await.unwrap();
    docker.start(key).await.unwrap();
    assert!(matches!(docker.observe(key).await, Ok(Observation::Running(_))));
    let mut hints = docker.hints().await.unwrap();
    let mut lines = docker.logs(key, None).await.unwrap();

    // Gone under us, with a wait, a log and a subscription open.
    let begun = Instant::now();
    let waiting = docker.wait(key, PATIENCE);
    let closing = async {
        tokio::task::yield_now().await;
        relay.close(&socket).await;
    };
    tokio::join!(waiting, closing);
    assert!(begun.elapsed() < PATIENCE, "a wait that is cut is not waited out");
    assert!(is_unavailable(docker.observe(key).await), "a lost wait is no exit");
    assert!(is_unavailable(docker.start(key).await));
    assert!(is_unavailable(docker.stop(key, StopSignal::Sigterm, Duration::from_millis(10)).await));
    assert!(is_unavailable(docker.remove(key).await));
    assert!(is_unavailable(docker.list().await));
    assert!(is_unavailable(docker.hints().await.map(drop)));
    let last = tokio::time::timeout(PATIENCE, async {
        use futures_util::StreamExt as _;
        while hints.next().await.is_some() {}
        lines.next().await
    });
    let last = last.await.expect("open streams end");
    assert!(last.is_none_or(|line| is_unavailable(line)));

    let _relay = Relay::open(&socket);
    assert!(matches!(docker.observe(key).await, Ok(Observation::Running(_))), "it went on without us");
    docker.stop(key, StopSignal::Sigkill, Duration::ZERO).await.unwrap();
    docker.remove(key).await.unwrap();
    assert_eq!(docker.observe(key).await.unwrap(), Observation::Absent);
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_refused_at_once() {
    for host in ["ssh://somewhere", "nonsense", "https://somewhere:2376"] {
        let rig = dogwatch_actors::id::InstallationId::from_bytes([0; 16]);
        let refused = DockerRuntime::connect(DockerOptions { host: Some(host.into()), ..options(rig) });
        assert!(is_unavailable(refused), "{host}");
    }
}
