//! `usage`: what was used, and by whom.

use clap::Args;
use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::units::Span;
use dogwatch_actors::usage::report::{UsageReport, UsageTotal};

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, Paint, escape};
use super::table::{self, Cell};
use super::{Error, output, spec_args};
use crate::client::UsageQuery;

/// The arguments of `usage`.
#[derive(Debug, Args)]
#[command(after_help = "An attempt counts in the UTC hour in which its end was recorded; whole hours are \
    added up, from that of --since and before that of --until. Times are \
    RFC 3339 (2026-11-21T08:00:00Z), dates (2026-11-01, at midnight UTC), or how long ago (7d, 12h).")]
pub struct UsageArgs {
    /// What has a line each: tenant, name, runtime, source, job or label:KEY [default: tenant]
    #[arg(long, value_name = "WHAT")]
    pub by: Option<String>,
    /// From when [default: 30 days before the end]
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Until when [default: now]
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only this tenant's
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only of jobs of this name
    #[arg(long)]
    pub name: Option<String>,
    /// Only of jobs with this label; may be given more than once
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
}

pub(super) async fn run(context: &Context, args: UsageArgs) -> Result<Exit, Error> {
    context.start_log(true)?;
    let moment = |text: Option<String>| text.map(|text| moment(&text, context.now()));
    let query = UsageQuery {
        by: args.by,
        since: moment(args.since),
        until: moment(args.until),
        tenant: args.tenant,
        name: args.name,
        labels: spec_args::selectors(&args.label),
    };
    let answer = context.client()?.usage(&query).await?;
    let shown = if context.json { answer.raw } else { text(&answer.value, context.paint) };
    output::data(&shown)?;
    Ok(Exit::OK)
}

/// A time as the API takes it. What is neither a date nor a span goes as it is: the API says what is wrong with it.
fn moment(text: &str, now: Timestamp) -> String {
    // A number alone may be meant as a time.
    let has_unit = text.ends_with(|last: char| last.is_ascii_alphabetic());
    if let Ok(ago) = text.parse::<Span>()
        && has_unit
    {
        let ago = i64::try_from(ago.as_duration().as_millis()).unwrap_or(i64::MAX);
        return Timestamp::from_millis(now.as_millis().saturating_sub(ago)).to_string();
    }
    let shape: Vec<usize> = text.split('-').map(str::len).collect();
    let is_date = shape == [4, 2, 2];
    if is_date { format!("{text}T00:00:00Z") } else { text.to_owned() }
}

fn text(report: &UsageReport, paint: Paint) -> String {
    let title = report.by.to_uppercase();
    let head = [&title, "ATTEMPTS", "CONTAINER-S", "CPU-S", "MEMORY-GIB-S", "UNMEASURED-S"];
    let mut rows = vec![head.map(|title| Cell::painted(title, paint.paint(Colour::Dim, title))).to_vec()];
    rows.extend(report.items.iter().map(|item| line(item.key.as_deref().unwrap_or("-"), &item.used)));
    rows.push(line("TOTAL", &report.total));
    if report.not_kept_apart.attempts > 0 {
        rows.push(line("(NOT KEPT APART)", &report.not_kept_apart));
    }
    let mut text = table::render(&rows);
    if report.truncated {
        text.push_str("there are more lines\n");
    }
    format!("{} to {}\n{text}", report.since, report.until)
}

fn line(key: &str, used: &UsageTotal) -> Vec<Cell> {
    let usage = &used.usage;
    vec![
        Cell::plain(escape(key)),
        Cell::plain(used.attempts.to_string()),
        Cell::plain(format!("{:.3}", usage.container_seconds)),
        Cell::plain(format!("{:.3}", usage.cpu_seconds)),
        Cell::plain(format!("{:.3}", usage.memory_gib_seconds)),
        Cell::plain(format!("{:.3}", usage.unmeasured_seconds)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_in_three_forms() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (text, at) in [
            ("2d", "2026-11-20T12:00:00Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T08:00:00Z", "2026-11-01T08:00:00Z"),
        ] {
            assert_eq!(moment(text, now).parse::<Timestamp>().unwrap(), at.parse().unwrap(), "{text}");
        }
        for odd in ["yesterday", "1795229674", "2026-11-1"] {
            assert_eq!(moment(odd, now), odd, "the API says what is wrong with it");
        }
    }
}
