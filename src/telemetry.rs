//! The process's own log: lines on standard error, for people or as JSON.
//!
//! Not responsible for the output of jobs, nor for anything on standard output.

use dogwatch_actors::runtime::docker::SECRET_LOG_TARGETS;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::LogFormat;

/// The filter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a log filter: {source}; write it like `info` or `info,dogwatch=debug`")]
pub struct Error {
    text: String,
    source: ParseError,
}

/// Starts the log of this process. `rust_log` (the variable `RUST_LOG`) wins over `level`. A second call in
/// one process changes nothing.
pub fn init(level: &str, format: LogFormat, rust_log: Option<&str>) -> Result<(), Error> {
    let text = rust_log.filter(|text| !text.is_empty()).unwrap_or(level);
    // A plain level is about dogwatch; what the HTTP server says of its threads is for those who ask for it.
    let directives =
        if text.contains(['=', ',']) { text.to_owned() } else { format!("{text},actix_server=warn") };
    let filter = EnvFilter::try_new(directives).map_err(|source| Error { text: text.to_owned(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A line that cannot be written (the log is on the disk that is full) would be complained of on the same
    // stream, which panics.
    let builder = builder.log_internal_errors(false);
    let started = match format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr())
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            start(builder.with_ansi(colour).with_target(false).finish())
        }
        LogFormat::Json => start(builder.json().flatten_event(true).with_current_span(true).finish()),
    };
    // It fails only when a log was started before, in a process that embeds this one.
    drop(started);
    Ok(())
}

/// Starts a log that keeps what would show secrets out of it, whatever its filter says.
fn start<S>(subscriber: S) -> Result<(), TryInitError>
where
    S: Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
{
    subscriber.with(filter_fn(is_harmless)).try_init()
}

/// Whether this may be logged: some libraries write headers with credentials below `info`.
fn is_harmless(metadata: &Metadata<'_>) -> bool {
    let is_of = |library: &&str| {
        metadata.target().strip_prefix(*library).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    *metadata.level() <= Level::INFO || !SECRET_LOG_TARGETS.iter().any(is_of)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn libraries_that_write_credentials_are_silent_below_info_whatever_the_filter_says() {
        let lines = Lines::default();
        let builder = tracing_subscriber::fmt().with_max_level(Level::TRACE).with_writer(lines.clone());
        tracing::subscriber::with_default(builder.finish().with(filter_fn(is_harmless)), || {
            tracing::debug!(target: "bollard::docker", "X-Registry-Auth: secret");
            tracing::trace!(target: "bollard", "secret");
            tracing::info!(target: "bollard::docker", "connected");
            tracing::trace!(target: "bollards", "another library");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("connected") && text.contains("another library"), "{text}");
    }
}
