//! `purge`: delete jobs that are over.

use super::context::Context;
use super::exit::Exit;
use super::{Error, output};

pub(super) async fn run(context: &Context, jobs: &[String]) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    for text in jobs {
        let id = context.find_job(&client, text).await?;
        client.purge(id).await?;
        if !context.json {
            output::data(&id.to_string())?;
        }
    }
    Ok(Exit::OK)
}
