//! What is configured of a bucket. Pure.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One bucket. Without `account` and `secret_file` the credentials are those of the environment, by the names and
/// in the order that the provider's own tools know, the identity of the machine included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where: `file:///directory`, `s3://bucket/prefix`, `az://container/prefix` or `gs://bucket/prefix`.
    pub url: String,
    /// Who we are: the account of Azure, the access key's id of S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The file with the secret that belongs to it: the account's key of Azure, the secret access key of S3, the
    /// service account (JSON) of Google.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// Another address than the provider's own, such as that of MinIO or of an emulator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region of S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Lets the endpoint be one of plain HTTP.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_http: bool,
}

impl Config {
    /// The bucket at this address, with the environment's credentials.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}
