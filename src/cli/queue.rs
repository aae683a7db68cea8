//! `queue`: declare queues, send to them, and look after what became of messages.
//!
//! `receive`, `ack` and `nack` are for people who look for a fault: workers use HTTP.

mod dead;
mod messages;

use std::time::Duration;

use crate::client::Method;
use clap::{Args, Subcommand};
use dogwatch_actors::queue::QueueView;
use dogwatch_actors::units::Span;
use serde_json::{Map, Value};

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, Paint};
use super::table::{self, Cell};
use super::{Error, output};
use crate::api::QueueList;

/// The verbs of `queue`.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Create a queue, or give it other settings
    Declare(DeclareArgs),
    /// Send messages: as arguments, or one for each line of a file or of standard input
    Send(messages::SendArgs),
    /// Lease messages and print them, one JSON object a line
    Receive(messages::ReceiveArgs),
    /// Tell that a message is done
    Ack(messages::AckArgs),
    /// Give a message back
    Nack(messages::NackArgs),
    /// List queues
    Ls,
    /// Show a queue
    Show(QueueArg),
    /// Delete a queue
    Rm(RemoveArgs),
    /// Look at dead letters, deliver them again, delete them
    #[command(subcommand)]
    Dead(dead::DeadCommand),
}

/// One queue.
#[derive(Debug, Args)]
pub struct QueueArg {
    /// The queue
    #[arg(value_name = "QUEUE")]
    pub queue: String,
}

/// The arguments of `queue declare`.
#[derive(Debug, Args)]
pub struct DeclareArgs {
    /// The queue: lower-case letters, digits and `-`
    #[arg(value_name = "QUEUE")]
    pub queue: String,
    /// How long a message is leased where the worker does not say [default: 30s]
    #[arg(long)]
    pub lease: Option<Span>,
    /// Deliveries before a message is a dead letter [default: 5]
    #[arg(long)]
    pub max_deliveries: Option<u32>,
    /// How long a message waits before it is a dead letter [default: 14d]
    #[arg(long)]
    pub retention: Option<Span>,
    /// How long the id of a message is remembered [default: 10m]
    #[arg(long)]
    pub dedup_window: Option<Span>,
    /// How long results are remembered [default: 1h]
    #[arg(long)]
    pub keep_results: Option<Span>,
}

/// The arguments of `queue rm`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The queue
    #[arg(value_name = "QUEUE")]
    pub queue: String,
    /// With all messages that it holds
    #[arg(long)]
    pub force: bool,
}

pub(super) async fn run(context: &Context, command: QueueCommand) -> Result<Exit, Error> {
    context.start_log(true)?;
    match command {
        QueueCommand::Declare(args) => declare(context, args).await,
        QueueCommand::Send(args) => messages::send(context, args).await,
        QueueCommand::Receive(args) => messages::receive(context, args).await,
        QueueCommand::Ack(args) => messages::ack(context, args).await,
        QueueCommand::Nack(args) => messages::nack(context, args).await,
        QueueCommand::Ls => list(context).await,
        QueueCommand::Show(args) => show(context, &args.queue).await,
        QueueCommand::Rm(args) => remove(context, args).await,
        QueueCommand::Dead(command) => dead::run(context, command).await,
    }
}

async fn declare(context: &Context, args: DeclareArgs) -> Result<Exit, Error> {
    let mut settings = Map::new();
    let spans = [
        ("lease", args.lease),
        ("retention", args.retention),
        ("dedup_window", args.dedup_window),
        ("keep_results", args.keep_results),
    ];
    for (name, span) in spans {
        settings.extend(span.map(|span| (name.to_owned(), Value::from(span.to_string()))));
    }
    settings.extend(args.max_deliveries.map(|most| ("max_deliveries".to_owned(), Value::from(most))));
    let settings = Value::Object(settings);
    let path = ["queues", &args.queue];
    let client = context.client()?;
    let answer = client.about::<QueueView>(Method::PUT, &path, Some(&settings), Duration::ZERO).await?;
    output::data(&if context.json { answer.raw } else { answer.value.name })?;
    Ok(Exit::OK)
}

async fn list(context: &Context) -> Result<Exit, Error> {
    let client = context.client()?;
    let answer = client.about::<QueueList>(Method::GET, &["queues"], None, Duration::ZERO).await?;
    let shown = if context.json { answer.raw } else { rows(&answer.value.queues, context.paint) };
    output::data(&shown)?;
    Ok(Exit::OK)
}

async fn show(context: &Context, queue: &str) -> Result<Exit, Error> {
    let client = context.client()?;
    let answer = client.about::<QueueView>(Method::GET, &["queues", queue], None, Duration::ZERO).await?;
    let shown = if context.json { answer.raw } else { rows(&[answer.value], context.paint) };
    output::data(&shown)?;
    Ok(Exit::OK)
}

async fn remove(context: &Context, args: RemoveArgs) -> Result<Exit, Error> {
    let raw = context.client()?.delete_queue(&args.queue, args.force).await?;
    output::data(&if context.json && !raw.is_empty() { raw } else { args.queue })?;
    Ok(Exit::OK)
}

fn rows(queues: &[QueueView], paint: Paint) -> String {
    let row = |queue: &QueueView| {
        let age = Span::from_secs(queue.oldest_age_seconds).to_string();
        let mut cells = vec![Cell::plain(queue.name.clone())];
        let counts = [queue.ready, queue.leased, queue.delayed, queue.dead, queue.acknowledged_total];
        cells.extend(counts.map(|count| Cell::plain(count.to_string())));
        cells.push(Cell::plain(if queue.ready + queue.delayed == 0 { String::new() } else { age }));
        cells.push(Cell::plain(queue.pool.clone().unwrap_or_default()));
        cells
    };
    let head = ["QUEUE", "READY", "LEASED", "DELAYED", "DEAD", "DONE", "OLDEST", "POOL"];
    let head = head.map(|title| Cell::painted(title, paint.paint(Colour::Dim, title))).to_vec();
    table::render(&std::iter::once(head).chain(queues.iter().map(row)).collect::<Vec<_>>())
}
