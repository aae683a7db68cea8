//! `queue dead`: the messages that are given to nobody any more.

use std::time::Duration;

use crate::client::Method;
use clap::{Args, Subcommand};
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::handle::queues::DeadPage;
use dogwatch_actors::queue::DeadLetter;

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::output::{Colour, Paint, escape};
use super::super::table::{self, Cell};
use super::super::{Error, human, output};
use crate::api::Moved;

/// The verbs of `queue dead`.
#[derive(Debug, Subcommand)]
pub enum DeadCommand {
    /// List dead letters; the first 100 of them
    Ls(super::QueueArg),
    /// Deliver dead letters again: one, or all
    Requeue(SomeArg),
    /// Delete dead letters: one, or all
    Purge(SomeArg),
}

/// One dead letter, or all.
#[derive(Debug, Args)]
pub struct SomeArg {
    /// The queue
    #[arg(value_name = "QUEUE")]
    pub queue: String,
    /// The message's number; all when it is left out
    #[arg(value_name = "ID")]
    pub id: Option<String>,
}

pub(super) async fn run(context: &Context, command: DeadCommand) -> Result<Exit, Error> {
    let client = context.client()?;
    let (method, queue, segments) = match &command {
        DeadCommand::Ls(args) => {
            let path = ["queues", args.queue.as_str(), "dead"];
            let answer = client.about::<DeadPage>(Method::GET, &path, None, Duration::ZERO).await?;
            let shown = if context.json {
                answer.raw
            } else {
                rows(&answer.value.messages, context.now(), context.paint)
            };
            output::data(&shown)?;
            return Ok(Exit::OK);
        }
        DeadCommand::Requeue(args) => {
            let id = args.id.iter().map(String::as_str).chain(["requeue"]);
            (Method::POST, args.queue.as_str(), id.collect::<Vec<_>>())
        }
        DeadCommand::Purge(args) => {
            (Method::DELETE, args.queue.as_str(), args.id.iter().map(String::as_str).collect())
        }
    };
    let path = [&["queues", queue, "dead"][..], &segments].concat();
    let answer = client.about::<Moved>(method, &path, None, Duration::ZERO).await?;
    output::data(&if context.json { answer.raw } else { answer.value.moved.to_string() })?;
    Ok(Exit::OK)
}

fn rows(letters: &[DeadLetter], now: Timestamp, paint: Paint) -> String {
    let row = |letter: &DeadLetter| {
        let cause =
            serde_json::to_value(letter.cause).ok().and_then(|cause| cause.as_str().map(str::to_owned));
        vec![
            Cell::plain(letter.id.clone()),
            Cell::plain(cause.unwrap_or_default()),
            Cell::plain(letter.deliveries.to_string()),
            Cell::plain(human::relative(letter.dead_at, now)),
            Cell::plain(escape(letter.last_error.as_deref().unwrap_or_default())),
        ]
    };
    let head = ["ID", "CAUSE", "DELIVERIES", "DEAD", "WHY"];
    let head = head.map(|title| Cell::painted(title, paint.paint(Colour::Dim, title))).to_vec();
    table::render(&std::iter::once(head).chain(letters.iter().map(row)).collect::<Vec<_>>())
}
