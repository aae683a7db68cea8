//! `cancel`, `retry`, `suspend`, `resume`, `restart`: one command to some jobs.

use dogwatch_actors::handle::Command;

use super::context::Context;
use super::exit::Exit;
use super::{Error, output};

/// Commands each job in turn; the first failure ends it, and what was done stays done.
pub(super) async fn run(context: &Context, command: Command, jobs: &[String]) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    for text in jobs {
        let id = context.find_job(&client, text).await?;
        let answer = client.command(id, command).await?;
        if context.json {
            output::data(&answer.raw)?;
        } else {
            output::data(&format!("{id} {}", answer.value.state.name()))?;
        }
    }
    Ok(Exit::OK)
}
