//! `schedule`: times at which a job is submitted or an orchestration started.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::schedule::{FireState, FireView, ScheduleState, ScheduleView, Spec, UpcomingView};
use serde_json::{Map, Value};

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, Paint, escape};
use super::table::{self, Cell};
use super::{Error, human, output, spec_args};
use crate::client::ScheduleCommand;

/// The arguments of `schedule`.
#[derive(Debug, Args)]
pub struct ScheduleArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What may be done with schedules.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Declare a schedule: create it, or replace it as a whole
    Put {
        /// Its name
        name: String,
        /// The schedule, JSON, TOML or YAML; `-` reads standard input
        file: PathBuf,
    },
    /// List schedules
    Ls,
    /// Show a schedule with its next times and its last fires
    Show {
        /// Its name
        name: String,
    },
    /// Let schedules fire no more at their times
    Pause {
        /// Their names
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Let schedules fire at their times again
    Resume {
        /// Their names
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Let a schedule fire now
    Trigger {
        /// Its name
        name: String,
    },
    /// Delete schedules; what they started goes on
    Rm {
        /// Their names
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Show the times that a schedule would have
    Preview(PreviewArgs),
}

/// The arguments of `schedule preview`.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// The cron expression, such as "30 2 * * *" or "@every 90s"
    #[arg(required_unless_present = "file")]
    pub cron: Option<String>,
    /// The schedule, JSON, TOML or YAML, instead of the expression; `-` reads standard input
    #[arg(short, long, conflicts_with = "cron")]
    pub file: Option<PathBuf>,
    /// The time zone
    #[arg(short = 'z', long, value_name = "ZONE")]
    pub time_zone: Option<String>,
    /// The expression has six fields, seconds first
    #[arg(long)]
    pub seconds: bool,
    /// Times behind this one
    #[arg(long, value_name = "TIME")]
    pub after: Option<String>,
    /// How many
    #[arg(short = 'n', long)]
    pub count: Option<usize>,
}

pub(super) async fn run(context: &Context, args: ScheduleArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    let (now, paint) = (context.now(), context.paint);
    let text = match args.verb {
        Verb::Put { name, file } => {
            let spec = Value::Object(spec_args::read(&file)?);
            let answer = client.put_schedule(&name, &spec).await?;
            if context.json { answer.raw } else { describe(&answer.value, now, paint) }
        }
        Verb::Ls => {
            let answer = client.schedules().await?;
            if context.json { answer.raw } else { listing(&answer.value.schedules, now, paint) }
        }
        Verb::Show { name } => {
            let answer = client.schedule(&name).await?;
            if context.json { answer.raw } else { describe(&answer.value, now, paint) }
        }
        Verb::Pause { names } => return command(context, &names, ScheduleCommand::Pause).await,
        Verb::Resume { names } => return command(context, &names, ScheduleCommand::Resume).await,
        Verb::Trigger { name } => {
            let answer = client.trigger_schedule(&name).await?;
            let fire = answer.value.fire.as_ref();
            if context.json { answer.raw } else { fire.map(started).unwrap_or_default() }
        }
        Verb::Rm { names } => {
            for name in &names {
                client.delete_schedule(name).await?;
            }
            if context.json { return Ok(Exit::OK) } else { names.join("\n") }
        }
        Verb::Preview(args) => {
            let spec = Value::Object(previewed(&args)?);
            let answer = client.preview_schedule(&spec, args.after.as_deref(), args.count).await?;
            if context.json { answer.raw } else { times(&answer.value.next, now, paint) }
        }
    };
    output::data(&text)?;
    Ok(Exit::OK)
}

async fn command(context: &Context, names: &[String], command: ScheduleCommand) -> Result<Exit, Error> {
    let client = context.client()?;
    for name in names {
        let answer = client.command_schedule(name, command).await?;
        output::data(&if context.json { answer.raw } else { answer.value.name })?;
    }
    Ok(Exit::OK)
}

fn previewed(args: &PreviewArgs) -> Result<Map<String, Value>, Error> {
    let mut spec = match &args.file {
        Some(file) => spec_args::read(file)?,
        None => Map::new(),
    };
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            spec.insert(key.to_owned(), value);
        }
    };
    set("cron", args.cron.clone().map(Value::String));
    set("time_zone", args.time_zone.clone().map(Value::String));
    set("seconds", args.seconds.then_some(Value::Bool(true)));
    Ok(spec)
}

/// What a fire came to: the id of what it started, or why it started nothing.
fn started(fire: &FireView) -> String {
    run_of(fire).unwrap_or_else(|| {
        format!("{}: {}", state_of(fire.state), escape(fire.message.as_deref().unwrap_or("-")))
    })
}

/// The id of what a fire started.
fn run_of(fire: &FireView) -> Option<String> {
    let job = fire.job.map(|job| job.to_string());
    let array = || fire.array.map(|array| array.to_string());
    job.or_else(array).or_else(|| fire.instance.as_ref().map(|id| escape(id.as_str()).into_owned()))
}

fn listing(schedules: &[ScheduleView], now: Timestamp, paint: Paint) -> String {
    let mut rows = vec![head(&["NAME", "STATE", "TIMES", "ZONE", "NEXT", "LAST", "DETAIL"], paint)];
    rows.extend(schedules.iter().map(|schedule| {
        let (state, colour) = named(schedule.state);
        let next = schedule.next.first().filter(|_| schedule.state == ScheduleState::Active);
        vec![
            Cell::plain(schedule.name.clone()),
            Cell::painted(state, paint.paint(colour, state)),
            Cell::plain(escape(&schedule.spec.cron)),
            Cell::plain(escape(&schedule.spec.time_zone)),
            Cell::plain(next.map_or_else(|| "-".to_owned(), |next| human::relative(next.due_at, now))),
            Cell::plain(schedule.fires.first().map_or("-", |fire| state_of(fire.state))),
            Cell::plain(what(&schedule.spec)),
        ]
    }));
    table::render(&rows)
}

fn describe(schedule: &ScheduleView, now: Timestamp, paint: Paint) -> String {
    let mut out = String::new();
    let mut put = |label: &str, value: &str| {
        writeln!(out, "{}  {value}", paint.paint(Colour::Dim, &format!("{label:<9}")))
            .expect("a string takes every write");
    };
    put("schedule", &schedule.name);
    let (state, colour) = named(schedule.state);
    put("state", &paint.paint(colour, state));
    put("now", &escape(&schedule.message));
    put("times", &escape(&format!("{} ({})", schedule.spec.cron, schedule.spec.time_zone)));
    put("starts", &what(&schedule.spec));
    let ScheduleView { started, skipped, missed, .. } = schedule;
    put("counts", &format!("{started} started, {skipped} skipped, {missed} missed"));
    if !schedule.next.is_empty() {
        out.push('\n');
        out.push_str(&times(&schedule.next, now, paint));
    }
    if !schedule.fires.is_empty() {
        out.push('\n');
        out.push_str(&fires(&schedule.fires, now, paint));
    }
    out
}

fn times(next: &[UpcomingView], now: Timestamp, paint: Paint) -> String {
    let mut rows = vec![head(&["NEXT", "LOCAL", "FIRES"], paint)];
    rows.extend(next.iter().map(|time| {
        vec![
            Cell::plain(time.scheduled_at.to_string()),
            Cell::plain(escape(&time.local)),
            Cell::plain(human::relative(time.due_at, now)),
        ]
    }));
    table::render(&rows)
}

fn fires(fires: &[FireView], now: Timestamp, paint: Paint) -> String {
    let mut rows = vec![head(&["FIRE", "FOR", "STATE", "STARTED", "FIRED", "WHY"], paint)];
    rows.extend(fires.iter().map(|fire| {
        let late = if fire.past_due { " (past due)" } else { "" };
        vec![
            Cell::plain(fire.number.to_string()),
            Cell::plain(format!("{}{late}", fire.scheduled_at)),
            Cell::plain(state_of(fire.state)),
            Cell::plain(run_of(fire).unwrap_or_else(|| "-".to_owned())),
            Cell::plain(human::relative(fire.fired_at, now)),
            Cell::plain(escape(fire.message.as_deref().unwrap_or(""))),
        ]
    }));
    table::render(&rows)
}

fn head(titles: &[&str], paint: Paint) -> Vec<Cell> {
    titles.iter().map(|title| Cell::painted(title, paint.paint(Colour::Dim, title))).collect()
}

fn what(spec: &Spec) -> String {
    let text = match (&spec.job, &spec.orchestration) {
        (Some(job), _) => {
            let words: Vec<&str> =
                job.image.iter().chain(&job.entrypoint).chain(&job.args).map(String::as_str).collect();
            match job.array {
                Some(array) => format!("array of {}: {}", array.size, words.join(" ")),
                None => format!("job {}", words.join(" ")),
            }
        }
        (None, Some(orchestration)) => format!("orchestration {}", orchestration.name),
        (None, None) => "nothing".to_owned(),
    };
    escape(&text).into_owned()
}

const fn named(state: ScheduleState) -> (&'static str, Colour) {
    match state {
        ScheduleState::Active => ("active", Colour::Bold),
        ScheduleState::Paused => ("paused", Colour::Yellow),
        ScheduleState::Finished => ("finished", Colour::Dim),
        ScheduleState::Quarantined => ("quarantined", Colour::Red),
    }
}

const fn state_of(state: FireState) -> &'static str {
    match state {
        FireState::Queued => "queued",
        FireState::Running => "running",
        FireState::Stopping => "stopping",
        FireState::Succeeded => "succeeded",
        FireState::Failed => "failed",
        FireState::Cancelled => "cancelled",
        FireState::Skipped => "skipped",
    }
}
