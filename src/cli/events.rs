//! `events`: what happened to one job (its history) or to all of them (the stream).

use clap::Args;
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::id::JobId;
use dogwatch_actors::job::view::HistoryEntry;

use super::context::Context;
use super::exit::Exit;
use super::output::escape;
use super::{Error, output};
use crate::client::{Client, EventItem};
use crate::limits::{CLIENT_RECONNECT_EVERY, EVENT_DATA_CHARS_MAX, EVENTS_IDLE};

/// The arguments of `events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Of this job only: its id, its name or a part of its id
    #[arg(value_name = "JOB")]
    pub job: Option<String>,
    /// Go on with new events until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// Only those behind this number
    #[arg(long, value_name = "NUMBER")]
    pub after: Option<u64>,
}

pub(super) async fn run(context: &Context, args: EventsArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    let job = match &args.job {
        Some(text) => Some(context.find_job(&client, text).await?),
        None => None,
    };
    match (job, args.follow) {
        (Some(id), false) => history(context, &client, id, args.after.unwrap_or(0)).await,
        // Without an end of its own the stream is read from the start until nothing more comes.
        (None, false) => stream(context, client, None, Some(args.after.unwrap_or(0)), false).await,
        (job, true) => stream(context, client, job, args.after, true).await,
    }
}

async fn history(context: &Context, client: &Client, id: JobId, mut after: u64) -> Result<Exit, Error> {
    loop {
        let page = client.history(id, after).await?;
        if context.json {
            output::data(&page.raw)?;
        }
        for entry in page.value.entries.iter().filter(|_| !context.json) {
            output::data(&line(entry, None))?;
        }
        match page.value.next_after {
            Some(next) => after = next,
            None => return Ok(Exit::OK),
        }
    }
}

async fn stream(
    context: &Context,
    mut client: Client,
    job: Option<JobId>,
    mut after: Option<u64>,
    follow: bool,
) -> Result<Exit, Error> {
    loop {
        let mut events = client.events(after).await?;
        loop {
            let next = events.next();
            let item = if follow {
                next.await
            } else {
                match tokio::time::timeout(EVENTS_IDLE, next).await {
                    Ok(item) => item,
                    Err(_) => return Ok(Exit::OK),
                }
            };
            match item {
                Some(Ok(EventItem::Event(event))) => {
                    after = Some(event.value.id);
                    if job.is_none_or(|job| job == event.value.job) {
                        let name = event.value.name.as_deref();
                        let who = format!("{} {}", event.value.job, name.unwrap_or("-"));
                        output::data(&if context.json {
                            event.raw
                        } else {
                            line(&event.value.entry, Some(&who))
                        })?;
                    }
                }
                Some(Ok(EventItem::Heartbeat)) => {}
                Some(Err(error)) if !error.is_gone() => return Err(error.into()),
                Some(Err(_)) | None => break,
            }
        }
        if !follow {
            return Ok(Exit::OK);
        }
        client = reconnect(context).await?;
    }
}

/// A server that was restarted has another address perhaps, and all the events.
async fn reconnect(context: &Context) -> Result<Client, Error> {
    output::note("dogwatch: the server went away; waiting until it is back");
    loop {
        tokio::time::sleep(CLIENT_RECONNECT_EVERY).await;
        match context.locator.client() {
            Ok(client) if client.is_alive().await => return Ok(client),
            Err(error) if !error.is_gone() => return Err(error.into()),
            _ => {}
        }
    }
}

/// One event on one line: when, to whom, what, and the sentence.
pub(super) fn line(entry: &HistoryEntry, who: Option<&str>) -> String {
    let at: Timestamp = entry.at;
    let mut out = match who {
        Some(who) => format!("{at}  {}  ", escape(who)),
        None => format!("{at}  {:>4}  ", entry.seq),
    };
    out.push_str(&format!("{:<20} {:<11}", escape(&entry.kind), entry.state.name()));
    if let Some(attempt) = entry.attempt {
        out.push_str(&format!(" #{attempt}"));
    }
    if let Some(message) = &entry.message {
        out.push_str(&format!("  {}", escape(message)));
    } else if !entry.data.is_null() {
        // What an event is about beyond its kind; long payloads are for `--json`.
        let data: String = entry.data.to_string().chars().take(EVENT_DATA_CHARS_MAX).collect();
        out.push_str(&format!("  {}", escape(&data)));
    }
    out.trim_end().to_owned()
}
