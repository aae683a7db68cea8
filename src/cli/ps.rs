//! `ps`: jobs, newest first.

use clap::Args;
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::job::view::{JobState, JobView};

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, Paint, escape};
use super::table::{self, Cell};
use super::{Error, human, output, spec_args};
use crate::client::ListQuery;

/// The arguments of `ps`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Only jobs in this state; may be given more than once
    #[arg(short, long, value_name = "STATE")]
    pub state: Vec<String>,
    /// Only jobs with this label; may be given more than once
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Only jobs of this name
    #[arg(long)]
    pub name: Option<String>,
    /// At most so many
    #[arg(short = 'n', long)]
    pub limit: Option<usize>,
    /// Go on behind this page
    #[arg(long)]
    pub cursor: Option<String>,
}

pub(super) async fn run(context: &Context, args: PsArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let labels = spec_args::selectors(&args.label);
    let query =
        ListQuery { states: args.state, labels, name: args.name, limit: args.limit, cursor: args.cursor };
    let page = context.client()?.list(&query).await?;
    if context.json {
        output::data(&page.raw)?;
        return Ok(Exit::OK);
    }
    output::data(&listing(&page.value.jobs, context.now(), context.paint))?;
    if let Some(cursor) = page.value.next_cursor {
        output::note(&format!("dogwatch: there are more; go on with --cursor {cursor}"));
    }
    Ok(Exit::OK)
}

fn listing(jobs: &[JobView], now: Timestamp, paint: Paint) -> String {
    let head = ["ID", "NAME", "STATE", "ATTEMPT", "AGE", "DETAIL"];
    let mut rows = vec![head.map(|title| Cell::painted(title, paint.paint(Colour::Dim, title))).to_vec()];
    rows.extend(jobs.iter().map(|job| {
        vec![
            Cell::plain(job.id.to_string()),
            Cell::plain(escape(job.name.as_deref().unwrap_or("-"))),
            state(job.state, paint),
            Cell::plain(job.attempt.to_string()),
            Cell::plain(human::span(now.since(job.created_at))),
            Cell::plain(escape(&detail(job, now))),
        ]
    }));
    table::render(&rows)
}

fn state(state: JobState, paint: Paint) -> Cell {
    Cell::painted(state.name(), paint.paint(colour(state), state.name()))
}

/// The colour of a state.
pub(super) const fn colour(state: JobState) -> Colour {
    match state {
        JobState::Succeeded => Colour::Green,
        JobState::Failed => Colour::Red,
        JobState::BackingOff | JobState::Suspended | JobState::Stopping => Colour::Yellow,
        JobState::Running | JobState::Starting => Colour::Bold,
        JobState::Queued | JobState::Cancelled => Colour::Dim,
    }
}

/// Longer texts belong to `show`.
const DETAIL_CHARS: usize = 70;

/// The one thing that is worth knowing of a job in this state.
fn detail(job: &JobView, now: Timestamp) -> String {
    let cause = job.cause.map_or("", |cause| cause.name());
    match (job.state, job.next_at) {
        (JobState::Failed | JobState::Cancelled, _) => {
            let code = job.attempts.last().and_then(|attempt| attempt.exit_code);
            code.map_or_else(|| cause.to_owned(), |code| format!("{cause}, code {code}"))
        }
        (JobState::BackingOff, Some(at)) => format!("{cause}, next attempt {}", human::relative(at, now)),
        (JobState::Queued, Some(at)) if at > now => format!("due {}", human::relative(at, now)),
        (JobState::Running, _) => job.progress.as_ref().map_or_else(String::new, |progress| {
            format!("progress {}", progress.to_string().chars().take(DETAIL_CHARS).collect::<String>())
        }),
        // What keeps it from going on, where something does.
        _ => job
            .message
            .as_deref()
            .map_or_else(String::new, |message| message.chars().take(DETAIL_CHARS).collect()),
    }
}
