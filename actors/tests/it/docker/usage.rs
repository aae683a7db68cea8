//! What containers used, as an engine tells it whose host's accounts cannot be read.

use std::io::copy;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::thread;

use dogwatch_actors::runtime::docker::{DockerOptions, DockerRuntime};
use dogwatch_actors::runtime::{Observation, Runtime as _};
use tokio::time::{Duration, timeout};

use super::{PATIENCE, Rig};

const ENGINE: &str = "/var/run/docker.sock";

/// The engine's socket as an address of the network, for as long as the test lives.
fn elsewhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let engine = UnixStream::connect(ENGINE).unwrap();
            let (mut up, mut down) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
            let (mut client, mut engine) = (client, engine);
            thread::spawn(move || {
                drop(copy(&mut up, &mut down));
                drop(down.shutdown(std::net::Shutdown::Write));
            });
            thread::spawn(move || {
                drop(copy(&mut engine, &mut client));
                drop(client.shutdown(std::net::Shutdown::Write));
            });
        }
    });
    format!("tcp://{address}")
}

#[tokio::test]
async fn an_engine_elsewhere_is_asked_for_it() {
    let rig = Rig::new().await;
    let options = DockerOptions { host: Some(elsewhere()), ..DockerOptions::new(rig.installation) };
    let docker = DockerRuntime::connect(options).unwrap();
    let plan = rig.plan("i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; sleep 3");
    docker.create(&plan).await.unwrap();
    docker.start(plan.key).await.unwrap();
    let ended = async {
        loop {
            match docker.observe(plan.key).await.unwrap() {
                Observation::Exited(exit) => return exit,
                _ => docker.wait(plan.key, Duration::from_secs(1)).await,
            }
        }
    };
    let exit = timeout(PATIENCE, ended).await.expect("it ends");
    let usage = exit.usage.expect("it was measured");
    // What came after the last answer is not known.
    assert!(usage.unmeasured_ms < 3_500, "{usage:?}");
    assert!((5_000..10_000_000).contains(&usage.cpu_us), "{usage:?}");
    assert!(usage.memory_kib_s > 0 && usage.running_ms >= 3_000, "{usage:?}");
}
