//! `cancel`, `retry`, `suspend`, `resume`, `restart`: one command to some jobs, or arrays.

use dogwatch_actors::array::ArrayId;
use dogwatch_actors::handle::Command;

use super::context::Context;
use super::exit::Exit;
use super::{Error, array, output};

/// Commands each job in turn; the first failure ends it, and what was done stays done.
pub(super) async fn run(context: &Context, command: Command, jobs: &[String]) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    for text in jobs {
        let id = context.find_job(&client, text).await?;
        let (raw, state) = match client.command(id, command).await {
            Ok(answer) => (answer.raw, answer.value.state.name()),
            Err(error) => {
                let answer = array::or_else(error, client.command_array(ArrayId::new(id), command)).await?;
                (answer.raw, answer.value.state.name())
            }
        };
        output::data(&if context.json { raw } else { format!("{id} {state}") })?;
    }
    Ok(Exit::OK)
}
