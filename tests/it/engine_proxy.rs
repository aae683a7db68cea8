//! A door between dogwatch and the engine: a test can shut it, put something else behind it, and have each
//! request go wrong in a way of its own.
//!
//! Not responsible for: which fault when; the test says so. Invariants: a request is passed on only while
//! whoever made it still waits, as over the engine's own socket; every request has a connection of its own, so
//! that a fault harms no other.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy};
use tokio::net::unix::WriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

use crate::engine_request::{Request, read_chunk, read_head};

const ENGINE: &str = "/var/run/docker.sock";

/// What is behind the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// The engine.
    Engine,
    /// Nothing: connections are closed, those that are open too.
    Nothing,
    /// Something that takes connections and never answers.
    Silence,
    /// An engine of ten years ago.
    Relic,
}

/// What goes wrong with a request.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is passed on late.
    Late(Duration),
    /// It never arrives: the connection is closed.
    Lost,
    /// It is done, and the connection is closed instead of the answer.
    Unheard,
    /// It is done, and nothing is answered while the connection stays open.
    Mute,
    /// It is passed on twice; the second answer comes back.
    Twice,
    /// It is refused with this status, and never passed on.
    Refused(u16),
    /// The connection is closed after so many bytes of the answer.
    CutAfter(usize),
    /// The lines of a stream come twice, and in another order.
    Shuffled,
    /// This happens once it was passed on, while the engine is at it; the connection is closed.
    Amid(Arc<dyn Fn() + Send + Sync>),
    /// This happens once the engine has answered; the connection is closed.
    After(Arc<dyn Fn() + Send + Sync>),
}

type Script = Box<dyn FnMut(&Request) -> Fault + Send>;

/// The door.
pub(crate) struct EngineProxy {
    behind: watch::Sender<Behind>,
    door: Arc<Door>,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

struct Door {
    engine: PathBuf,
    script: Mutex<Option<Script>>,
    faults: AtomicUsize,
}

impl EngineProxy {
    /// Opens the door to the engine of this host.
    pub(crate) fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (behind, seen) = watch::channel(Behind::Engine);
        let door =
            Arc::new(Door { engine: ENGINE.into(), script: Mutex::new(None), faults: AtomicUsize::new(0) });
        let opened = Arc::clone(&door);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, seen.clone(), Arc::clone(&opened)));
            }
        });
        Self { behind, door, path, _dir: dir }
    }

    /// What `docker.host` has to be.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", Path::new(&self.path).display())
    }

    /// Puts something else behind the door; whoever is in it is thrown out.
    pub(crate) fn put(&self, behind: Behind) {
        self.behind.send_replace(behind);
    }

    /// Asks this for the fault of every request from now on.
    pub(crate) fn fault(&self, script: impl FnMut(&Request) -> Fault + Send + 'static) {
        *self.door.script.lock().unwrap() = Some(Box::new(script));
    }

    /// How many requests went wrong so far.
    pub(crate) fn faults(&self) -> usize {
        self.door.faults.load(Ordering::Relaxed)
    }

    /// Ends all faults.
    pub(crate) fn mend(&self) {
        *self.door.script.lock().unwrap() = None;
    }
}

async fn serve(mut connection: UnixStream, mut behind: watch::Receiver<Behind>, door: Arc<Door>) {
    let now = *behind.borrow_and_update();
    let served = async {
        match now {
            Behind::Nothing => {}
            Behind::Silence => std::future::pending().await,
            Behind::Engine => {
                // Who is thrown out has nothing to say.
                drop(door.pass(&mut connection).await);
            }
            Behind::Relic => {
                const ANSWER: &str = r#"{"Version":"1.9.1","ApiVersion":"1.21","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64"}"#;
                let mut request = [0; 4096];
                while connection.read(&mut request).await.is_ok_and(|read| read > 0) {
                    drop(connection.write_all(answer(200, "application/json", ANSWER).as_bytes()).await);
                }
            }
        }
    };
    tokio::select! {
        () = served => {}
        _ = behind.changed() => {}
    }
}

fn answer(status: u16, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
}

impl Door {
    /// Serves one request.
    async fn pass(&self, connection: &mut UnixStream) -> std::io::Result<()> {
        let request = Request::read(connection).await?;
        let fault = self.script.lock().unwrap().as_mut().map_or(Fault::None, |script| script(&request));
        if !matches!(fault, Fault::None) {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        match fault {
            Fault::Lost => return Ok(()),
            Fault::Refused(status) => {
                let refused = answer(status, "application/json", r#"{"message": "out of order"}"#);
                return connection.write_all(refused.as_bytes()).await;
            }
            Fault::Late(late) => {
                // Who has gone away in the meantime wants nothing any more.
                let gone = tokio::time::timeout(late, connection.read_u8()).await;
                if gone.is_ok() {
                    return Ok(());
                }
            }
            Fault::Twice => {
                let mut first = self.ask(&request).await?;
                copy(&mut first, &mut tokio::io::sink()).await?;
            }
            _ => {}
        }
        let mut engine = self.ask(&request).await?;
        let (mut asks, mut hears) = connection.split();
        match fault {
            Fault::Unheard => drop(engine.read_u8().await),
            Fault::Mute => {
                drop(engine.read_u8().await);
                drop(asks.read_u8().await);
            }
            Fault::CutAfter(bytes) => {
                copy(&mut engine.take(bytes as u64), &mut hears).await?;
            }
            Fault::Amid(then) => then(),
            Fault::After(then) => {
                drop(engine.read_u8().await);
                then();
            }
            Fault::Shuffled => shuffle(engine, &mut hears).await?,
            // One request per connection: another one on it would go past the script.
            _ => tokio::select! {
                copied = copy(&mut engine, &mut hears) => drop(copied?),
                _ = asks.read_u8() => {}
            },
        }
        Ok(())
    }

    /// The engine, asked this.
    async fn ask(&self, request: &Request) -> std::io::Result<UnixStream> {
        let mut engine = UnixStream::connect(&self.engine).await?;
        engine.write_all(&request.bytes).await?;
        Ok(engine)
    }
}

/// Passes a stream on with every part of it twice, and the younger of two that come together first.
async fn shuffle(engine: UnixStream, connection: &mut WriteHalf<'_>) -> std::io::Result<()> {
    /// How long a part waits for another.
    const TOGETHER: Duration = Duration::from_millis(50);
    let mut engine = BufReader::new(engine);
    let head = read_head(&mut engine).await?;
    connection.write_all(&head).await?;
    let (read, mut parts) = mpsc::channel(64);
    // In a task, since half a part must not be lost when nobody waits for the other half any more.
    tokio::spawn(async move {
        while let Ok(part) = read_chunk(&mut engine).await {
            if read.send(part).await.is_err() {
                return;
            }
        }
    });
    while let Some(first) = parts.recv().await {
        let mut together = vec![first];
        if let Ok(Some(next)) = tokio::time::timeout(TOGETHER, parts.recv()).await {
            together.insert(0, next);
        }
        for part in together.iter().chain(&together) {
            connection.write_all(part).await?;
        }
    }
    Ok(())
}
