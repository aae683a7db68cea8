//! The process's own log: lines on standard error, for people or as JSON.
//!
//! Not responsible for the output of jobs, nor for anything on standard output.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

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
    let started = match format {
        LogFormat::Text => {
            let colour = std::io::IsTerminal::is_terminal(&std::io::stderr())
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            builder.with_ansi(colour).with_target(false).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).try_init(),
    };
    // It fails only when a log was started before, in a process that embeds this one.
    drop(started);
    Ok(())
}
