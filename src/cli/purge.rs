//! `purge`: delete jobs that are over, or arrays with their children.

use dogwatch_actors::array::ArrayId;

use super::context::Context;
use super::exit::Exit;
use super::{Error, array, output};

pub(super) async fn run(context: &Context, jobs: &[String]) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    for text in jobs {
        let id = context.find_job(&client, text).await?;
        if let Err(error) = client.purge(id).await {
            array::or_else(error, client.purge_array(ArrayId::new(id))).await?;
        }
        if !context.json {
            output::data(&id.to_string())?;
        }
    }
    Ok(Exit::OK)
}
