//! `restore`: a data directory made of a backup.

use std::path::PathBuf;

use clap::Args;
use dogwatch_actors::backup::{self, Identity};
use dogwatch_actors::id::RandomIds;

use super::context::Context;
use super::exit::Exit;
use super::{Error, output, store_check};

/// The arguments of `restore`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "The directory is named by --data-dir and must be empty or missing; the kind of its store is the \
    one that is configured (store.engine), whatever that of the original was. It is an installation of its own: what \
    the original still runs is left alone, and attempts that were running then are started anew as their jobs' \
    policies say. The API gets a new root key."
)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Be the original installation, and find again what it left running. Only when the original is gone for good: two
    /// servers of one installation stop each other's work
    #[arg(long)]
    pub take_over: bool,
}

pub(super) async fn run(context: &Context, args: RestoreArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let dir = context.loaded.data_dir().to_owned();
    let kind = context.loaded.config.store.engine.kind().unwrap_or_default();
    let identity = if args.take_over { Identity::TakeOver } else { Identity::New };
    let restoring = {
        let (file, dir) = (args.file, dir.clone());
        tokio::task::spawn_blocking(move || backup::restore(&file, &dir, kind, identity, &RandomIds))
    };
    let restored = restoring.await.map_err(|error| Error::Output(error.into()))??;
    if context.json {
        output::data(&serde_json::to_string_pretty(&restored.report).expect("a report is JSON"))?;
    } else {
        store_check::print(context, &restored.report)?;
    }
    output::note(&format!(
        "dogwatch: restored to {} what was there on {} (by dogwatch {}) as installation {}; start it with `dogwatch serve`",
        dir.display(),
        restored.header.made_at,
        restored.header.version,
        restored.installation
    ));
    Ok(if restored.report.ok { Exit::OK } else { Exit::NOT_WELL })
}
