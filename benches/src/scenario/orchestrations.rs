//! Orchestrations in process: chains of activities, fan-out and fan-in, many that wait, one with a long history.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::child::Child;
use crate::error::{Error, Result, file};
use crate::figure::{Figure, Reach, Unit};
use crate::plan::Plan;

const NAME: &str = "orchestrations";

/// How long one run may take.
const PATIENCE: Duration = Duration::from_secs(1_200);

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let chains = plan.pick(1_000_u64, 5_000, 5_000);
    let fans = plan.pick([1_000_u64, 10_000], [10_000, 100_000], [10_000, 100_000]);
    let waiting = plan.pick(20_000_u64, 1_000_000, 1_000_000);
    let events = plan.pick(10_000_u64, 100_000, 100_000);
    let (mut rates, mut p50, mut p99) = (vec![], vec![], vec![]);
    let (mut few, mut many, mut growth) = (vec![], vec![], vec![]);
    for _ in 0..plan.runs {
        let found = fresh(plan, "chain", chains).await?;
        rates.push(number(&found, "rate")?);
        p50.push(number(&found, "p50")?);
        p99.push(number(&found, "p99")?);
        few.push(number(&fresh(plan, "fan", fans[0]).await?, "seconds")?);
        many.push(number(&fresh(plan, "fan", fans[1]).await?, "seconds")?);
        let found = fresh(plan, "history", events).await?;
        growth.push(number(&found, "first")? / number(&found, "last")?);
    }
    let mut figures = vec![
        Figure::new(NAME, format!("chains of 5 activities, {chains} at once"), Unit::PerSecond, rates)
            .reach(Reach::AtLeast(1_500.0)),
        Figure::new(NAME, "one chain of 5 at a time, p50", Unit::Millis, p50),
        Figure::new(NAME, "one chain of 5 at a time, p99", Unit::Millis, p99),
        Figure::new(NAME, format!("one with {} activities at once", fans[0]), Unit::Seconds, few)
            .reach(Reach::AtMost(2.0)),
        Figure::new(NAME, format!("one with {} activities at once", fans[1]), Unit::Seconds, many)
            .reach(Reach::AtMost(25.0)),
        Figure::new(
            NAME,
            format!("a history of {events} events: how much slower the last tenth is"),
            Unit::Count,
            growth,
        )
        .reach(Reach::AtMost(1.5)),
    ];
    // Memory and opening differ little from run to run, and a run is long.
    let place = plan.place(NAME)?;
    let found = inside(plan, "waiting", waiting, place.path()).await?;
    let opened = inside(plan, "reopen", 0, place.path()).await?;
    figures.extend([
        Figure::new(
            NAME,
            format!("starts of {waiting} that wait"),
            Unit::PerSecond,
            vec![number(&found, "rate")?],
        ),
        Figure::new(
            NAME,
            format!("resident with {waiting} that wait"),
            Unit::Mebibytes,
            vec![number(&found, "resident_mebibytes")?],
        )
        .reach(Reach::AtMost(1_024.0)),
        Figure::new(
            NAME,
            format!("until ready with {waiting} that wait"),
            Unit::Seconds,
            vec![number(&opened, "ready_seconds")?],
        )
        .reach(Reach::AtMost(5.0)),
    ]);
    Ok(figures)
}

async fn fresh(plan: &Plan, shape: &str, count: u64) -> Result<Value> {
    let place = plan.place(NAME)?;
    inside(plan, shape, count, place.path()).await
}

async fn inside(plan: &Plan, shape: &str, count: u64, place: &Path) -> Result<Value> {
    let tell = place.join("found.json");
    let mut command = Command::new(&plan.bench);
    command.args(["inside-orchestrations", "--shape", shape, "--count", &count.to_string(), "--dir"]);
    command.arg(place).arg("--tell").arg(&tell);
    Child::start(&mut command, &place.join("bench.log"))?.finish(PATIENCE).await?;
    let text = std::fs::read_to_string(&tell).map_err(file(&tell))?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

fn number(found: &Value, member: &'static str) -> Result<f64> {
    found[member].as_f64().ok_or_else(|| Error::Answer { member, answer: found.to_string() })
}
