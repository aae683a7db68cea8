//! Values of the contract as values of ours, and back. Texts stay as they were written.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use dogwatch_actors::clock::Timestamp;
use dogwatch_actors::handle::orchestrations::Instance;
use dogwatch_actors::orchestration::history::{Outcome, Trace};
use dogwatch_actors::orchestration::state::{Orchestration, Phase};
use dogwatch_actors::orchestration::{Failure, InstanceId, Payload, Status};
use prost_types::value::Kind;
use serde_json::Value;

use super::proto;

/// The kind of a failure that names none.
const FAILURE_WITHOUT_KIND: &str = "Error";

/// A moment.
pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.as_millis();
    // Below one thousand million.
    let nanos = millis.rem_euclid(1_000) as i32 * 1_000_000;
    prost_types::Timestamp { seconds: millis.div_euclid(1_000), nanos }
}

/// The first of our moments that is not before this one, so that no timer fires too early.
pub(super) fn moment(at: &prost_types::Timestamp) -> Timestamp {
    let millis =
        at.seconds.saturating_mul(1_000).saturating_add(i64::from(at.nanos.max(0)).div_ceil_millis());
    Timestamp::from_millis(millis)
}

trait DivCeilMillis {
    fn div_ceil_millis(self) -> i64;
}

impl DivCeilMillis for i64 {
    fn div_ceil_millis(self) -> i64 {
        (self + 999_999) / 1_000_000
    }
}

/// A span of time; none for a negative one.
pub(super) fn duration(span: &prost_types::Duration) -> Duration {
    let (seconds, nanos) = (u64::try_from(span.seconds).unwrap_or(0), u32::try_from(span.nanos).unwrap_or(0));
    Duration::new(seconds, nanos.min(999_999_999))
}

/// A text that is there and not empty: the SDKs write both for nothing.
pub(super) fn text(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// What somebody wrote.
pub(super) fn payload(written: Option<String>) -> Payload {
    Payload::of_text(text(written))
}

/// What is written of a payload.
pub(super) fn written(payload: &Payload) -> Option<String> {
    payload.text().map(std::borrow::Cow::into_owned)
}

/// A trace.
pub(super) fn trace(context: Option<proto::TraceContext>) -> Option<Trace> {
    let context = context.filter(|context| !context.trace_parent.is_empty())?;
    Some(Trace { parent: context.trace_parent, state: context.trace_state })
}

/// The same in the contract.
#[expect(deprecated, reason = "old readers look for it")]
pub(super) fn trace_context(trace: &Trace) -> proto::TraceContext {
    let span_id = trace.parent.split('-').nth(2).unwrap_or_default().to_owned();
    proto::TraceContext { trace_parent: trace.parent.clone(), span_id, trace_state: trace.state.clone() }
}

/// What an activity or a child came to.
pub(super) fn outcome(result: Option<String>, failure: Option<proto::TaskFailureDetails>) -> Outcome {
    match failure {
        Some(failure) => Outcome::Failed(self::failure(failure)),
        None => Outcome::Completed(payload(result)),
    }
}

/// A failure.
pub(super) fn failure(details: proto::TaskFailureDetails) -> Failure {
    let kind = text(Some(details.error_type)).unwrap_or_else(|| FAILURE_WITHOUT_KIND.to_owned());
    let mut failure = Failure::new(kind, details.error_message);
    failure.stack = text(details.stack_trace);
    failure.non_retriable = details.is_non_retriable;
    failure.cause = details.inner_failure.map(|inner| Box::new(self::failure(*inner)));
    failure.properties = details.properties.into_iter().map(|(key, value)| (key, json(value))).collect();
    failure
}

/// The same in the contract.
pub(super) fn failure_details(failure: &Failure) -> proto::TaskFailureDetails {
    proto::TaskFailureDetails {
        error_type: failure.kind.clone(),
        error_message: failure.message.clone(),
        stack_trace: failure.stack.clone(),
        inner_failure: failure.cause.as_ref().map(|cause| Box::new(failure_details(cause))),
        is_non_retriable: failure.non_retriable,
        properties: failure.properties.iter().map(|(key, value)| (key.clone(), structured(value))).collect(),
    }
}

fn json(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(number)) => {
            serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)
        }
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StructValue(fields)) => {
            Value::Object(fields.fields.into_iter().map(|(key, value)| (key, json(value))).collect())
        }
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(json).collect()),
    }
}

fn structured(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.iter().map(structured).collect() })
        }
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> =
                fields.iter().map(|(key, value)| (key.clone(), structured(value))).collect();
            Kind::StructValue(prost_types::Struct { fields })
        }
    };
    prost_types::Value { kind: Some(kind) }
}

/// Where an instance stands.
pub(super) fn status(status: Status) -> proto::OrchestrationStatus {
    match status {
        Status::Pending => proto::OrchestrationStatus::Pending,
        Status::Running => proto::OrchestrationStatus::Running,
        Status::Suspended => proto::OrchestrationStatus::Suspended,
        Status::Completed => proto::OrchestrationStatus::Completed,
        Status::Failed => proto::OrchestrationStatus::Failed,
        Status::Terminated => proto::OrchestrationStatus::Terminated,
    }
}

/// The states that are meant; those that we never have mean none.
pub(super) fn statuses(given: &[i32]) -> Vec<Status> {
    let find = |given: &i32| Status::ALL.into_iter().find(|known| status(*known) as i32 == *given);
    given.iter().filter_map(find).collect()
}

/// The reason of a termination as it is kept: a JSON text in its plain form, where it comes back as it was written.
pub(super) fn reason(written: Option<String>) -> Option<String> {
    let written = text(written)?;
    match serde_json::from_str(&written) {
        Ok(Value::String(plain)) if output_of_reason(&plain) == written => Some(plain),
        _ => Some(written),
    }
}

/// The output of an instance that was terminated for a reason.
pub(super) fn output_of_reason(reason: &str) -> String {
    match serde_json::from_str::<serde::de::IgnoredAny>(reason) {
        Ok(_) => reason.to_owned(),
        Err(_) => Value::String(reason.to_owned()).to_string(),
    }
}

/// The id of the current execution: the same text for the same execution, and for no other one.
pub(super) fn execution_id(state: &Orchestration) -> String {
    execution_id_of(state.id, state.execution)
}

pub(super) fn execution_id_of(id: InstanceId, execution: u32) -> String {
    // Asked for with every piece of work. It tells executions apart and keeps nothing secret.
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128_with_seed(id.as_str().as_bytes(), u64::from(execution)))
}

/// The instance that waits for the end of one.
pub(super) fn parent(state: &Orchestration) -> Option<proto::ParentInstanceInfo> {
    let parent = state.parent.as_ref()?;
    Some(proto::ParentInstanceInfo {
        task_scheduled_id: dogwatch_actors::orchestration::executor::remote::worker_task(parent.task),
        name: state.parent_name.clone(),
        version: None,
        orchestration_instance: Some(proto::OrchestrationInstance {
            instance_id: parent.instance.local().to_owned(),
            execution_id: Some(execution_id_of(parent.instance, parent.execution)),
        }),
    })
}

/// An instance as clients see it.
pub(super) fn state(instance: &Instance, with_payloads: bool) -> proto::OrchestrationState {
    let state = &instance.state;
    let status = state.status().map_or(proto::OrchestrationStatus::Pending, status);
    let (mut output, mut failed) = (instance.output.as_ref().and_then(written), None);
    match &state.phase {
        Phase::Failed { failure } => failed = Some(failure_details(failure)),
        Phase::Terminated { reason } => output = reason.as_deref().map(output_of_reason),
        _ => {}
    }
    let start_at = match &state.phase {
        Phase::Scheduled { start_at } => Some(timestamp(*start_at)),
        _ => None,
    };
    proto::OrchestrationState {
        instance_id: state.id.local().to_owned(),
        name: state.name.clone(),
        version: state.version.clone(),
        orchestration_status: status as i32,
        scheduled_start_timestamp: start_at,
        created_timestamp: Some(timestamp(state.created_at)),
        last_updated_timestamp: Some(timestamp(state.updated_at)),
        input: instance.input.as_ref().and_then(written).filter(|_| with_payloads),
        output: output.filter(|_| with_payloads),
        custom_status: state.custom_status.as_ref().and_then(written).filter(|_| with_payloads),
        failure_details: failed,
        execution_id: Some(execution_id(state)),
        completed_timestamp: state.finished_at.map(timestamp),
        parent_instance_id: state.parent.as_ref().map(|parent| parent.instance.local().to_owned()),
        tags: tags(&state.tags),
    }
}

/// Tags in the contract.
pub(super) fn tags(tags: &BTreeMap<String, String>) -> HashMap<String, String> {
    tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}
