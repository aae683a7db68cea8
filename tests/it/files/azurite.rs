//! Azure Blob, on the emulator that its makers give: artifacts go there, are read from there, and are removed there.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dogwatch_actors::bucket::{Bucket, Config};
use dogwatch_actors::files::store::Error::Missing;
use dogwatch_actors::files::{ArtifactStore, conformance};
use dogwatch_actors::id::AttemptKey;
use serde_json::json;

use super::{NEAR, artifacts, content, delete, spec};
use crate::bench::{Bench, CONFIG, On};
use crate::cli_run::data_dir;

/// The well-known account and key of the emulator.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The emulator, on a port of its own and in memory.
struct Azurite {
    child: Child,
    address: String,
}

impl Azurite {
    fn start(container: &str) -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let node = target.join("sdks/bin/node");
        let program = folder().join("node_modules/azurite/dist/src/blob/main.js");
        assert!(program.is_file(), "the emulator is not installed; run `cargo xtask prepare`");
        let mut command = Command::new(&node);
        command.arg(program).args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", "0"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = lines.map(Result::unwrap).filter(|line| line.contains("listens on"));
        let line = told.next().expect("it says where it listens");
        let address = line.split_whitespace().last().unwrap().to_owned();
        // Read on: a full pipe would stop it.
        std::thread::spawn(move || told.for_each(drop));
        let made = Command::new(node)
            .arg(folder().join("container.mjs"))
            .args([&address, container])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { child, address }
    }

    /// What is configured of a place in it.
    fn config(&self, url: &str, secret: &Path) -> Config {
        Config {
            account: Some(ACCOUNT.into()),
            secret_file: Some(secret.to_owned()),
            endpoint: Some(format!("{}/{ACCOUNT}", self.address)),
            allow_http: true,
            ..Config::at(url)
        }
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/azurite")
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_blob_is_a_place_for_artifacts() {
    let azurite = Azurite::start("suite");
    let keys = tempfile::tempdir().unwrap();
    std::fs::write(keys.path().join("key"), KEY).unwrap();
    let config = azurite.config("az://suite/below/this", &keys.path().join("key"));
    conformance::passes(&ArtifactStore::new(Bucket::open("azurite", &config).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_go_to_azure_blob() {
    let azurite = Azurite::start("runs");
    let (keys, dir) = (tempfile::tempdir().unwrap(), data_dir());
    let (secret, config) = (keys.path().join("key"), dir.path().join(CONFIG));
    std::fs::write(&secret, KEY).unwrap();
    let text = format!(
        "[artifacts]\nstore = \"results\"\n[stores.results]\nurl = \"az://runs/nightly/x\"\naccount = \"{ACCOUNT}\"\n\
         secret_file = \"{}\"\nendpoint = \"{}/{ACCOUNT}\"\nallow_http = true\n",
        secret.display(),
        azurite.address,
    );
    std::fs::write(config, text).unwrap();
    let mut bench = Bench::start_in(dir, On::Process, &[NEAR]).await;
    // More than one part, so that it goes as blocks.
    let script = "seq 1 3000000 > large; mkdir -p 'a b'; echo x > 'a b/ü#.txt'; sha256sum large";
    let id = bench.submit(&spec(On::Process, script, json!({"outputs": ["large", "a b"]}))).await;
    let over = bench.over(&id).await;
    assert_eq!(over["state"], "succeeded", "{over}");
    let digest = bench.logs(&id, "").await.split(' ').next().unwrap().to_owned();
    let found = artifacts(&bench, &id).await;
    assert_eq!((found.len(), &found["large"]["sha256"]), (2, &json!(digest)));
    assert!(!bench.path().join("artifacts").join(&id).exists(), "nothing of it is kept here");
    bench.restart(rustix::process::Signal::KILL).await;
    assert_eq!(content(&bench, &id, "large").await.lines().count(), 3_000_000);
    assert_eq!(content(&bench, &id, "a%20b/%C3%BC%23.txt").await, "x\n");
    // An artifact there is an input here.
    let more = json!({"inputs": [{"path": "in", "artifact": format!("{id}/large")}], "outputs": ["in"]});
    let next = bench.submit(&spec(On::Process, "exit 0", more)).await;
    assert_eq!(bench.over(&next).await["state"], "succeeded");
    assert_eq!(artifacts(&bench, &next).await["in"]["sha256"], digest.as_str());
    assert_eq!(delete(&bench, &id).await.0.as_u16(), 204);
    assert_eq!(delete(&bench, &next).await.0.as_u16(), 204);
    let store = azurite.config("az://runs/nightly/x", &secret);
    let store = ArtifactStore::new(Bucket::open("check", &store).unwrap());
    for (id, name) in [(&id, "large"), (&id, "a b/ü#.txt"), (&next, "in")] {
        let key = AttemptKey::new(id.parse().unwrap(), 1);
        bench
            .eventually("what a purged job left is removed there", async || {
                matches!(store.read(key, name, None).await, Err(Missing)).then_some(())
            })
            .await;
    }
    // A bucket that is gone is waited for, and said.
    drop(azurite);
    let waits = bench.submit(&spec(On::Process, "echo x > out", json!({"outputs": ["out"]}))).await;
    let told = bench
        .until(&waits, "it says what it waits for", |job| {
            job["message"].as_str().is_some_and(|message| message.contains("outputs cannot be kept"))
        })
        .await;
    let state = told["state"].as_str().unwrap();
    assert!(["starting", "running"].contains(&state), "unknown is not lost: {told}");
}
