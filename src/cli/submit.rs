//! `submit`: hand a job to the running server and print its id.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Map;

use super::context::Context;
use super::exit::Exit;
use super::spec_args::{self, JobFlags, ProcessSurroundings, What};
use super::{Error, output};

/// The arguments of `submit`.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The spec, JSON, TOML or YAML; `-` or nothing reads standard input, unless flags say what to run
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The same
    #[arg(short, long = "file", value_name = "FILE", conflicts_with = "file")]
    pub from: Option<PathBuf>,
    /// The container image
    #[arg(long)]
    pub image: Option<String>,
    /// What the job is
    #[command(flatten)]
    pub flags: JobFlags,
    /// The arguments of the container, or the process and its arguments
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

pub(super) async fn run(context: &Context, args: SubmitArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let from_flags = args.image.is_some() || !args.args.is_empty();
    let base = match args.file.as_ref().or(args.from.as_ref()) {
        Some(path) => spec_args::read(path)?,
        None if from_flags => Map::new(),
        None if std::io::stdin().is_terminal() => {
            let usage = "what should run? give a spec FILE, --image IMAGE, or -- CMD ARGS";
            return Err(Error::Usage(usage.to_owned()));
        }
        None => spec_args::read(Path::new("-"))?,
    };
    let here = std::env::current_dir().ok().and_then(|dir| dir.to_str().map(str::to_owned));
    let here = here.as_deref().filter(|_| !context.locator.is_named());
    let what = What { image: args.image.as_deref(), args: &args.args, here };
    let spec = spec_args::build(base, what, &args.flags, &ProcessSurroundings)?;
    if spec.get("array").is_some() {
        let answer = context.client()?.submit_array(&spec, args.flags.idempotency_key.as_deref()).await?;
        output::data(&if context.json { answer.raw } else { answer.value.id.to_string() })?;
        return Ok(Exit::OK);
    }
    let answer = context.client()?.submit(&spec, args.flags.idempotency_key.as_deref()).await?;
    output::data(&if context.json { answer.raw } else { answer.value.id.to_string() })?;
    Ok(Exit::OK)
}
