//! `trigger`: files, requests and messages, for each of which something is started.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::handle::triggers::ItemPage;
use dogwatch_actors::secret::Secret;
use dogwatch_actors::trigger::{ItemState, ItemView, Source, Spec, TriggerState, TriggerView};
use serde_json::Value;

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, Paint, escape};
use super::table::{self, Cell};
use super::{Error, human, output, spec_args};
use crate::api::{DeclaredTrigger, Moved, TriggerList, TriggerToken};
use crate::client::{Client, Method};
use crate::limits::CLI_BODY_BYTES_MAX;

/// The arguments of `trigger`.
#[derive(Debug, Args)]
pub struct TriggerArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What may be done with triggers.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Declare a trigger: create it, or replace it as a whole
    Put {
        /// Its name
        name: String,
        /// The trigger, JSON, TOML or YAML; `-` reads standard input
        file: PathBuf,
    },
    /// List triggers
    Ls,
    /// Show a trigger
    Show(NameArg),
    /// List the items of a trigger; the first 100 of them
    Items {
        /// Its name
        name: String,
        /// Only those in this state: pending, delayed, running, dead or done
        #[arg(long)]
        state: Option<String>,
        /// Only those behind this item
        #[arg(long)]
        after: Option<u64>,
    },
    /// Let triggers start nothing for now
    Pause(NamesArg),
    /// Let triggers go on, with what arrived meanwhile
    Resume(NamesArg),
    /// Call a trigger with its token; its item's number
    Call(CallArgs),
    /// Give a trigger another token, and show that
    Rotate(NameArg),
    /// Start something for dead letters again: one, or all
    Requeue(SomeArg),
    /// Delete dead letters: one, or all
    Purge(SomeArg),
    /// Delete triggers; what they started goes on
    Rm(NamesArg),
}

/// A trigger.
#[derive(Debug, Args)]
pub struct NameArg {
    /// Its name
    pub name: String,
}

/// Some triggers.
#[derive(Debug, Args)]
pub struct NamesArg {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// One item, or all.
#[derive(Debug, Args)]
pub struct SomeArg {
    /// The trigger's name
    pub name: String,
    /// The item's number; all when it is left out
    pub item: Option<String>,
}

/// The arguments of `trigger call`.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// Its name
    pub name: String,
    /// The body; `-` reads standard input
    #[arg(long, default_value = "")]
    pub data: String,
    /// What the body is
    #[arg(long, default_value = "application/json")]
    pub content_type: String,
    /// The same call is one item, however often it is made
    #[arg(long)]
    pub idempotency_key: Option<String>,
    /// The trigger's token
    #[arg(long, env = "DOGWATCH_TRIGGER_TOKEN", hide_env_values = true)]
    pub token: String,
}

pub(super) async fn run(context: &Context, args: TriggerArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    let (now, paint, is_json) = (context.now(), context.paint, context.json);
    let text = match args.verb {
        Verb::Put { name, file } => {
            let spec = Value::Object(spec_args::read(&file)?);
            let path = ["triggers", name.as_str()];
            let answer =
                client.about::<DeclaredTrigger>(Method::PUT, &path, Some(&spec), Duration::ZERO).await?;
            if is_json { answer.raw } else { declared(&answer.value, paint) }
        }
        Verb::Ls => {
            let answer =
                client.about::<TriggerList>(Method::GET, &["triggers"], None, Duration::ZERO).await?;
            if is_json { answer.raw } else { listing(&answer.value.triggers, paint) }
        }
        Verb::Show(NameArg { name }) => {
            let path = ["triggers", name.as_str()];
            let answer = client.about::<TriggerView>(Method::GET, &path, None, Duration::ZERO).await?;
            if is_json { answer.raw } else { describe(&answer.value, paint) }
        }
        Verb::Items { name, state, after } => {
            let answer = client.trigger_items(&name, state.as_deref(), after).await?;
            if is_json { answer.raw } else { items(&answer.value, now, paint) }
        }
        Verb::Pause(args) => return command(context, &client, &args.names, "pause").await,
        Verb::Resume(args) => return command(context, &client, &args.names, "resume").await,
        Verb::Call(args) => {
            let body = body(&args.data)?;
            let (token, key) = (Secret::new(args.token), args.idempotency_key.as_deref());
            let answer = client.call_trigger(&args.name, token, key, &args.content_type, body).await?;
            if is_json { answer.raw } else { answer.value.id.to_string() }
        }
        Verb::Rotate(NameArg { name }) => {
            let path = ["triggers", name.as_str(), "rotate"];
            let answer = client.about::<TriggerToken>(Method::POST, &path, None, Duration::ZERO).await?;
            if is_json { answer.raw } else { answer.value.token }
        }
        Verb::Requeue(args) => return dead(context, &client, Method::POST, &args).await,
        Verb::Purge(args) => return dead(context, &client, Method::DELETE, &args).await,
        Verb::Rm(NamesArg { names }) => {
            for name in &names {
                let path = ["triggers", name.as_str()];
                client.about::<Value>(Method::DELETE, &path, None, Duration::ZERO).await?;
            }
            if is_json { return Ok(Exit::OK) } else { names.join("\n") }
        }
    };
    output::data(&text)?;
    Ok(Exit::OK)
}

async fn command(context: &Context, client: &Client, names: &[String], verb: &str) -> Result<Exit, Error> {
    for name in names {
        let path = ["triggers", name.as_str(), verb];
        let answer = client.about::<TriggerView>(Method::POST, &path, None, Duration::ZERO).await?;
        output::data(&if context.json { answer.raw } else { answer.value.name })?;
    }
    Ok(Exit::OK)
}

async fn dead(context: &Context, client: &Client, method: Method, args: &SomeArg) -> Result<Exit, Error> {
    let mut path = vec!["triggers", args.name.as_str(), "dead"];
    path.extend(args.item.as_deref());
    if method == Method::POST {
        path.push("requeue");
    }
    let answer = client.about::<Moved>(method, &path, None, Duration::ZERO).await?;
    output::data(&if context.json { answer.raw } else { answer.value.moved.to_string() })?;
    Ok(Exit::OK)
}

fn body(data: &str) -> Result<Vec<u8>, Error> {
    if data != "-" {
        return Ok(data.as_bytes().to_vec());
    }
    let mut bytes = Vec::new();
    let mut input = std::io::stdin().lock().take(CLI_BODY_BYTES_MAX);
    input
        .read_to_end(&mut bytes)
        .map_err(|error| Error::Usage(format!("the body cannot be read: {error}")))?;
    Ok(bytes)
}

fn declared(declared: &DeclaredTrigger, paint: Paint) -> String {
    let mut out = describe(&declared.trigger, paint);
    if let Some(token) = &declared.token {
        let label = paint.paint(Colour::Dim, "token    ");
        writeln!(out, "{label}  {token}").expect("a string takes every write");
    }
    out
}

fn listing(triggers: &[TriggerView], paint: Paint) -> String {
    let titles = ["NAME", "STATE", "SOURCE", "STARTS", "PENDING", "RUNNING", "DEAD", "DONE"];
    let mut rows = vec![head(&titles, paint)];
    rows.extend(triggers.iter().map(|trigger| {
        let (state, colour) = named(trigger.state);
        vec![
            Cell::plain(trigger.name.clone()),
            Cell::painted(state, paint.paint(colour, state)),
            Cell::plain(source(&trigger.spec)),
            Cell::plain(what(&trigger.spec)),
            Cell::plain(trigger.pending.to_string()),
            Cell::plain(trigger.running.to_string()),
            Cell::plain(trigger.dead.to_string()),
            Cell::plain(trigger.done_total.to_string()),
        ]
    }));
    table::render(&rows)
}

fn describe(trigger: &TriggerView, paint: Paint) -> String {
    let mut out = String::new();
    let mut put = |label: &str, value: &str| {
        writeln!(out, "{}  {value}", paint.paint(Colour::Dim, &format!("{label:<9}")))
            .expect("a string takes every write");
    };
    put("trigger", &trigger.name);
    let (state, colour) = named(trigger.state);
    put("state", &paint.paint(colour, state));
    put("now", &escape(&trigger.message));
    put("source", &source(&trigger.spec));
    put("starts", &what(&trigger.spec));
    let TriggerView { pending, running, dead, known, .. } = trigger;
    put("items", &format!("{pending} pending, {running} running, {dead} dead, {known} versions known"));
    let TriggerView { arrived_total, started_total, done_total, failed_total, .. } = trigger;
    put(
        "counts",
        &format!(
            "{arrived_total} arrived, {started_total} started, {done_total} done, {failed_total} failed"
        ),
    );
    out
}

fn items(page: &ItemPage, now: Timestamp, paint: Paint) -> String {
    let mut rows = vec![head(&["ID", "STATE", "OBJECT", "STARTED", "DELIVERIES", "ARRIVED", "WHY"], paint)];
    rows.extend(page.items.iter().map(|item| {
        let (state, colour) = state_of(item.state);
        vec![
            Cell::plain(item.id.to_string()),
            Cell::painted(state, paint.paint(colour, state)),
            Cell::plain(escape(&item.object.name)),
            Cell::plain(started(item)),
            Cell::plain(item.deliveries.to_string()),
            Cell::plain(human::relative(item.arrived_at, now)),
            Cell::plain(escape(item.last_error.as_deref().unwrap_or(""))),
        ]
    }));
    table::render(&rows)
}

fn started(item: &ItemView) -> String {
    match (&item.job, &item.instance) {
        (Some(job), _) => job.to_string(),
        (None, Some(instance)) => escape(instance.as_str()).into_owned(),
        (None, None) => "-".to_owned(),
    }
}

fn head(titles: &[&str], paint: Paint) -> Vec<Cell> {
    titles.iter().map(|title| Cell::painted(title, paint.paint(Colour::Dim, title))).collect()
}

fn source(spec: &Spec) -> String {
    let text = match spec.source() {
        Some(Source::Directory(directory)) => format!("directory {}", directory.path),
        Some(Source::Bucket(bucket)) => format!("bucket {}/{}", bucket.store, bucket.prefix),
        Some(Source::Http(_)) => "http".to_owned(),
        Some(Source::Queue(queue)) => format!("queue {}", queue.name),
        None => "-".to_owned(),
    };
    escape(&text).into_owned()
}

fn what(spec: &Spec) -> String {
    let text = match (&spec.job, &spec.orchestration) {
        (Some(job), _) => {
            let words: Vec<&str> =
                job.image.iter().chain(&job.entrypoint).chain(&job.args).map(String::as_str).collect();
            format!("job {}", words.join(" "))
        }
        (None, Some(orchestration)) => format!("orchestration {}", orchestration.name),
        (None, None) => "nothing".to_owned(),
    };
    escape(&text).into_owned()
}

const fn named(state: TriggerState) -> (&'static str, Colour) {
    match state {
        TriggerState::Active => ("active", Colour::Bold),
        TriggerState::Paused => ("paused", Colour::Yellow),
        TriggerState::Deleting => ("deleting", Colour::Dim),
        TriggerState::Quarantined => ("quarantined", Colour::Red),
    }
}

const fn state_of(state: ItemState) -> (&'static str, Colour) {
    match state {
        ItemState::Pending => ("pending", Colour::Dim),
        ItemState::Delayed => ("delayed", Colour::Yellow),
        ItemState::Running => ("running", Colour::Bold),
        ItemState::Dead => ("dead", Colour::Red),
        ItemState::Done => ("done", Colour::Dim),
    }
}
