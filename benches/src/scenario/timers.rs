//! Many timers that are due in the same second: how late each fires, and that it fires once.
//!
//! The only slot is taken, so that a timer which fires moves its job into the queue and nothing else happens.

use std::collections::HashMap;
use std::time::Duration;

use dogwatch_actors::clock::{Clock as _, SystemClock, Timestamp};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::child::until_every;
use crate::error::{Error, Result};
use crate::figure::{Figure, Reach, Unit};
use crate::http::Connection;
use crate::load::quantile;
use crate::plan::Plan;
use crate::server::Server;
use crate::workload::{ghost, sized, submit_each};

const NAME: &str = "timers";

/// Submissions per second that can be relied on when the moment is chosen.
const SLOW_RATE: u64 = 2_500;

/// The time over which they are due.
const SPREAD: Duration = Duration::from_secs(1);

/// How long after their moment all must have fired.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a server is asked how many have fired: what that costs it is part of the lateness.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How many have fired: each moved its job into the queue for the slot.
const WAITING: &str = "dogwatch_attempts{state=\"waiting\"}";

/// Whether somebody listens while they fire, which on a small machine takes a part of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listener {
    Meanwhile,
    Afterwards,
}

#[derive(Debug, Default)]
struct Runs {
    p50: Vec<f64>,
    p99: Vec<f64>,
    last: Vec<f64>,
    p99_listened: Vec<f64>,
    heard_p99: Vec<f64>,
}

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let timers = plan.pick(20_000, 100_000, 100_000);
    let mut runs = Runs::default();
    for _ in 0..plan.runs {
        let alone = run(plan, timers, Listener::Afterwards).await?;
        runs.p50.push(quantile(&alone.recorded, 0.5));
        runs.p99.push(quantile(&alone.recorded, 0.99));
        runs.last.push(quantile(&alone.recorded, 1.0));
        let listened = run(plan, timers, Listener::Meanwhile).await?;
        runs.p99_listened.push(quantile(&listened.recorded, 0.99));
        runs.heard_p99.push(quantile(&listened.heard, 0.99));
    }
    let what = |text: &str| format!("{text} of {timers} timers due within {SPREAD:?}");
    let listened = |text: &str| what(&format!("with a listener, {text}"));
    Ok(vec![
        Figure::new(NAME, what("lateness p50"), Unit::Millis, runs.p50),
        Figure::new(NAME, what("lateness p99"), Unit::Millis, runs.p99).reach(Reach::AtMost(250.0)),
        Figure::new(NAME, what("lateness of the last"), Unit::Millis, runs.last),
        Figure::new(NAME, listened("lateness p99"), Unit::Millis, runs.p99_listened),
        Figure::new(NAME, listened("lateness p99 as heard"), Unit::Millis, runs.heard_p99),
    ])
}

async fn run(plan: &Plan, timers: u64, listener: Listener) -> Result<Lateness> {
    let place = plan.place(NAME)?;
    let server = Server::start(&plan.host(1), place.path()).await?;
    server.submit(&ghost(None).to_string()).await?;
    let due = SystemClock.now().after(Duration::from_secs(10 + timers / SLOW_RATE));
    let due_of = |number: u64| due.after(SPREAD.mul_f64(number as f64 / timers as f64));
    let spec = |number| {
        let mut spec = ghost(None);
        spec["start_at"] = json!(due_of(number));
        sized(spec)
    };
    let (_, submitted) = submit_each(&server, timers, &spec).await?;
    let due_of: HashMap<String, Timestamp> =
        submitted.into_iter().map(|(number, id)| (id, due_of(number))).collect();
    if SystemClock.now() >= due {
        return Err(Error::Void(format!("the timers were due before all {timers} were submitted")));
    }
    let patience = PATIENCE + Duration::from_secs(10 + timers / SLOW_RATE);
    let from = match listener {
        Listener::Meanwhile => "/v1/events",
        Listener::Afterwards => {
            until_every(LOOK_EVERY, "all timers fire", patience, async || {
                Ok((server.metric(WAITING).await? >= timers as f64).then_some(()))
            })
            .await?;
            "/v1/events?after=0"
        }
    };
    let mut stream = Connection::open(server.api.address).await?;
    stream.send(&server.api.get(from)).await?;
    let heard = timeout(patience, listen(&mut stream, timers)).await;
    let heard = heard.map_err(|_| Error::Late { what: "all timers fire".to_owned(), patience })??;
    let lateness = Lateness::of(&heard, &due_of)?;
    if lateness.jobs != timers as usize {
        return Err(Error::Void(format!("{} of {timers} timers fired", lateness.jobs)));
    }
    server.end().await?;
    Ok(lateness)
}

/// What came in the stream until so many timers had fired, with the moment at which it came.
async fn listen(stream: &mut Connection, timers: u64) -> Result<Vec<(Timestamp, Vec<u8>)>> {
    let mut parts = Vec::new();
    let mut fired = 0;
    let mut carry = Vec::new();
    while fired < timers {
        let mut part = std::mem::take(&mut carry);
        part.append(stream.read_more().await?);
        // Whole lines only: the rest belongs to the next part.
        let end = part.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        carry = part.split_off(end);
        fired += part.windows(FIRED.len()).filter(|window| *window == FIRED).count() as u64;
        parts.push((SystemClock.now(), part));
    }
    Ok(parts)
}

/// The line that names the type of the event of a timer.
const FIRED: &[u8] = b"event: deadline_passed\n";

/// How late the timers were, in milliseconds, ascending.
#[derive(Debug, Default)]
struct Lateness {
    /// By the time that the server recorded.
    recorded: Vec<u32>,
    /// By the time at which a client heard of it, when it was durable.
    heard: Vec<u32>,
    jobs: usize,
}

impl Lateness {
    fn of(parts: &[(Timestamp, Vec<u8>)], due_of: &HashMap<String, Timestamp>) -> Result<Self> {
        let mut found = Self::default();
        let mut fired: HashMap<String, u32> = HashMap::new();
        for (heard, part) in parts {
            let text = String::from_utf8_lossy(part);
            for data in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
                let event: Value = serde_json::from_str(data).unwrap_or_default();
                if event["type"] != "deadline_passed" {
                    continue;
                }
                let missing = |member| Error::Answer { member, answer: data.to_owned() };
                let job = event["job"].as_str().ok_or_else(|| missing("job"))?;
                let due = *due_of.get(job).ok_or_else(|| missing("job"))?;
                let millis = |at: Timestamp| u32::try_from(at.since(due).as_millis()).unwrap_or(u32::MAX);
                let at: Timestamp = serde_json::from_value(event["at"].clone()).map_err(|_| missing("at"))?;
                let times = fired.entry(job.to_owned()).or_default();
                *times += 1;
                if *times > 1 || at < due {
                    return Err(Error::Void(format!(
                        "the timer of {job} fired {times} times, at {at} for {due}"
                    )));
                }
                found.recorded.push(millis(at));
                found.heard.push(millis(*heard));
            }
        }
        found.recorded.sort_unstable();
        found.heard.sort_unstable();
        found.jobs = fired.len();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(job: &str, at: &str) -> Vec<u8> {
        let data = json!({"id": 1, "job": job, "type": "deadline_passed", "at": at});
        format!("57\r\nid: 1\nevent: deadline_passed\ndata: {data}\n\n\r\n").into_bytes()
    }

    #[test]
    fn lateness_is_counted_from_the_moment_and_twice_is_void() {
        let due = Timestamp::from_millis(1_000);
        let due_of =
            HashMap::from([("a".to_owned(), due), ("b".to_owned(), due.after(Duration::from_millis(5)))]);
        let heard = due.after(Duration::from_millis(90));
        let once = [(
            heard,
            [event("a", "1970-01-01T00:00:01.040Z"), event("b", "1970-01-01T00:00:01.010Z")].concat(),
        )];
        let found = Lateness::of(&once, &due_of).unwrap();
        assert_eq!((found.recorded, found.heard, found.jobs), (vec![5, 40], vec![85, 90], 2));
        let twice = [(
            heard,
            [event("a", "1970-01-01T00:00:01.040Z"), event("a", "1970-01-01T00:00:01.050Z")].concat(),
        )];
        assert!(Lateness::of(&twice, &due_of).is_err());
        let early = [(heard, event("a", "1970-01-01T00:00:00.999Z"))];
        assert!(Lateness::of(&early, &due_of).is_err());
    }
}
