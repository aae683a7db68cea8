//! `logs`: the output of a job, as it was written.

use clap::{Args, ValueEnum};
use dogwatch_actors::runtime::LogStream;
use futures_util::StreamExt as _;

use super::context::Context;
use super::exit::Exit;
use super::{Error, output};
use crate::client::LogsQuery;

/// The arguments of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The job: its id, its name or a part of its id
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Go on with new lines until the job (with --attempt: the attempt) is over
    #[arg(short, long)]
    pub follow: bool,
    /// Of this attempt [default: the newest]
    #[arg(long, value_name = "N")]
    pub attempt: Option<u32>,
    /// Of this container of the job [default: the main one]
    #[arg(long, value_name = "NAME")]
    pub container: Option<String>,
    /// Only of this stream
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<Stream>,
    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub tail: Option<usize>,
}

/// The two streams of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stream {
    /// Standard output
    Stdout,
    /// Standard error
    Stderr,
}

pub(super) async fn run(context: &Context, args: LogsArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    let id = context.find_job(&client, &args.job).await?;
    let stream = args.stream.map(|stream| match stream {
        Stream::Stdout => LogStream::Stdout,
        Stream::Stderr => LogStream::Stderr,
    });
    let query = LogsQuery { attempt: args.attempt, stream, tail: args.tail, follow: args.follow };
    let mut log = client.container_logs(id, args.container.as_deref(), query).await?;
    while let Some(part) = log.next().await {
        output::raw(&part?)?;
    }
    Ok(Exit::OK)
}
