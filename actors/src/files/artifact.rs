//! What is known of a file that was collected. Pure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One file that an attempt left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name: unique within its attempt.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

/// What came of collecting the outputs of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Collected {
    /// What was collected and is kept.
    pub artifacts: Vec<Artifact>,
    /// What was not, and why: one sentence. An attempt that was to succeed fails with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fault: Option<String>,
}

impl Collected {
    /// Nothing was collected.
    pub fn failed(fault: impl Into<String>) -> Self {
        Self { artifacts: vec![], fault: Some(fault.into()) }
    }
}

/// One artifact as its users see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactView {
    /// Its name, as it stands in the path of its download.
    pub name: String,
    /// The attempt that left it.
    pub attempt: u32,
    /// How long it is.
    pub bytes: u64,
    /// The SHA-256 of its content, in hexadecimal.
    pub sha256: String,
    /// What it is, by the end of its name.
    pub content_type: String,
}

impl ArtifactView {
    /// An artifact of this attempt.
    pub fn of(artifact: &Artifact, attempt: u32) -> Self {
        Self {
            name: artifact.name.clone(),
            attempt,
            bytes: artifact.bytes,
            sha256: artifact.sha256.clone(),
            content_type: content_type(&artifact.name).to_owned(),
        }
    }
}

/// By the end of a name. Nothing that a browser would run: what jobs leave is theirs, and this is our origin.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("txt" | "log" | "md") => "text/plain; charset=utf-8",
        Some("csv") => "text/csv; charset=utf-8",
        Some("json") => "application/json",
        Some("pdf") => "application/pdf",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gz" | "tgz") => "application/gzip",
        Some("zip") => "application/zip",
        Some("tar") => "application/x-tar",
        Some("parquet") => "application/vnd.apache.parquet",
        _ => "application/octet-stream",
    }
}
