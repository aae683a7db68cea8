//! `wait`: until a job is over; then its code.

use clap::Args;
use dogwatch_actors::units::Span;

use super::context::Context;
use super::exit::Exit;
use super::follow::until_over;
use super::{Error, output, run};
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
        over = until_over(&client, id) => run::finish(context, &over?, false),
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
