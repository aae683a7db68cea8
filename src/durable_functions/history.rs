//! A history as the extension shows it: tasks that are over in one item, times to the second.

use std::collections::HashMap;

use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::orchestration::view::HistoryEvent;
use serde_json::{Value, json};

/// A time as the extension writes it.
pub(super) fn time(at: Timestamp) -> String {
    let text = at.to_string();
    text.split('.').next().map_or_else(|| text.clone(), |seconds| format!("{seconds}Z"))
}

/// The name under which jobs are shown: the extension knows only functions.
const JOB: &str = "dogwatch.job";

/// What is remembered of a task until it is over.
struct Scheduled {
    kind: String,
    name: Value,
    at: Timestamp,
    fire_at: Value,
    place: usize,
}

/// Turns events into items.
struct Teller {
    with_output: bool,
    scheduled: HashMap<u64, Scheduled>,
    items: Vec<Option<Value>>,
}

/// The items of a history, with results or without.
pub(super) fn items(events: &[HistoryEvent], with_output: bool) -> Vec<Value> {
    let mut teller = Teller { with_output, scheduled: HashMap::new(), items: Vec::new() };
    for event in events {
        let told = match event.kind.as_str() {
            "activity_scheduled" | "child_started" | "timer_created" | "job_submitted" => teller.begun(event),
            "task_completed" | "task_failed" | "timer_fired" => teller.ended(event),
            _ => teller.other(event),
        };
        if let Some((kind, Value::Object(mut item))) = told {
            item.insert("EventType".to_owned(), kind.into());
            item.insert("Timestamp".to_owned(), time(event.at).into());
            teller.items.push(Some(Value::Object(item)));
        }
    }
    teller.items.into_iter().flatten().collect()
}

type Told = Option<(&'static str, Value)>;

impl Teller {
    fn begun(&mut self, event: &HistoryEvent) -> Told {
        let name = match event.kind.as_str() {
            "job_submitted" => JOB.into(),
            _ => event.data["name"].clone(),
        };
        let fire_at = seconds(&event.data["fire_at"]);
        let task = Scheduled {
            kind: event.kind.clone(),
            name: name.clone(),
            at: event.at,
            fire_at: fire_at.clone(),
            place: self.items.len(),
        };
        self.scheduled.insert(event.task?, task);
        Some(match event.kind.as_str() {
            "timer_created" => ("TimerCreated", json!({ "FireAt": fire_at })),
            "child_started" => ("SubOrchestrationInstanceCreated", json!({ "FunctionName": name })),
            _ => ("TaskScheduled", json!({ "FunctionName": name })),
        })
    }

    /// Takes the place of the item with which the task began.
    fn ended(&mut self, event: &HistoryEvent) -> Told {
        let task = self.scheduled.remove(&event.task?)?;
        self.items[task.place] = None;
        let failed = event.kind == "task_failed";
        let mut item = json!({ "ScheduledTime": time(task.at) });
        if task.kind == "timer_created" {
            item["FireAt"] = task.fire_at;
        } else {
            item["FunctionName"] = task.name;
        }
        if failed {
            item["Reason"] = event.data["failure"]["message"].clone();
            item["Details"] = event.data["failure"]["type"].clone();
        } else if self.with_output && event.kind == "task_completed" {
            item["Result"] = event.data["output"].clone();
        }
        let kind = match (task.kind.as_str(), failed) {
            ("timer_created", _) => "TimerFired",
            ("child_started", false) => "SubOrchestrationInstanceCompleted",
            ("child_started", true) => "SubOrchestrationInstanceFailed",
            (_, false) => "TaskCompleted",
            (_, true) => "TaskFailed",
        };
        Some((kind, item))
    }

    fn other(&self, event: &HistoryEvent) -> Told {
        let data = &event.data;
        let ended = |status: &str, result: &Value| {
            let mut item = json!({ "OrchestrationStatus": status });
            if self.with_output {
                item["Result"] = result.clone();
            }
            item
        };
        Some(match event.kind.as_str() {
            "execution_started" => ("ExecutionStarted", json!({ "FunctionName": data["name"] })),
            "event_raised" => ("EventRaised", json!({ "Name": data["name"], "Input": data["data"] })),
            "event_sent" => ("EventSent", json!({ "Name": data["name"], "InstanceId": data["instance"] })),
            "execution_completed" => ("ExecutionCompleted", ended("Completed", &data["output"])),
            "execution_failed" => ("ExecutionCompleted", ended("Failed", &data["failure"]["message"])),
            "execution_terminated" => ("ExecutionTerminated", ended("Terminated", &Value::Null)),
            "execution_suspended" => ("ExecutionSuspended", json!({ "Reason": data["reason"] })),
            "execution_resumed" => ("ExecutionResumed", json!({ "Reason": data["reason"] })),
            "continued_as_new" => ("ContinueAsNew", json!({})),
            // Of no counterpart there.
            _ => return None,
        })
    }
}

fn seconds(at: &Value) -> Value {
    let parsed = at.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    parsed.map_or(Value::Null, |at| time(at).into())
}
