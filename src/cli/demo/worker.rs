//! The job of the demonstration: works in small steps, reports progress, and completes by callback.
//!
//! It does what any job would do with `curl`: it takes the address and the token from its environment. A
//! report that does not arrive is dropped; the end is told until somebody says that it was heard.

use dogwatch_actors::secret::Secret;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::cli::Error;
use crate::cli::exit::Exit;
use crate::client::callback::CallbackCaller;
use crate::limits::{CLIENT_RECONNECT_EVERY, DEMO_CALLBACK_MAX, DEMO_STEP, DEMO_STEPS};

/// What it writes when it begins.
pub(super) const BEGUN: &str = "begun";

/// What it writes when a report does not arrive.
pub(super) const ALONE: &str = "nobody hears me; going on";

/// Whether it wrote this line after a step.
pub(super) fn is_step(line: &str) -> bool {
    line.starts_with("step ")
}

pub(in crate::cli) async fn run() -> Result<Exit, Error> {
    let caller = caller()?;
    println!("{BEGUN}");
    for step in 1..=DEMO_STEPS {
        sleep(DEMO_STEP).await;
        println!("step {step} of {DEMO_STEPS}");
        let percent = step * 100 / DEMO_STEPS;
        let heard = caller.call(&json!({"event": "progress", "data": {"percent": percent}})).await;
        if !heard {
            println!("{ALONE}");
        }
    }
    let done = json!({"event": "completed", "id": "done", "data": {"steps": DEMO_STEPS}});
    let deadline = Instant::now() + DEMO_CALLBACK_MAX;
    while !caller.call(&done).await {
        if Instant::now() >= deadline {
            return Err(Error::Demo("nobody heard that the job is done".to_owned()));
        }
        sleep(CLIENT_RECONNECT_EVERY).await;
    }
    Ok(Exit::OK)
}

fn caller() -> Result<CallbackCaller, Error> {
    let variable = |name: &str| {
        std::env::var(name).map_err(|_| Error::Usage(format!("{name} is not set: this runs as a job only")))
    };
    let (url, token) = (variable("DOGWATCH_CALLBACK_URL")?, variable("DOGWATCH_CALLBACK_TOKEN")?);
    CallbackCaller::new(url, Secret::new(token)).map_err(|error| Error::Demo(error.to_string()))
}
