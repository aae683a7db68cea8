//! A door between dogwatch and the engine that a test can shut, or behind which it puts an engine that is
//! too old.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

const ENGINE: &str = "/var/run/docker.sock";

/// What is behind the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The engine of this host.
    Engine,
    /// Nothing: connections are closed, those that are open too.
    Nothing,
    /// Something that takes connections and never answers.
    Silence,
    /// An engine of ten years ago.
    Relic,
}

/// The door.
pub(crate) struct EngineProxy {
    behind: watch::Sender<Behind>,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl EngineProxy {
    /// Opens the door, to the engine.
    pub(crate) fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (behind, seen) = watch::channel(Behind::Engine);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, seen.clone()));
            }
        });
        Self { behind, path, _dir: dir }
    }

    /// What `docker.host` has to be.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", Path::new(&self.path).display())
    }

    /// Puts something else behind the door; whoever is in it is thrown out.
    pub(crate) fn put(&self, behind: Behind) {
        self.behind.send_replace(behind);
    }
}

async fn serve(mut connection: UnixStream, mut behind: watch::Receiver<Behind>) {
    let now = *behind.borrow_and_update();
    let served = async {
        match now {
            Behind::Nothing => {}
            Behind::Silence => std::future::pending().await,
            Behind::Engine => {
                let mut engine = UnixStream::connect(ENGINE).await.unwrap();
                drop(copy_bidirectional(&mut connection, &mut engine).await);
            }
            Behind::Relic => {
                const ANSWER: &str = r#"{"Version":"1.9.1","ApiVersion":"1.21","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64"}"#;
                let mut request = [0; 4096];
                while connection.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{ANSWER}",
                        ANSWER.len()
                    );
                    drop(connection.write_all(answer.as_bytes()).await);
                }
            }
        }
    };
    tokio::select! {
        () = served => {}
        _ = behind.changed() => {}
    }
}
