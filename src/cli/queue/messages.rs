//! `queue send`, `receive`, `ack` and `nack`.

use std::io::BufRead as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::Method;
use clap::Args;
use dogwatch_actors::handle::queues::{Acknowledged, GivenBack};
use dogwatch_actors::limits::QUEUE_BATCH_MAX;
use dogwatch_actors::units::Span;
use serde_json::{Value, json};

use super::super::context::Context;
use super::super::exit::Exit;
use super::super::{Error, output};
use crate::api::{ReceivedMessages, SentMessages};

/// The arguments of `queue send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// The queue
    #[arg(value_name = "QUEUE")]
    pub queue: String,
    /// Messages: JSON, and what is no JSON is a text
    #[arg(value_name = "MESSAGE")]
    pub messages: Vec<String>,
    /// One message for each line of this file; `-` is standard input, as when no message is given
    #[arg(long, value_name = "FILE", conflicts_with = "messages")]
    pub file: Option<PathBuf>,
    /// Not to be delivered before that time has passed
    #[arg(long)]
    pub delay: Option<Span>,
    /// From -100 to 100: the higher, the earlier
    #[arg(long, allow_negative_numbers = true)]
    pub priority: Option<i8>,
    /// What is to be known of the messages besides
    #[arg(long = "header", value_name = "NAME=VALUE")]
    pub headers: Vec<String>,
}

/// The arguments of `queue receive`.
#[derive(Debug, Args)]
pub struct ReceiveArgs {
    /// The queue
    #[arg(value_name = "QUEUE")]
    pub queue: String,
    /// At most so many
    #[arg(long, default_value_t = 1)]
    pub max: u32,
    /// For how long
    #[arg(long)]
    pub lease: Option<Span>,
    /// How long to wait when there is none
    #[arg(long, default_value = "0s")]
    pub wait: Span,
}

/// The arguments of `queue ack`.
#[derive(Debug, Args)]
pub struct AckArgs {
    /// The queue
    #[arg(value_name = "QUEUE")]
    pub queue: String,
    /// The message's number
    #[arg(value_name = "ID")]
    pub id: String,
    /// What came with the message
    #[arg(value_name = "RECEIPT")]
    pub receipt: String,
    /// What came of it: JSON, and what is no JSON is a text
    #[arg(long)]
    pub result: Option<String>,
}

/// The arguments of `queue nack`.
#[derive(Debug, Args)]
pub struct NackArgs {
    /// The queue
    #[arg(value_name = "QUEUE")]
    pub queue: String,
    /// The message's number
    #[arg(value_name = "ID")]
    pub id: String,
    /// What came with the message
    #[arg(value_name = "RECEIPT")]
    pub receipt: String,
    /// Not to be delivered before that time has passed
    #[arg(long)]
    pub delay: Option<Span>,
    /// Why
    #[arg(long)]
    pub error: Option<String>,
}

/// What somebody typed: JSON, or a text.
fn typed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

pub(super) async fn send(context: &Context, args: SendArgs) -> Result<Exit, Error> {
    let template = template(&args)?;
    let mut lines: Box<dyn Iterator<Item = std::io::Result<String>>> = match &args.file {
        None if !args.messages.is_empty() => Box::new(args.messages.into_iter().map(Ok)),
        Some(path) if path.as_os_str() != "-" => {
            let unreadable =
                |error: std::io::Error| Error::Spec { path: path.clone(), message: error.to_string() };
            Box::new(std::io::BufReader::new(std::fs::File::open(path).map_err(unreadable)?).lines())
        }
        _ => Box::new(std::io::BufReader::new(std::io::stdin()).lines()),
    };
    let client = context.client()?;
    let path = ["queues", args.queue.as_str(), "messages"];
    loop {
        let batch: Vec<String> =
            lines.by_ref().take(QUEUE_BATCH_MAX).collect::<std::io::Result<_>>().map_err(|error| {
                Error::Spec {
                    path: args.file.clone().unwrap_or_else(|| "-".into()),
                    message: error.to_string(),
                }
            })?;
        if batch.is_empty() {
            return Ok(Exit::OK);
        }
        let message = |text: &String| {
            let mut message = template.clone();
            message["body"] = typed(text);
            message
        };
        let body = json!({ "messages": batch.iter().map(message).collect::<Vec<_>>() });
        let answer = client.about::<SentMessages>(Method::POST, &path, Some(&body), Duration::ZERO).await?;
        if context.json {
            output::data(&answer.raw)?;
        } else {
            let ids = answer.value.messages.iter().map(|sent| sent.id.as_str()).collect::<Vec<_>>();
            output::data(&ids.join("\n"))?;
        }
    }
}

/// What all messages have in common.
fn template(args: &SendArgs) -> Result<Value, Error> {
    let mut headers = serde_json::Map::new();
    for header in &args.headers {
        let pair = header.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = pair.ok_or_else(|| Error::Usage("write a header as NAME=VALUE".to_owned()))?;
        headers.insert(name.to_owned(), Value::from(value));
    }
    let mut template = json!({ "headers": headers });
    if let Some(delay) = args.delay {
        template["delay"] = Value::from(delay.to_string());
    }
    if let Some(priority) = args.priority {
        template["priority"] = Value::from(priority);
    }
    Ok(template)
}

pub(super) async fn receive(context: &Context, args: ReceiveArgs) -> Result<Exit, Error> {
    let mut body = json!({ "max": args.max, "wait": args.wait.to_string() });
    if let Some(lease) = args.lease {
        body["lease"] = Value::from(lease.to_string());
    }
    let path = ["queues", args.queue.as_str(), "receive"];
    let client = context.client()?;
    let held_back = args.wait.as_duration();
    let answer = client.about::<ReceivedMessages>(Method::POST, &path, Some(&body), held_back).await?;
    if context.json {
        output::data(&answer.raw)?;
        return Ok(Exit::OK);
    }
    for message in &answer.value.messages {
        // One line each, in which whatever a terminal would obey is escaped as JSON does it.
        output::data(&serde_json::to_value(message).unwrap_or_default().to_string())?;
    }
    Ok(Exit::OK)
}

pub(super) async fn ack(context: &Context, args: AckArgs) -> Result<Exit, Error> {
    let mut body = json!({ "receipt": args.receipt });
    if let Some(result) = &args.result {
        body["result"] = typed(result);
    }
    let path = ["queues", args.queue.as_str(), "messages", args.id.as_str(), "ack"];
    let client = context.client()?;
    let answer = client.about::<Acknowledged>(Method::POST, &path, Some(&body), Duration::ZERO).await?;
    output::data(&if context.json { answer.raw } else { format!("{} done", answer.value.id) })?;
    Ok(Exit::OK)
}

pub(super) async fn nack(context: &Context, args: NackArgs) -> Result<Exit, Error> {
    let mut body = json!({ "receipt": args.receipt });
    if let Some(delay) = args.delay {
        body["delay"] = Value::from(delay.to_string());
    }
    if let Some(error) = &args.error {
        body["error"] = Value::from(error.as_str());
    }
    let path = ["queues", args.queue.as_str(), "messages", args.id.as_str(), "nack"];
    let client = context.client()?;
    let answer = client.about::<GivenBack>(Method::POST, &path, Some(&body), Duration::ZERO).await?;
    let became = if answer.value.dead { "dead" } else { "given back" };
    output::data(&if context.json { answer.raw } else { format!("{} {became}", args.id) })?;
    Ok(Exit::OK)
}
