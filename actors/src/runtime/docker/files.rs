//! Files in and out of containers, as archives over the engine's API.
//!
//! Responsible for: writing inputs as an archive and reading archives of outputs, entry by entry. Not responsible for:
//! which files.
//!
//! Invariants: an archive is never whole in memory; of what an engine gives only plain files below the place that was
//! asked for are taken: no link, no device, no name that leads elsewhere.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::engine::{Engine, Found};
use super::errors::{Answer, Fault};
use crate::files::Pattern;
use crate::files::pattern::names;
use crate::id::AttemptKey;
use crate::limits::{FILE_CHUNK_BYTES, FILE_CHUNKS_QUEUED_MAX, PLACE_DEADLINE};
use crate::runtime::files::{Content, Outlet, Pieces, Placed, given_by};
use crate::runtime::{Error, Plan, Result, StartFault};

/// Puts files into the container of an attempt that was not started.
pub(super) async fn put(engine: &Engine, plan: &Plan, files: &[Placed]) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let found = container(engine, plan.key).await?;
    let home = home(&found);
    let mut entries = Vec::with_capacity(files.len());
    for file in files {
        let bad = |_| Error::Start {
            fault: StartFault::Input,
            message: format!(
                "input `{}` is no path in a container; write it without `.` and `..`",
                file.path
            ),
        };
        let below = names(&file.path).map_err(bad)?;
        let path = if file.path.starts_with('/') { below.join("/") } else { join(&home, &below) };
        entries.push((path, file.clone()));
    }
    let owner = owner(plan.user.as_deref());
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(FILE_CHUNKS_QUEUED_MAX);
    tokio::task::spawn_blocking(move || {
        let mut pipe = Pipe { sender: sender.clone(), buffer: BytesMut::new() };
        if let Err(error) = write(&mut pipe, &entries, owner) {
            // Breaks the request off: an archive that only ends would be taken for a whole one.
            drop(sender.blocking_send(Err(error)));
        }
    });
    let name = engine.name(plan.key);
    let options = UploadToContainerOptionsBuilder::new().path("/").no_overwrite_dir_non_dir("1").build();
    let ask = async |client: bollard::Docker| {
        let body = bollard::body_try_stream(ReceiverStream::new(receiver));
        client.upload_to_container(&name, Some(options), body).await
    };
    engine.connection.call(PLACE_DEADLINE, ask).await.map_err(of_put)
}

fn of_put(fault: Fault) -> Error {
    match &fault {
        // The container's own file system stands against it, and will do so again.
        Fault::Answered { status: 400 | 403 | 500, message }
            if ["read-only", "not a directory", "directory with", "non-directory", "exists and is"]
                .iter()
                .any(|part| message.contains(part)) =>
        {
            let message =
                format!("the inputs cannot be placed in the container: {message}; choose other paths");
            Error::Start { fault: StartFault::Input, message }
        }
        _ => fault.not_done("take the inputs"),
    }
}

fn write(pipe: &mut Pipe, entries: &[(String, Placed)], (user, group): (u64, u64)) -> io::Result<()> {
    let mut archive = tar::Builder::new(&mut *pipe);
    for (path, file) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(file.mode);
        header.set_uid(user);
        header.set_gid(group);
        match &file.content {
            Content::Bytes(bytes) => {
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, path, bytes.as_ref())?;
            }
            Content::File { path: from, bytes } => {
                header.set_size(*bytes);
                archive.append_data(&mut header, path, std::fs::File::open(from)?.take(*bytes))?;
            }
        }
    }
    archive.finish()?;
    drop(archive);
    pipe.flush()
}

/// Gives the files of an ended attempt that the patterns mean.
pub(super) async fn take(engine: Arc<Engine>, plan: &Plan, patterns: &[Pattern]) -> Result<Pieces> {
    let found = container(&engine, plan.key).await?;
    let mut wanted = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        let home = if pattern.is_absolute() { String::new() } else { home(&found) };
        let place = join(&home, &pattern.base());
        if place.is_empty() {
            let message = format!(
                "output `{}` would look through the whole container; begin with a directory, or set working_dir",
                pattern.as_str()
            );
            return Err(Error::Start { fault: StartFault::Rejected, message });
        }
        wanted.push(Wanted { pattern: pattern.clone(), home, place });
    }
    let (key, runtime) = (plan.key, tokio::runtime::Handle::current());
    Ok(given_by(move |outlet| {
        for (index, wanted) in wanted.iter().enumerate() {
            let archive = runtime.block_on(download(&engine, key, &wanted.place)).map_err(Fault::unknown)?;
            let Some(archive) = archive else { continue };
            wanted.read(index, archive, outlet)?;
        }
        Ok(())
    }))
}

/// One pattern, and where in the container it is looked for.
struct Wanted {
    pattern: Pattern,
    /// What a relative pattern begins from; empty for an absolute one.
    home: String,
    /// The archive that is asked for.
    place: String,
}

impl Wanted {
    fn read(&self, index: usize, archive: Archive, outlet: &Outlet) -> Result<()> {
        let broken = |error: io::Error| Error::Transient {
            message: format!("the engine's archive of /{} broke off: {error}", self.place),
        };
        let mut archive = tar::Archive::new(archive);
        // The archive begins with the last name of the place.
        let above = self.place.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
        for entry in archive.entries().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let Ok(inner) = String::from_utf8(entry.path_bytes().into_owned()) else { continue };
            let whole = if above.is_empty() { inner } else { format!("{above}/{inner}") };
            let Some(path) = self.below_home(&whole) else { continue };
            let Ok(parts) = names(&path) else { continue };
            if !self.pattern.matches(&parts) {
                continue;
            }
            let path = if self.pattern.is_absolute() { format!("/{path}") } else { path.clone() };
            outlet.give(index, path, entry.size(), entry)?;
        }
        Ok(())
    }

    fn below_home(&self, whole: &str) -> Option<String> {
        let whole = whole.trim_start_matches('/');
        if self.home.is_empty() {
            return Some(whole.to_owned());
        }
        whole.strip_prefix(&self.home)?.strip_prefix('/').map(str::to_owned)
    }
}

/// Begins to read the archive of a place in the container; `None` when nothing is there.
async fn download(engine: &Engine, key: AttemptKey, place: &str) -> Answer<Option<Archive>> {
    let client = engine.connection.long().await?;
    let options = DownloadFromContainerOptionsBuilder::new().path(&format!("/{place}")).build();
    let mut stream = Box::pin(client.download_from_container(&engine.name(key), Some(options)));
    // The first bytes tell whether there is anything.
    let first = match stream.next().await {
        None => Bytes::new(),
        Some(Ok(bytes)) => bytes,
        Some(Err(error)) => {
            let fault = Fault::from(error);
            engine.connection.drop_if_lost(&fault);
            let is_gone = fault.to_string().contains("No such container");
            return if fault.is_absent() && !is_gone { Ok(None) } else { Err(fault) };
        }
    };
    let (sender, receiver) = mpsc::channel(FILE_CHUNKS_QUEUED_MAX);
    tokio::spawn(async move {
        while let Some(part) = stream.next().await {
            let part = part.map_err(|error| io::Error::other(Fault::from(error).to_string()));
            if sender.send(part).await.is_err() {
                return;
            }
        }
    });
    Ok(Some(Archive { current: first, receiver }))
}

async fn container(engine: &Engine, key: AttemptKey) -> Result<Found> {
    let found = engine.find(key).await?;
    found.ok_or_else(|| Error::Transient { message: format!("attempt {key} has no container (any more)") })
}

/// The directory that the container starts in, without the first `/`.
fn home(found: &Found) -> String {
    let config = found.inspect.config.as_ref();
    let dir = config.and_then(|config| config.working_dir.as_deref()).unwrap_or_default();
    dir.trim_matches('/').to_owned()
}

fn join(home: &str, below: &[&str]) -> String {
    let home = (!home.is_empty()).then_some(home);
    home.into_iter().chain(below.iter().copied()).collect::<Vec<_>>().join("/")
}

/// Whose the files are: the container's user, where its spec names one by number.
fn owner(user: Option<&str>) -> (u64, u64) {
    let (user, group) = user.map_or(("0", "0"), |user| user.split_once(':').unwrap_or((user, "0")));
    (user.parse().unwrap_or(0), group.parse().unwrap_or(0))
}

/// An archive on its way to the engine.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: BytesMut,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= FILE_CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = self.buffer.split().freeze();
        if chunk.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// An archive on its way from the engine.
struct Archive {
    current: Bytes,
    receiver: mpsc::Receiver<io::Result<Bytes>>,
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(part) => self.current = part?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_belong_to_the_user_that_is_named_by_number() {
        let table = [
            (None, (0, 0)),
            (Some("1000"), (1000, 0)),
            (Some("1000:100"), (1000, 100)),
            (Some("app:app"), (0, 0)),
        ];
        for (user, expected) in table {
            assert_eq!(owner(user), expected, "{user:?}");
        }
    }

    #[test]
    fn only_what_is_below_the_place_that_a_pattern_begins_from_is_taken() {
        let wanted = |pattern: &str, home: &str| Wanted {
            pattern: Pattern::parse(pattern).unwrap(),
            home: home.to_owned(),
            place: String::new(),
        };
        let relative = wanted("out/*", "work");
        assert_eq!(relative.below_home("work/out/a").as_deref(), Some("out/a"));
        assert_eq!(relative.below_home("worker/out/a"), None);
        assert_eq!(relative.below_home("etc/passwd"), None);
        assert_eq!(wanted("/out/*", "").below_home("/out/a").as_deref(), Some("out/a"));
    }
}
