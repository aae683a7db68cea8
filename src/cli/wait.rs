//! `wait`: until a job or an array is over; then its code.

use clap::Args;
use dogwatch_actors::array::ArrayId;
use dogwatch_actors::id::JobId;
use dogwatch_actors::units::Span;

use super::context::Context;
use super::exit::Exit;
use super::follow::until_over;
use super::{Error, array, output, run};
use crate::client::Client;
use crate::serve;
use crate::serve::signals::StopSignals;

/// The arguments of `wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// The job: its id, its name or a part of its id
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Wait at most so long; then exit with 124
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Span>,
}

pub(super) async fn run(context: &Context, args: WaitArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    let id = context.find_job(&client, &args.job).await?;
    let mut signals = StopSignals::listen().map_err(serve::Error::Signals)?;
    let patience = async {
        match args.timeout {
            Some(timeout) => tokio::time::sleep(timeout.as_duration()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        over = over(context, &client, id) => over,
        () = patience => {
            let waited = args.timeout.map(|span| span.to_string()).unwrap_or_default();
            Err(Error::Timeout(format!("job {id} is not over after {waited}; it goes on")))
        }
        _ = signals.next() => {
            output::note(&format!("dogwatch: interrupted; job {id} goes on. `dogwatch wait {id}` waits again"));
            Ok(Exit::INTERRUPTED)
        }
    }
}

/// Of a job, and where there is none of this id, of an array.
async fn over(context: &Context, client: &Client, id: JobId) -> Result<Exit, Error> {
    match until_over(client, id).await {
        Ok(answer) => run::finish(context, &answer, false),
        Err(error) => {
            let over = array::or_else(error, array::until_over(client, ArrayId::new(id))).await?;
            array::finish(context, &over)
        }
    }
}
