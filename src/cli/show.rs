//! `show`: one job, for people; an array where there is no job of that id.

use std::fmt::Write as _;

use dogwatch_actors::array::ArrayId;
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::job::spec::Spec;
use dogwatch_actors::job::view::{AttemptState, AttemptView, JobView};
use dogwatch_actors::usage::UsageView;

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, Paint, escape};
use super::table::{self, Cell};
use super::{Error, array, human, output, ps};

pub(super) async fn run(context: &Context, job: &str) -> Result<Exit, Error> {
    context.start_log(true)?;
    let client = context.client()?;
    let id = context.find_job(&client, job).await?;
    let answer = match client.job(id, None).await {
        Ok(answer) => answer,
        Err(error) => {
            let array = array::or_else(error, client.array(ArrayId::new(id), None)).await?;
            return array::show(context, &array);
        }
    };
    if context.json {
        output::data(&answer.raw)?;
    } else {
        output::data(&describe(&answer.value, context.now(), context.paint))?;
    }
    Ok(Exit::OK)
}

/// Everything worth knowing, the most important first.
pub(super) fn describe(job: &JobView, now: Timestamp, paint: Paint) -> String {
    let mut out = String::new();
    let mut put = |label: &str, value: &str| {
        writeln!(out, "{}  {value}", paint.paint(Colour::Dim, &format!("{label:<9}")))
            .expect("a string takes every write");
    };
    put("job", &job.id.to_string());
    if let Some(name) = &job.name {
        put("name", &escape(name));
    }
    put("state", &paint.paint(ps::colour(job.state), job.state.name()));
    if let Some(cause) = job.cause {
        put("cause", cause.name());
    }
    if let Some(message) = &job.message {
        put("why", &escape(message));
    }
    if let Some(at) = job.next_at {
        let label = if job.state.is_terminal() { "purged" } else { "next" };
        put(label, &format!("{} ({at})", human::relative(at, now)));
    }
    put("runs", &what(&job.spec));
    for (label, payload) in [("progress", &job.progress), ("output", &job.output)] {
        if let Some(payload) = payload {
            put(label, &escape(&payload.to_string()));
        }
    }
    let labels: Vec<String> = job.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !labels.is_empty() {
        put("labels", &escape(&labels.join(" ")));
    }
    for (label, at) in
        [("created", Some(job.created_at)), ("started", job.started_at), ("finished", job.finished_at)]
    {
        if let Some(at) = at {
            put(label, &format!("{at} ({})", human::relative(at, now)));
        }
    }
    if job.usage.container_seconds > 0.0 {
        put("used", &used(&job.usage));
    }
    if !job.attempts.is_empty() {
        out.push('\n');
        out.push_str(&attempts(&job.attempts, now, paint));
    }
    out
}

fn used(usage: &UsageView) -> String {
    let mut text = format!(
        "{:.3} s running, {:.3} s of CPU, {:.3} GiB·s of memory",
        usage.container_seconds, usage.cpu_seconds, usage.memory_gib_seconds
    );
    if usage.unmeasured_seconds > 0.0 {
        write!(text, " ({:.3} s not measured)", usage.unmeasured_seconds)
            .expect("a string takes every write");
    }
    text
}

fn what(spec: &Spec) -> String {
    let words = spec.entrypoint.iter().chain(&spec.args);
    let command = words.map(|word| quote(word)).collect::<Vec<_>>().join(" ");
    let text = match &spec.image {
        Some(image) => format!("{image} {command} (on {})", spec.runtime_name()),
        None => format!("{command} (on {})", spec.runtime_name()),
    };
    escape(text.trim()).into_owned()
}

/// A word as a shell would need it.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn attempts(attempts: &[AttemptView], now: Timestamp, paint: Paint) -> String {
    let head = ["ATTEMPT", "STATE", "CODE", "CAUSE", "STARTED", "TOOK", "WHY"];
    let mut rows = vec![head.map(|title| Cell::painted(title, paint.paint(Colour::Dim, title))).to_vec()];
    rows.extend(attempts.iter().map(|attempt| {
        let state = match attempt.state {
            AttemptState::Starting => "starting",
            AttemptState::Running => "running",
            AttemptState::Stopping => "stopping",
            AttemptState::Exited => "exited",
        };
        let took = attempt.started_at.map(|at| human::span(attempt.finished_at.unwrap_or(now).since(at)));
        let dash = || "-".to_owned();
        vec![
            Cell::plain(attempt.number.to_string()),
            Cell::plain(state),
            Cell::plain(attempt.exit_code.map_or_else(dash, |code| code.to_string())),
            Cell::plain(attempt.cause.map_or("-", |cause| cause.name())),
            Cell::plain(attempt.started_at.map_or_else(dash, |at| human::relative(at, now))),
            Cell::plain(took.unwrap_or_else(dash)),
            Cell::plain(escape(attempt.message.as_deref().unwrap_or(""))),
        ]
    }));
    table::render(&rows)
}
