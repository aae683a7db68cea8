//! Orchestrations on the whole engine: what code can do, what is recorded, what survives.

mod code;
mod control;
mod faults;
mod lists;
mod restarts;
mod workers;

use std::time::Duration;

use dogwatch_actors::handle::orchestrations::{Orchestrations, Reads, StartOrder};
use dogwatch_actors::orchestration::view::InstanceView;
use dogwatch_actors::orchestration::{InstanceId, Status};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

fn id(text: &str) -> InstanceId {
    text.parse().unwrap()
}

/// Starts an instance under this id.
async fn start(client: &Orchestrations, name: &str, instance: &str, input: impl Into<Value>) -> InstanceView {
    client.start(StartOrder::new(name, input).id(id(instance))).await.unwrap()
}

/// Starts an instance and waits for its end.
async fn run(client: &Orchestrations, name: &str, input: impl Into<Value>) -> InstanceView {
    let started = client.start(StartOrder::new(name, input)).await.unwrap();
    client.wait(started.id, PATIENCE).await.unwrap()
}

/// Waits until an instance is as wanted.
async fn until(
    client: &Orchestrations,
    instance: &str,
    wanted: impl Fn(&InstanceView) -> bool,
) -> InstanceView {
    let view = client.wait_for(id(instance), PATIENCE, &wanted).await.unwrap();
    let explained = client.explain(id(instance)).unwrap();
    assert!(wanted(&view), "never as wanted: {view:#?} {explained:#?}");
    client.get(id(instance), Reads::ALL).unwrap()
}

/// The kinds of the events in an instance's history.
fn kinds(client: &Orchestrations, instance: &str) -> Vec<String> {
    client.history(id(instance), 0, 1_000).unwrap().into_iter().map(|event| event.kind).collect()
}

fn is_over(view: &InstanceView) -> bool {
    view.status.is_terminal()
}

fn completed(view: &InstanceView) -> &Value {
    assert_eq!(view.status, Status::Completed, "{view:#?}");
    view.output.as_ref().unwrap()
}
