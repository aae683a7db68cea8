//! A private registry, through the whole of dogwatch: the login goes to the registry and nowhere else.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::bench::{Bench, IMAGE, On, docker, with};

const USER: &str = "keeper";
const PASSWORD: &str = "let-me-in-please";

/// A registry on loopback that wants a login, with one image that only it has.
struct Registry {
    process: Child,
    server: String,
    image: String,
    _dir: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        docker(&["rmi", "--force", &self.image]);
    }
}

impl Registry {
    async fn start(bench: &Bench) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = format!("127.0.0.1:{port}");
        let passwords = Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output();
        let passwords = passwords.expect("apache2-utils is installed; run `cargo xtask prepare`").stdout;
        let (config, login) = (dir.path().join("config.yml"), dir.path().join("htpasswd"));
        std::fs::write(&login, passwords).unwrap();
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {server}\n\
             auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
            dir.path().join("data").display(),
            login.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        let process = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.expect("docker-registry is installed; run `cargo xtask prepare`");
        let registry = Self { process, image: format!("{server}/private/app:1"), server, _dir: dir };
        bench.eventually("the registry listens", async || TcpStream::connect(&registry.server).ok()).await;
        registry.push();
        registry
    }

    fn push(&self) {
        let client = self._dir.path().join("client").display().to_string();
        let tool =
            |args: &[&str]| docker(&[&["--config", &client], args].concat()).expect("the engine does it");
        docker(&["tag", IMAGE, &self.image]).unwrap();
        tool(&["login", "--username", USER, "--password", PASSWORD, &self.server]);
        tool(&["push", &self.image]);
        docker(&["rmi", &self.image]).unwrap();
    }
}

#[tokio::test]
async fn a_private_image_runs_with_its_credentials_and_only_with_them() {
    let bench = Bench::start_with(On::Docker, &[("RUST_LOG", "trace")]).await;
    let registry = Registry::start(&bench).await;
    let spec =
        json!({"image": registry.image, "args": ["sh", "-c", "echo pulled; sleep 1"], "max_attempts": 1});
    let login = |password: &str| {
        let login = json!({"server": registry.server, "username": USER, "password": password});
        json!({"registry_credentials": [login]})
    };
    for refused in [spec.clone(), with(spec.clone(), login("guessed-wrongly"))] {
        let id = bench.submit(&refused).await;
        let job = bench.over(&id).await;
        assert_eq!((&job["state"], &job["cause"]), (&json!("failed"), &json!("start_error")), "{job}");
        let why = job["message"].as_str().unwrap();
        assert!(why.contains("registry_credentials") || why.contains("credentials"), "{why}");
    }
    let missing = registry.image.replace(":1", ":none");
    let id = bench.submit(&with(with(spec.clone(), login(PASSWORD)), json!({"image": missing}))).await;
    let job = bench.over(&id).await;
    assert!(job["cause"] == "start_error" && job["message"].as_str().unwrap().contains("none"), "{job}");

    let id = bench.submit(&with(spec, login(PASSWORD))).await;
    let running = bench.in_state(&id, "running").await;
    let container = running["attempts"][0]["runtime_id"].as_str().unwrap().to_owned();
    let inspected = docker(&["inspect", &container]).unwrap();
    let job = bench.over(&id).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(bench.logs(&id, "").await, "pulled\n");
    let history = bench.get(&format!("/v1/jobs/{id}/history")).await.to_string();
    let places =
        [("job", job.to_string()), ("history", history), ("log", bench.log()), ("container", inspected)];
    for (place, text) in places {
        assert!(!text.contains(PASSWORD), "the password is in the {place}");
        assert!(!text.contains("guessed-wrongly"), "the wrong password is in the {place}");
    }
    bench.cleared().await;
}
