//! Carries files to attempts and away from them: fetches what is to be placed, keeps what is collected.
//!
//! Not responsible for: when (the fleet), how files get into an attempt or out (its runtime).
//!
//! Invariants:
//! - an error that may pass is one to try again; what no repetition mends is a fault of the start, or of the outputs;
//! - collecting again gives the same names, and writes over what is there;
//! - what was collected before a limit was met is kept.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::artifact::{Artifact, Collected};
use super::pattern::{Pattern, names};
use super::spec::{Input, Output, Source};
use super::staging::{Staged, Staging};
use super::store::{self, ArtifactStore, Writing};
use crate::durable::published::Published;
use crate::fault::{self, Point};
use crate::fleet::FileKeeper;
use crate::id::{AttemptKey, JobId};
use crate::job::state::Job;
use crate::limits::{
    ARTIFACT_NAME_BYTES_MAX, CARRIED_AT_ONCE_MAX, INPUT_BYTES_MAX, INPUTS_BYTES_MAX, OUTPUT_BYTES_MAX,
    OUTPUT_FILES_MAX, OUTPUTS_BYTES_MAX,
};
use crate::outbound::fetch::{FetchError, Fetcher};
use crate::runtime::files::{Content, Piece, Placed};
use crate::runtime::{Error, Plan, Result, Runtime, StartFault};

/// Carries files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Porter {
    store: ArtifactStore,
    fetcher: Fetcher,
    jobs: Arc<Published<Job>>,
    staging: Staging,
    /// For those whose files are placed at the same time, and apart from them, so that a store which is away holds
    /// nobody back who needs none, for those whose files are collected: each holds some parts in memory.
    placing: Arc<Semaphore>,
    collecting: Arc<Semaphore>,
}

impl Porter {
    /// Keeps what it collects in `store`; what it fetches lies in the directory `staging` for a while. Removes what an
    /// earlier life left there.
    pub fn new(store: ArtifactStore, fetcher: Fetcher, jobs: Arc<Published<Job>>, staging: PathBuf) -> Self {
        let permits = || Arc::new(Semaphore::new(CARRIED_AT_ONCE_MAX));
        let (placing, collecting) = (permits(), permits());
        Self { store, fetcher, jobs, staging: Staging::new(staging), placing, collecting }
    }

    async fn fetch(&self, input: &Input, staged: &Staged, index: usize, max: u64) -> Result<Content> {
        let bad = |what: &str| refused(input, what);
        let content = match input.source().map_err(bad)? {
            Source::Text(text) => Content::Bytes(Bytes::copy_from_slice(text.as_bytes())),
            Source::Base64(text) => {
                let bytes = STANDARD.decode(text).map_err(|_| bad("its content is no base64"))?;
                Content::Bytes(Bytes::from(bytes))
            }
            Source::Url(url) => self.download(input, url, staged.path(index), max).await?,
            Source::Artifact(job, name) => self.copy(input, job, name, staged.path(index), max).await?,
        };
        if let (Content::Bytes(bytes), Some(wanted)) = (&content, &input.sha256) {
            same(input, wanted, &hex(Sha256::digest(bytes).as_slice()))?;
        }
        Ok(content)
    }

    async fn download(&self, input: &Input, url: &str, path: PathBuf, max: u64) -> Result<Content> {
        let failed = |error: FetchError| match error.is_permanent() {
            true => refused(input, &error.to_string()),
            false => passing(input, &error),
        };
        let mut fetched = self.fetcher.get(url, max).await.map_err(failed)?;
        let mut file = StagedFile::create(input, path).await?;
        while let Some(chunk) = fetched.chunk().await.map_err(failed)? {
            file.add(input, &chunk).await?;
        }
        file.finish(input).await
    }

    async fn copy(&self, input: &Input, job: JobId, name: &str, path: PathBuf, max: u64) -> Result<Content> {
        let unknown = || refused(input, &format!("job {job} has no artifact `{name}`"));
        let found = self.jobs.read(job).map_err(|error| passing(input, &error))?;
        let (number, artifact) =
            found.as_deref().and_then(|job| job.artifact(name, None)).ok_or_else(unknown)?;
        if artifact.bytes > max {
            return Err(refused(input, &FetchError::TooLong(max).to_string()));
        }
        let stream = self.store.read(AttemptKey::new(job, number), name, None).await;
        let failed = |error: store::Error| match error {
            store::Error::Missing => refused(input, &error.to_string()),
            error => unread(input, &error),
        };
        let mut stream = stream.map_err(failed)?;
        let mut file = StagedFile::create(input, path).await?;
        while let Some(chunk) = stream.try_next().await.map_err(failed)? {
            file.add(input, &chunk).await?;
        }
        file.finish(input).await
    }
}

#[async_trait]
impl FileKeeper for Porter {
    async fn place(&self, runtime: &dyn Runtime, plan: &Plan) -> Result<()> {
        let _permit = permit(&self.placing).await;
        let opened = self.staging.open(plan.key);
        let staged = opened.map_err(|error| Error::Transient {
            message: format!("there is no place for inputs: {error}; check the data directory's disk"),
        })?;
        let (mut files, mut left) = (Vec::new(), INPUTS_BYTES_MAX);
        for (index, input) in plan.files.inputs.iter().enumerate() {
            let content = self.fetch(input, &staged, index, left.min(INPUT_BYTES_MAX)).await?;
            left = left.saturating_sub(match &content {
                Content::Bytes(bytes) => bytes.len() as u64,
                Content::File { bytes, .. } => *bytes,
            });
            let mode = input.mode().ok_or_else(|| refused(input, "its mode is none"))?;
            files.push(Placed { path: input.path.clone(), mode, content });
        }
        fault::check(Point::InputsPlacing, injected)?;
        runtime.put_files(plan, &files).await?;
        fault::check(Point::InputsPlaced, injected)
    }

    async fn collect(&self, runtime: &dyn Runtime, plan: &Plan) -> Result<Collected> {
        let _permit = permit(&self.collecting).await;
        fault::check(Point::OutputsCollecting, injected)?;
        let mut patterns = Vec::new();
        for output in &plan.files.outputs {
            match Pattern::parse(&output.path) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => return Ok(Collected::failed(format!("output `{}` {error}", output.path))),
            }
        }
        let mut pieces = match runtime.take_files(plan, &patterns).await {
            Err(error @ Error::Start { .. }) => return Ok(Collected::failed(error.to_string())),
            pieces => pieces?,
        };
        let mut basket = Basket::new(&self.store, plan, &patterns);
        let filled = async {
            while let Some(piece) = pieces.try_next().await? {
                match piece {
                    Piece::File { pattern, path, bytes } => basket.begin(pattern, &path, bytes).await?,
                    Piece::Data(bytes) => basket.add(bytes).await?,
                }
                if basket.is_full {
                    break;
                }
            }
            basket.end().await
        };
        let filled = filled.await;
        if let Some((_, writing, _)) = basket.open.take() {
            writing.abort().await;
        }
        filled?;
        fault::check(Point::OutputsCollected, injected)?;
        Ok(basket.into_collected())
    }
}

async fn permit(of: &Semaphore) -> SemaphorePermit<'_> {
    of.acquire().await.expect("the permits are never closed")
}

/// What is being collected of one attempt.
struct Basket<'a> {
    store: &'a ArtifactStore,
    key: AttemptKey,
    outputs: &'a [Output],
    patterns: &'a [Pattern],
    /// Of which patterns something was found.
    found: Vec<bool>,
    collected: Collected,
    bytes: u64,
    /// The file that is being written: what it is, where it goes, and the digest of what came.
    open: Option<(Artifact, Writing<'a>, Sha256)>,
    /// No more is taken.
    is_full: bool,
}

impl<'a> Basket<'a> {
    fn new(store: &'a ArtifactStore, plan: &'a Plan, patterns: &'a [Pattern]) -> Self {
        Self {
            store,
            key: plan.key,
            outputs: &plan.files.outputs,
            patterns,
            found: vec![false; patterns.len()],
            collected: Collected::default(),
            bytes: 0,
            open: None,
            is_full: false,
        }
    }

    async fn begin(&mut self, pattern: usize, path: &str, bytes: u64) -> Result<()> {
        self.end().await?;
        let Some(found) = self.found.get_mut(pattern) else { return Ok(()) };
        *found = true;
        let name = name_of(&self.outputs[pattern], &self.patterns[pattern], path);
        if self.collected.artifacts.iter().any(|artifact| artifact.name == name) {
            // Another pattern means it too.
            return Ok(());
        }
        if name.len() > ARTIFACT_NAME_BYTES_MAX {
            self.miss(format!("an output's name is longer than {ARTIFACT_NAME_BYTES_MAX} bytes: `{name}`"));
            return Ok(());
        }
        if bytes > OUTPUT_BYTES_MAX {
            self.miss(format!("output `{name}` is longer than {OUTPUT_BYTES_MAX} bytes, which is the limit"));
            return Ok(());
        }
        if self.collected.artifacts.len() >= OUTPUT_FILES_MAX || self.bytes + bytes > OUTPUTS_BYTES_MAX {
            let most = format!("{OUTPUT_FILES_MAX} files or {OUTPUTS_BYTES_MAX} bytes");
            self.miss(format!("there are more outputs than {most}; pack them into an archive"));
            self.is_full = true;
            return Ok(());
        }
        self.bytes += bytes;
        let writing = self.store.write(self.key, &name);
        self.open = Some((Artifact { name, bytes, sha256: String::new() }, writing, Sha256::new()));
        Ok(())
    }

    async fn add(&mut self, bytes: Bytes) -> Result<()> {
        let Some((_, writing, digest)) = &mut self.open else { return Ok(()) };
        digest.update(&bytes);
        writing.add(bytes).await.map_err(|error| unkept(&error))
    }

    async fn end(&mut self) -> Result<()> {
        let Some((mut artifact, writing, digest)) = self.open.take() else { return Ok(()) };
        writing.finish().await.map_err(|error| unkept(&error))?;
        artifact.sha256 = hex(digest.finalize().as_slice());
        self.collected.artifacts.push(artifact);
        Ok(())
    }

    fn miss(&mut self, what: String) {
        self.collected.fault.get_or_insert(what);
    }

    fn into_collected(mut self) -> Collected {
        let missing =
            self.outputs.iter().zip(&self.found).find(|(output, found)| !**found && !output.optional);
        if let Some((output, _)) = missing {
            let path = &output.path;
            self.miss(format!("output `{path}` is missing; mark it `optional` if it need not be there"));
        }
        self.collected
    }
}

/// What an output is called.
fn name_of(output: &Output, pattern: &Pattern, path: &str) -> String {
    let Some(name) = &output.name else { return path.trim_start_matches('/').to_owned() };
    let below = names(path).unwrap_or_default().split_off(pattern.base().len());
    if below.is_empty() { name.clone() } else { format!("{name}/{}", below.join("/")) }
}

/// An input on its way to the disk.
struct StagedFile {
    path: PathBuf,
    file: tokio::fs::File,
    bytes: u64,
    digest: Sha256,
}

impl StagedFile {
    async fn create(input: &Input, path: PathBuf) -> Result<Self> {
        let file = tokio::fs::File::create(&path).await.map_err(|error| unwritten(input, &error))?;
        Ok(Self { path, file, bytes: 0, digest: Sha256::new() })
    }

    async fn add(&mut self, input: &Input, chunk: &[u8]) -> Result<()> {
        self.digest.update(chunk);
        self.bytes += chunk.len() as u64;
        self.file.write_all(chunk).await.map_err(|error| unwritten(input, &error))
    }

    async fn finish(mut self, input: &Input) -> Result<Content> {
        self.file.flush().await.map_err(|error| unwritten(input, &error))?;
        if let Some(wanted) = &input.sha256 {
            same(input, wanted, &hex(self.digest.finalize().as_slice()))?;
        }
        Ok(Content::File { path: self.path, bytes: self.bytes })
    }
}

fn same(input: &Input, wanted: &str, found: &str) -> Result<()> {
    if wanted.eq_ignore_ascii_case(found) {
        return Ok(());
    }
    Err(refused(input, &format!("its sha256 is {found}, not the one that was asked for")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An input that will not be had the next time either.
fn refused(input: &Input, what: &str) -> Error {
    let message = format!("input `{}`: {what}", input.path);
    Error::Start { fault: StartFault::Input, message }
}

fn passing(input: &Input, error: &dyn std::fmt::Display) -> Error {
    Error::Transient { message: format!("input `{}`: {error}", input.path) }
}

fn unwritten(input: &Input, error: &io::Error) -> Error {
    passing(input, &format_args!("it cannot be written: {error}; check the data directory's disk"))
}

/// What the store said stays in the log: it may name a bucket or an account, and whoever sees the job sees this.
fn unkept(error: &store::Error) -> Error {
    tracing::warn!(%error, "outputs cannot be kept");
    Error::Transient {
        message: "outputs cannot be kept: the artifact store fails; see the server's log".to_owned(),
    }
}

fn unread(input: &Input, error: &store::Error) -> Error {
    tracing::warn!(%error, "an artifact cannot be read");
    passing(input, &"the artifact store fails; see the server's log")
}

/// The error of a fault point.
fn injected() -> Error {
    Error::Transient { message: "a fault point".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_called_by_its_path_or_by_its_name() {
        let table = [
            ("/out/a.txt", None, "/out/a.txt", "out/a.txt"),
            ("out/a.txt", None, "out/a.txt", "out/a.txt"),
            ("/out/a.txt", Some("report"), "/out/a.txt", "report"),
            ("/out", Some("all"), "/out/x/y", "all/x/y"),
            ("/out/**/*.csv", Some("tables"), "/out/x/y.csv", "tables/x/y.csv"),
            ("*.csv", Some("tables"), "y.csv", "tables/y.csv"),
        ];
        for (path, name, found, expected) in table {
            let output = Output { path: path.into(), name: name.map(str::to_owned), optional: false };
            let pattern = Pattern::parse(path).unwrap();
            assert_eq!(name_of(&output, &pattern, found), expected, "{path} {name:?}");
        }
    }
}
