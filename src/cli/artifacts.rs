//! `artifacts`: the files that a job left, as a list or downloaded.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use dogwatch_actors::files::ArtifactView;
use dogwatch_actors::files::pattern::names;
use dogwatch_actors::id::JobId;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, Paint, escape};
use super::table::{self, Cell};
use super::{Error, output};
use crate::client::Client;

/// The arguments of `artifacts`.
#[derive(Debug, Args)]
pub struct ArtifactsArgs {
    /// The job: its id, its name (then the newest of that name), or a part of its id
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Only those of this attempt
    #[arg(long, value_name = "N")]
    pub attempt: Option<u32>,
    /// Download them into this directory, each name once: of the newest attempt that has it
    #[arg(long, value_name = "DIR")]
    pub download: Option<PathBuf>,
}

pub(super) async fn run(context: &Context, args: ArtifactsArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    let id = context.find_job(&client, &args.job).await?;
    let answer = client.artifacts(id, args.attempt).await?;
    let artifacts = &answer.value.artifacts;
    if let Some(dir) = &args.download {
        let mut done = BTreeSet::new();
        for artifact in artifacts.iter().filter(|artifact| done.insert(artifact.name.as_str())) {
            download(&client, id, artifact, dir).await?;
        }
        output::note(&format!("dogwatch: {} files in {}", done.len(), dir.display()));
    }
    if context.json {
        output::data(&answer.raw)?;
    } else if args.download.is_none() {
        output::data(&rows(artifacts, context.paint))?;
    }
    Ok(Exit::OK)
}

fn rows(artifacts: &[ArtifactView], paint: Paint) -> String {
    let row = |artifact: &ArtifactView| {
        vec![
            Cell::plain(escape(&artifact.name)),
            Cell::plain(artifact.attempt.to_string()),
            Cell::plain(artifact.bytes.to_string()),
            Cell::plain(artifact.sha256.clone()),
        ]
    };
    let head = ["NAME", "ATTEMPT", "BYTES", "SHA256"];
    let head = head.map(|title| Cell::painted(title, paint.paint(Colour::Dim, title))).to_vec();
    table::render(&std::iter::once(head).chain(artifacts.iter().map(row)).collect::<Vec<_>>())
}

/// Downloads one, whole and checked, or not at all.
async fn download(client: &Client, id: JobId, artifact: &ArtifactView, dir: &Path) -> Result<(), Error> {
    let path = place(dir, &artifact.name)?;
    let failed = |error: io::Error| Error::Download { path: path.clone(), message: error.to_string() };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut draft = path.clone().into_os_string();
    draft.push(format!(".{}.partial", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = write(client, id, artifact, &draft).await;
    let written = written.and_then(|()| fs::rename(&draft, &path).map_err(failed));
    if written.is_err() {
        // The first error is the one that matters.
        drop(fs::remove_file(&draft));
    }
    written
}

async fn write(client: &Client, id: JobId, artifact: &ArtifactView, draft: &Path) -> Result<(), Error> {
    let failed = |message: String| Error::Download { path: draft.to_owned(), message };
    let mut file = File::create(draft).map_err(|error| failed(error.to_string()))?;
    let mut digest = Sha256::new();
    let mut content = client.artifact(id, &artifact.name, artifact.attempt).await?;
    while let Some(part) = content.next().await {
        let part = part?;
        digest.update(&part);
        file.write_all(&part).map_err(|error| failed(error.to_string()))?;
    }
    let found: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != artifact.sha256 {
        let message = "what came is not what was collected; try again, and see who writes to the store";
        return Err(failed(message.to_owned()));
    }
    file.sync_all().map_err(|error| failed(error.to_string()))
}

/// Where a file goes: below `dir`, whatever the server calls it.
fn place(dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let parts = names(name).ok().filter(|_| !name.starts_with('/'));
    let parts = parts.ok_or_else(|| Error::Download {
        path: dir.to_owned(),
        message: format!("the name `{}` leads out of it", escape(name)),
    })?;
    Ok(parts.into_iter().fold(dir.to_owned(), |path, part| path.join(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let dir = Path::new("/tmp/x");
        assert_eq!(place(dir, "out/a b").unwrap(), Path::new("/tmp/x/out/a b"));
        for bad in ["/etc/passwd", "../a", "a/../../b", "", "a//b", "."] {
            assert!(place(dir, bad).is_err(), "{bad}");
        }
    }
}
