//! `backup`: everything durable in one file. From the server when one runs, else directly.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use dogwatch_actors::backup;
use dogwatch_actors::clock::SystemClock;
use dogwatch_actors::data_dir::Home;
use futures_util::StreamExt as _;

use super::context::Context;
use super::exit::Exit;
use super::store_check::is_served;
use super::{Error, output};
use crate::serve;

/// The arguments of `backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// The file to write, which must not exist. It holds the key that opens the secrets of the jobs: keep it as safe
    /// as those
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

pub(super) async fn run(context: &Context, args: &BackupArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let file = &args.file;
    if file.symlink_metadata().is_ok() {
        return Err(Error::Usage(format!("{} exists; name a file that does not", file.display())));
    }
    let draft = draft_of(file);
    let made = match make(context, &draft).await {
        Ok(()) => finish(&draft, file),
        Err(error) => Err(error),
    };
    if made.is_err() {
        // The first error is the one that matters.
        drop(std::fs::remove_file(&draft));
    }
    made?;
    let bytes = std::fs::metadata(file).map(|found| found.len()).unwrap_or_default();
    output::note(&format!(
        "dogwatch: {} ({} KiB) is whole and verified; it holds the key that opens the secrets of the jobs, keep it safe",
        file.display(),
        bytes >> 10
    ));
    Ok(Exit::OK)
}

/// Beside the file, so that it can be renamed to it.
fn draft_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    file.with_file_name(name)
}

async fn make(context: &Context, draft: &Path) -> Result<(), Error> {
    let fail = |source| backup::Error::Io { path: draft.to_owned(), source };
    let is_served = is_served(context)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft).map_err(fail)?;
    if is_served {
        let mut parts = context.client()?.backup().await?;
        while let Some(part) = parts.next().await {
            file.write_all(&part?).map_err(fail)?;
        }
    } else {
        let config = &context.loaded.config;
        let dir = context.loaded.data_dir();
        if !dir.join("store").is_dir() {
            return Err(Error::NoStore(dir.to_owned()));
        }
        let key = config.server.secrets_key_file.as_deref();
        let home = Home::open_with_key(dir, key).await.map_err(serve::Error::from)?;
        let subject = home.backup_subject(config.store.engine.kind()).await.map_err(serve::Error::from)?;
        let store = subject.store.clone();
        let mut parts = backup::start(subject, &SystemClock)?;
        while let Some(part) = parts.recv().await {
            file.write_all(&part?).map_err(fail)?;
        }
        store.close();
    }
    file.sync_all().map_err(fail)?;
    Ok(())
}

/// Checks it as a restore would, and gives it its name.
fn finish(draft: &Path, file: &Path) -> Result<(), Error> {
    backup::verify(draft)?;
    let fail = |source| backup::Error::Io { path: file.to_owned(), source };
    std::fs::rename(draft, file).map_err(fail)?;
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail)?;
    Ok(())
}
