//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

use super::Origin;

/// Why there is no usable configuration. Each message says where the fault is and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}; check the path of --config", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("the configuration file {} is not valid TOML: {source}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key that does not exist.
    #[error("there is no setting `{key}` ({origin}); {hint}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it was set.
        origin: Origin,
        /// What may have been meant.
        hint: String,
    },
    /// A value that its key cannot take.
    #[error("the value of `{key}` ({origin}) is not usable: {message}")]
    BadValue {
        /// The key.
        key: String,
        /// Where it was set.
        origin: Origin,
        /// What is wrong with it.
        message: String,
    },
    /// There is no place for the data.
    #[error("no data directory: neither HOME nor XDG_DATA_HOME is set; give --data-dir DIR")]
    NoDataDir,
}
