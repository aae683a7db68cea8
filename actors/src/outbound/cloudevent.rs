//! The envelope of what a webhook carries: CloudEvents 1.0, structured mode, JSON.
//!
//! Responsible for: the envelope's shape. Not responsible for what is in `data`, nor for sending. Pure.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;

/// The media type of a serialised [`CloudEvent`].
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudEvent {
    /// The version of the specification.
    pub specversion: SpecVersion,
    /// Unique together with `source`: the same event delivered twice has the same id.
    pub id: String,
    /// Where it happened: a URI reference.
    pub source: String,
    /// What happened, such as `dogwatch.job.succeeded`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it happened to, within `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened.
    pub time: Timestamp,
    /// The media type of `data`.
    pub datacontenttype: DataContentType,
    /// The payload.
    pub data: Value,
}

/// The version of the CloudEvents specification. There is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SpecVersion {
    /// 1.0.
    #[default]
    #[serde(rename = "1.0")]
    V1,
}

/// The media type of the payload. There is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DataContentType {
    /// JSON.
    #[default]
    #[serde(rename = "application/json")]
    Json,
}

impl CloudEvent {
    /// The event as the body of a request; its media type is [`CONTENT_TYPE`].
    pub fn to_body(&self) -> Bytes {
        serde_json::to_vec(self).expect("texts, a time and a JSON value are JSON").into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(subject: Option<String>) -> CloudEvent {
        CloudEvent {
            specversion: SpecVersion::V1,
            id: "01939f6e/7".to_owned(),
            source: "/v1/jobs".to_owned(),
            kind: "dogwatch.job.succeeded".to_owned(),
            subject,
            time: Timestamp::from_millis(1_795_229_674_123),
            datacontenttype: DataContentType::Json,
            data: json!({"exit_code": 0}),
        }
    }

    #[test]
    fn an_event_has_exactly_the_attributes_of_the_specification() {
        let body: Value = serde_json::from_slice(&event(Some("01939f6e".to_owned())).to_body()).unwrap();
        let expected = json!({
            "specversion": "1.0",
            "id": "01939f6e/7",
            "source": "/v1/jobs",
            "type": "dogwatch.job.succeeded",
            "subject": "01939f6e",
            "time": "2026-11-21T02:54:34.123Z",
            "datacontenttype": "application/json",
            "data": {"exit_code": 0},
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn an_event_reads_back_and_an_absent_subject_is_left_out() {
        let event = event(None);
        let body = event.to_body();
        assert!(!String::from_utf8_lossy(&body).contains("subject"));
        assert_eq!(serde_json::from_slice::<CloudEvent>(&body).unwrap(), event);
        let newer = String::from_utf8_lossy(&body).replace("\"1.0\"", "\"2.0\"");
        assert!(serde_json::from_str::<CloudEvent>(&newer).is_err());
    }
}
