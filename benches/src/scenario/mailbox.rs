//! The path of a message through an actor, without HTTP and without a disk: message in, transition, commit
//! queued, answer.

use std::process::Command;
use std::time::Duration;

use crate::child::Child;
use crate::error::{Error, Result, file};
use crate::figure::{Figure, Reach, Unit};
use crate::plan::Plan;

const NAME: &str = "mailbox";

/// How long one run may take.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let jobs = plan.pick(1_000, 10_000, 10_000);
    let events = plan.pick(100_000_u64, 500_000, 1_000_000);
    let mut rates = Vec::new();
    for _ in 0..plan.runs {
        let place = plan.place(NAME)?;
        let tell = place.path().join("found.json");
        let mut command = Command::new(&plan.bench);
        command.args(["inside-mailbox", "--jobs", &jobs.to_string(), "--events", &events.to_string()]);
        command.arg("--tell").arg(&tell);
        Child::start(&mut command, &place.path().join("mailbox.log"))?.finish(PATIENCE).await?;
        let text = std::fs::read_to_string(&tell).map_err(file(&tell))?;
        let found: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let missing = || Error::Answer { member: "rate", answer: text.clone() };
        rates.push(found["rate"].as_f64().ok_or_else(missing)?);
    }
    let what = format!("transitions with the in-memory store, {jobs} jobs");
    Ok(vec![Figure::new(NAME, what, Unit::PerSecond, rates).reach(Reach::AtLeast(300_000.0))])
}
