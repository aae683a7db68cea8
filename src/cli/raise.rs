//! `raise`: an event from outside, to a job.

use clap::Args;
use serde_json::Value;

use super::context::Context;
use super::exit::Exit;
use super::{Error, output};

/// The arguments of `raise`.
#[derive(Debug, Args)]
pub struct RaiseArgs {
    /// The job: its id, its name or a part of its id
    #[arg(value_name = "JOB")]
    pub job: String,
    /// The event's name; `completed`, `failed` and `progress` mean what they mean in a callback
    #[arg(value_name = "EVENT")]
    pub event: String,
    /// The event's payload, as JSON
    #[arg(value_name = "JSON", default_value = "null")]
    pub payload: String,
}

pub(super) async fn run(context: &Context, args: RaiseArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let payload: Value = serde_json::from_str(&args.payload).map_err(|error| {
        Error::Usage(format!("the payload is not JSON: {error}; a text needs quotes: '\"text\"'"))
    })?;
    let client = context.client()?;
    let id = context.find_job(&client, &args.job).await?;
    let answer = client.raise(id, &args.event, &payload).await?;
    if context.json {
        output::data(&answer.raw)?;
    } else {
        output::data(&format!("{id} {}", answer.value.state.name()))?;
    }
    Ok(Exit::OK)
}
