//! What the engine's refusals and silences mean.
//!
//! Responsible for: telling "no answer" from "the answer is no", and reading the engine's messages, which is
//! the only place where it says why. Not responsible for: retrying anything.
//!
//! Invariant: an answer that is not understood is never a [`StartFault`]: a job fails for good only on a
//! message that is known.

use bollard::errors::Error as Engine;

use super::NAME;
use crate::runtime::{Error, StartFault};

/// Why a request to the engine brought nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Fault {
    /// It cannot be reached, was too slow, or what it said cannot be read.
    #[error("{0}")]
    Unanswered(String),
    /// It answered that it will not or cannot.
    #[error("{message} (status {status})")]
    Answered {
        /// The HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
}

/// What the engine answered, or why it did not.
pub(super) type Answer<T> = Result<T, Fault>;

impl Fault {
    /// Whether there is no such thing.
    pub(super) const fn is_absent(&self) -> bool {
        matches!(self, Self::Answered { status: 404, .. })
    }

    /// Whether what is there stands in the way: a taken name, a stopped container, a removal under way.
    pub(super) const fn is_conflict(&self) -> bool {
        matches!(self, Self::Answered { status: 409, .. })
    }

    /// The same as the runtime's error, when it was about finding something out: nothing is known.
    pub(super) fn unknown(self) -> Error {
        Error::Unavailable { runtime: NAME.into(), message: self.to_string() }
    }

    /// The same as the runtime's error, when it was about doing something: it may be done later.
    pub(super) fn not_done(self, what: &str) -> Error {
        match self {
            Self::Unanswered(_) => self.unknown(),
            Self::Answered { .. } => {
                Error::Transient { message: format!("the container engine could not {what}: {self}") }
            }
        }
    }
}

impl From<Engine> for Fault {
    fn from(error: Engine) -> Self {
        match error {
            Engine::DockerResponseServerError { status_code, message } => {
                Self::Answered { status: status_code, message: message.trim().to_owned() }
            }
            Engine::DockerStreamError { error } => Self::Answered { status: 500, message: error },
            Engine::SocketNotFoundError(path) => Self::Unanswered(format!(
                "there is no socket at {path}; start the container engine or set DOCKER_HOST"
            )),
            Engine::RequestTimeoutError => Self::Unanswered("it did not answer in time".into()),
            other => Self::Unanswered(explain(&other)),
        }
    }
}

/// The error with its sources, since the first of them only says "client error", and what to do about it.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    if text.contains("Permission denied") {
        text.push_str("; run as root or add the user to the group that owns the engine's socket");
    }
    text
}

/// Whether the engine refused the version of the API that was agreed on: it was replaced by another one.
pub(super) fn is_version_refused(fault: &Fault) -> bool {
    matches!(fault, Fault::Answered { status: 400, message } if message.contains("client version"))
}

/// The error of a container that could not be created or started.
pub(super) fn of_start(fault: Fault) -> Error {
    let Fault::Answered { status, message } = &fault else {
        return fault.unknown();
    };
    match start_fault(*status, message) {
        Some((fault, hint)) => Error::Start { fault, message: format!("{}; {hint}", tidy(message)) },
        None => Error::Transient {
            message: format!("the container engine could not start it: {}", tidy(message)),
        },
    }
}

fn start_fault(status: u16, message: &str) -> Option<(StartFault, &'static str)> {
    let text = message.to_ascii_lowercase();
    let any = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    let directory = any(&["working directory", "cannot mkdir", "chdir to cwd"])
        && !any(&["no space left", "read-only file system"]);
    if directory {
        return Some((StartFault::WorkingDirectory, "give an absolute working_dir that can be entered"));
    }
    if any(&["exec format error", "exec user process caused"]) {
        let hint = "the image may be built for another architecture, or a script lacks its first line `#!`";
        return Some((StartFault::CommandNotExecutable, hint));
    }
    let command = any(&["exec:", "exec failed", "starting container process", "unable to start container"]);
    if command && any(&["permission denied", "is a directory"]) {
        return Some((StartFault::CommandNotExecutable, "make the file executable in the image"));
    }
    if any(&["executable file not found"]) || (command && any(&["no such file or directory"])) {
        return Some((StartFault::CommandNotFound, "check entrypoint and args against what the image has"));
    }
    if any(&["unable to find user", "unable to find group", "no matching entries in passwd"]) {
        return Some((StartFault::Rejected, "give a numeric user, or one that the image knows"));
    }
    // The engine calls what it will never accept a bad request; a port or an address in use is not one.
    let passing = any(&["already allocated", "already in use", "client version"]);
    (status == 400 && !passing).then_some((StartFault::Rejected, "change the job's spec"))
}

/// The error of an image that could not be pulled.
pub(super) fn of_pull(image: &str, fault: Fault) -> Error {
    let Fault::Answered { status, message } = &fault else {
        return fault.unknown();
    };
    let text = message.to_ascii_lowercase();
    let any = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    let start = |fault, hint: &str| Error::Start {
        fault,
        message: format!("the image {image} cannot be pulled: {}; {hint}", tidy(message)),
    };
    let denied = ["access denied", "unauthorized", "authentication required", "no basic auth", "forbidden"];
    if any(&denied) || text.starts_with("denied") || text.contains(": denied") {
        return start(
            StartFault::ImageDenied,
            "give registry_credentials for its server, and check that the image exists",
        );
    }
    if any(&["server gave http response to https client"]) {
        let hint = "the registry speaks no TLS; the engine must list it under insecure-registries";
        return start(StartFault::Rejected, hint);
    }
    if any(&["invalid reference", "invalid tag", "invalid repository"]) {
        return start(StartFault::Rejected, "correct the image's name");
    }
    let missing =
        ["manifest unknown", "not found: manifest", "name unknown", "no matching manifest", "not found"];
    // A host name that does not resolve is a fault of the network that may pass, though it is "not found" too.
    let network =
        ["lookup ", "dial tcp", "i/o timeout", "connection refused", "no such host", "tls handshake"];
    if (status == &404 || any(&missing)) && !any(&network) {
        return start(StartFault::ImageNotFound, "check its name, its tag and this machine's architecture");
    }
    Error::Transient { message: format!("the image {image} cannot be pulled now: {}", tidy(message)) }
}

/// The engine's words without what only its developers need.
fn tidy(message: &str) -> String {
    let mut text = message.trim();
    for noise in ["OCI runtime create failed: ", "failed to create task for container: "] {
        text = text.strip_prefix(noise).unwrap_or(text);
    }
    text.strip_suffix(": unknown").unwrap_or(text).chars().take(600).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, message: &str) -> Fault {
        Fault::Answered { status, message: message.into() }
    }

    fn kind(error: &Error) -> Option<StartFault> {
        match error {
            Error::Start { fault, .. } => Some(*fault),
            _ => None,
        }
    }

    #[test]
    fn start_errors_are_told_apart() {
        use StartFault::*;
        // Messages of Engine 20.10, 24 and 28.
        let table = [
            (
                400,
                "OCI runtime create failed: container_linux.go:380: starting container process caused: exec: \"nope\": executable file not found in $PATH: unknown",
                Some(CommandNotFound),
            ),
            (
                400,
                "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: \"/nope\": stat /nope: no such file or directory: unknown",
                Some(CommandNotFound),
            ),
            (
                400,
                "OCI runtime create failed: starting container process caused: exec: \"/etc/passwd\": permission denied: unknown",
                Some(CommandNotExecutable),
            ),
            (
                500,
                "standard_init_linux.go:228: exec user process caused: exec format error",
                Some(CommandNotExecutable),
            ),
            (500, "Cannot mkdir: /etc/passwd is not a directory", Some(WorkingDirectory)),
            (
                400,
                "the working directory 'x' is invalid, it needs to be an absolute path",
                Some(WorkingDirectory),
            ),
            (
                400,
                "OCI runtime create failed: runc create failed: unable to start container process: chdir to cwd (\"/secret\") set in config.json failed: permission denied",
                Some(WorkingDirectory),
            ),
            (500, "unable to find user ghost: no matching entries in passwd file", Some(Rejected)),
            (400, "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", Some(Rejected)),
            (500, "write /var/lib/docker/x: no space left on device", None),
            (
                500,
                "driver failed programming external connectivity: Bind for 127.0.0.1:80 failed: port is already allocated",
                None,
            ),
            (400, "client version 1.53 is too new. Maximum supported API version is 1.41", None),
        ];
        for (status, message, expected) in table {
            assert_eq!(kind(&of_start(answered(status, message))), expected, "{message}");
        }
        assert!(matches!(of_start(Fault::Unanswered("x".into())), Error::Unavailable { .. }));
    }

    #[test]
    fn pull_errors_are_told_apart() {
        use StartFault::*;
        let table = [
            (
                404,
                "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                Some(ImageDenied),
            ),
            (
                500,
                "Head \"http://127.0.0.1:5000/v2/x/manifests/1\": no basic auth credentials",
                Some(ImageDenied),
            ),
            (500, "unauthorized: authentication required", Some(ImageDenied)),
            (
                404,
                "manifest for busybox:nope not found: manifest unknown: manifest unknown",
                Some(ImageNotFound),
            ),
            (
                404,
                "no matching manifest for linux/arm64/v8 in the manifest list entries",
                Some(ImageNotFound),
            ),
            (400, "invalid reference format", Some(Rejected)),
            (500, "Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client", Some(Rejected)),
            (
                500,
                "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host",
                None,
            ),
            (404, "dial tcp: lookup registry.example on 1.1.1.1:53: server misbehaving: not found", None),
            (500, "received unexpected HTTP status: 503 Service Unavailable", None),
            (500, "toomanyrequests: You have reached your pull rate limit", None),
        ];
        for (status, message, expected) in table {
            let error = of_pull("x:1", answered(status, message));
            assert_eq!(kind(&error), expected, "{message}");
            assert_eq!(error.is_retryable(), expected.is_none(), "{message}");
        }
    }
}
