//! A private registry: logins go where they belong, and refusals are told apart.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use dogwatch_actors::job::spec::RegistryCredential;
use dogwatch_actors::runtime::{Error, Plan, Runtime as _, StartFault};
use dogwatch_actors::secret::Secret;
use tempfile::TempDir;
use tokio::time::timeout;

use super::{IMAGE, PATIENCE, Rig, docker};

const USER: &str = "keeper";
const PASSWORD: &str = "let-me-in";

/// A registry of its own on loopback that wants a login, with one image; gone when dropped.
struct Registry {
    process: Child,
    server: String,
    image: String,
    directory: TempDir,
}

impl Registry {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a place for the registry");
        let port = free_port();
        let server = format!("127.0.0.1:{port}");
        let config = directory.path().join("config.yml");
        write_config(&config, directory.path(), &server);
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed; run `cargo xtask test`");
        let image = format!("{server}/private/app:1");
        let registry = Self { process, server, image, directory };
        let listens = async {
            while TcpStream::connect(&registry.server).is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, listens).await.expect("the registry listens");
        registry.push();
        registry
    }

    /// Pushes the test image, and forgets it here, so that it has to be pulled.
    fn push(&self) {
        // A configuration of its own: a login must not stay in the user's.
        let config = self.directory.path().join("client");
        let config = config.to_str().expect("a temporary path is text");
        docker(&["tag", IMAGE, &self.image]);
        docker(&["--config", config, "login", "--username", USER, "--password", PASSWORD, &self.server]);
        docker(&["--config", config, "push", &self.image]);
        self.forget();
    }

    fn forget(&self) {
        docker(&["rmi", &self.image]);
    }

    fn login(&self, server: &str, password: &str) -> RegistryCredential {
        RegistryCredential { server: server.into(), username: USER.into(), password: Secret::new(password) }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Nothing is left to do when it has ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
        self.forget();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}

fn write_config(path: &Path, directory: &Path, server: &str) {
    let output = Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output();
    let passwords = directory.join("htpasswd");
    fs::write(&passwords, output.expect("apache2-utils is installed").stdout).expect("it can be written");
    let text = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {server}\n\
         auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
        directory.join("data").display(),
        passwords.display()
    );
    fs::write(path, text).expect("it can be written");
}

#[tokio::test]
async fn a_private_image_needs_the_login_of_its_own_registry() {
    let registry = Registry::start().await;
    let rig = Rig::new().await;
    let plan = Plan { image: Some(registry.image.clone()), ..rig.plan("exit 5") };
    let with = |logins: Vec<RegistryCredential>| Plan { registry_credentials: logins, ..plan.clone() };
    let refused = [
        Vec::new(),
        vec![registry.login(&registry.server, "wrong")],
        vec![registry.login("docker.io", PASSWORD), registry.login("127.0.0.1", PASSWORD)],
    ];
    for logins in refused {
        let result = rig.docker.create(&with(logins)).await;
        let Err(Error::Start { fault, message }) = &result else { panic!("{result:?}") };
        assert_eq!(*fault, StartFault::ImageDenied, "{message}");
        assert!(!message.contains(PASSWORD) && !message.contains("wrong"), "{message}");
    }
    let login = registry.login(&format!("http://{}/", registry.server), PASSWORD);
    let allowed = with(vec![registry.login("docker.io", "other"), login.clone()]);
    assert_eq!(rig.run(&allowed).await.code, Some(5));

    // It is here now, so nobody is asked for it again.
    let again = Plan { key: rig.plan("").key, ..plan.clone() };
    assert_eq!(rig.run(&again).await.code, Some(5));

    let unknown = registry.image.replace(":1", ":none");
    let missing = Plan { image: Some(unknown), key: rig.plan("").key, ..with(vec![login]) };
    let result = rig.docker.create(&missing).await;
    let is_missing = matches!(&result, Err(Error::Start { fault: StartFault::ImageNotFound, message }) if message.contains("none"));
    assert!(is_missing, "{result:?}");
}

#[tokio::test]
async fn a_registry_that_is_down_is_a_fault_that_passes() {
    let rig = Rig::new().await;
    let image = format!("127.0.0.1:{}/x:1", free_port());
    let plan = Plan { image: Some(image), ..rig.plan("true") };
    let result = rig.docker.create(&plan).await;
    assert!(
        matches!(&result, Err(Error::Transient { message }) if message.contains("refused")),
        "{result:?}"
    );
}
