//! A job spec from a file and from flags: a JSON document for the server to judge.
//!
//! The document holds what the user gave and nothing more, so that defaults stay the server's and its
//! complaints are about what was written.

use std::io::Read as _;
use std::path::Path;

use clap::Args;
use dogwatch_actors::units::{Size, Span};
use serde_json::{Map, Value, json};

use super::Error;
use crate::document::{self, Format};
use crate::limits::SPEC_FILE_BYTES_MAX;

/// The flags that describe a job.
#[derive(Debug, Clone, Default, Args)]
pub struct JobFlags {
    /// A name for people
    #[arg(long)]
    pub name: Option<String>,
    /// An environment variable; without a value it is taken from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// A secret variable, from a file or from the environment here, so that no command line shows it
    #[arg(long, value_name = "NAME[=@FILE]")]
    pub secret: Vec<String>,
    /// A label, for finding jobs again
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Time for the whole job, such as 6h
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Span>,
    /// Time for one attempt
    #[arg(long, value_name = "DURATION")]
    pub attempt_timeout: Option<Span>,
    /// Attempts before the job fails: a number or `unlimited`
    #[arg(long, value_name = "N", value_parser = parse_attempts)]
    pub max_attempts: Option<Attempts>,
    /// Which ends lead to another attempt
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<Restart>,
    /// CPU cores
    #[arg(long, value_name = "CORES")]
    pub cpu: Option<f64>,
    /// Memory, such as 256Mi
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// The directory it starts in [default for a process: this one]
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// For whom it runs: slots are shared fairly among tenants
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<String>,
    /// How urgent it is, from -100 to 100
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i16>,
    /// Lets so many jobs of this key live at once; without a number those that the configuration declares
    #[arg(long, value_name = "KEY[=LIMIT]")]
    pub concurrency: Option<String>,
    /// What becomes of it when no place is free: queue, skip or replace
    #[arg(long, value_name = "WHAT", requires = "concurrency")]
    pub on_conflict: Option<String>,
    /// The runtime [default: docker with an image, else process]
    #[arg(long, value_name = "NAME")]
    pub runtime: Option<String>,
    /// Submitting twice with the same key makes one job
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
}

/// How many attempts may count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// So many.
    AtMost(u32),
    /// As many as it takes.
    Unlimited,
}

fn parse_attempts(text: &str) -> Result<Attempts, String> {
    match text {
        "unlimited" => Ok(Attempts::Unlimited),
        text => text.parse().map(Attempts::AtMost).map_err(|_| "give a number or `unlimited`".to_owned()),
    }
}

/// Which ends lead to another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Restart {
    /// Every end
    Always,
    /// Every failure
    #[value(alias = "OnFailure")]
    OnFailure,
    /// None
    #[value(alias = "no")]
    Never,
}

/// What a job runs.
#[derive(Debug, Clone, Copy)]
pub struct What<'a> {
    /// The image, if it is a container.
    pub image: Option<&'a str>,
    /// The arguments, or the argv of a process.
    pub args: &'a [String],
    /// Where a process starts that is told nothing else.
    pub here: Option<&'a str>,
}

/// Where values that are not written out come from.
pub trait Surroundings {
    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// The content of a file.
    fn file(&self, path: &str) -> std::io::Result<String>;
}

/// The surroundings of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessSurroundings;

impl Surroundings for ProcessSurroundings {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }
}

/// The spec: `base` (from a file) with the flags laid over it.
pub fn build(
    base: Map<String, Value>,
    what: What<'_>,
    flags: &JobFlags,
    from: &dyn Surroundings,
) -> Result<Value, Error> {
    let mut spec = base;
    if let Some(image) = what.image {
        spec.insert("image".to_owned(), json!(image));
    }
    if !what.args.is_empty() {
        spec.insert("args".to_owned(), json!(what.args));
        if let Some(here) = what.here.filter(|_| !spec.contains_key("image")) {
            spec.entry("working_dir").or_insert_with(|| json!(here));
        }
    }
    for pair in &flags.env {
        let (name, value) = variable(pair, from)?;
        insert(&mut spec, "env", &name, json!(value));
    }
    for pair in &flags.secret {
        let (name, value) = secret(pair, from)?;
        insert(&mut spec, "secrets", &name, json!(value));
    }
    for pair in &flags.label {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        insert(&mut spec, "labels", key, json!(value));
    }
    if let Some(text) = &flags.concurrency {
        // What is behind the last `=` and no number belongs to the key.
        let limited = text.rsplit_once('=').and_then(|(key, limit)| Some((key, limit.parse::<u32>().ok()?)));
        insert(&mut spec, "concurrency", "key", json!(limited.map_or(text.as_str(), |(key, _)| key)));
        if let Some((_, limit)) = limited {
            insert(&mut spec, "concurrency", "limit", json!(limit));
        }
    }
    if let Some(what) = &flags.on_conflict {
        insert(&mut spec, "concurrency", "on_conflict", json!(what));
    }
    if let Some(cpu) = flags.cpu {
        insert(&mut spec, "resources", "cpu", json!(cpu));
    }
    if let Some(memory) = flags.memory {
        insert(&mut spec, "resources", "memory", json!(memory));
    }
    let attempts = flags.max_attempts.map(|attempts| match attempts {
        Attempts::AtMost(count) => json!(count),
        Attempts::Unlimited => Value::Null,
    });
    let restart = flags.restart.map(|restart| match restart {
        Restart::Always => json!("Always"),
        Restart::OnFailure => json!("OnFailure"),
        Restart::Never => json!("Never"),
    });
    for (key, value) in [
        ("name", flags.name.as_ref().map(|name| json!(name))),
        ("timeout", flags.timeout.map(|span| json!(span))),
        ("attempt_timeout", flags.attempt_timeout.map(|span| json!(span))),
        ("max_attempts", attempts),
        ("restart_policy", restart),
        ("working_dir", flags.workdir.as_ref().map(|dir| json!(dir))),
        ("runtime", flags.runtime.as_ref().map(|name| json!(name))),
        ("tenant", flags.tenant.as_ref().map(|name| json!(name))),
        ("priority", flags.priority.map(|priority| json!(priority))),
    ] {
        if let Some(value) = value {
            spec.insert(key.to_owned(), value);
        }
    }
    Ok(Value::Object(spec))
}

/// Reads a spec, JSON, TOML or YAML, from a file or (`-`) from standard input.
pub fn read(path: &Path) -> Result<Map<String, Value>, Error> {
    let fail = |message: String| Error::Spec { path: path.to_owned(), message };
    let source: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| fail(error.to_string()))?)
    };
    let mut text = String::new();
    let read = source.take(SPEC_FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let length = read.map_err(|error| fail(error.to_string()))?;
    if length as u64 > SPEC_FILE_BYTES_MAX {
        return Err(fail(format!("it is longer than {SPEC_FILE_BYTES_MAX} bytes")));
    }
    document::parse(&text, Format::of(path)).map_err(fail)
}

/// Sets `spec[section][key]`; a section that is no object in the file is left for the server to refuse.
fn insert(spec: &mut Map<String, Value>, section: &str, key: &str, value: Value) {
    let section = spec.entry(section).or_insert_with(|| json!({}));
    if let Value::Object(section) = section {
        section.insert(key.to_owned(), value);
    }
}

/// Labels as the API takes them to choose by: `KEY:VALUE`.
pub(super) fn selectors(pairs: &[String]) -> Vec<String> {
    pairs.iter().map(|pair| pair.replacen('=', ":", 1)).collect()
}

fn variable(pair: &str, from: &dyn Surroundings) -> Result<(String, String), Error> {
    match pair.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => {
            let value = from.variable(pair);
            let value = value.ok_or_else(|| {
                Error::Usage(format!("--env {pair}: the variable is not set here; give {pair}=VALUE"))
            })?;
            Ok((pair.to_owned(), value))
        }
    }
}

fn secret(pair: &str, from: &dyn Surroundings) -> Result<(String, String), Error> {
    let usage = |message: String| Error::Usage(format!("--secret: {message}"));
    match pair.split_once('=') {
        None => {
            let value = from.variable(pair);
            let value = value.ok_or_else(|| usage(format!("the variable {pair} is not set here")))?;
            Ok((pair.to_owned(), value))
        }
        Some((name, value)) => match value.strip_prefix('@') {
            Some(path) => {
                let text = from.file(path).map_err(|error| usage(format!("cannot read {path}: {error}")))?;
                // Editors end a file with a line end that is no part of the secret.
                Ok((name.to_owned(), text.strip_suffix('\n').unwrap_or(&text).to_owned()))
            }
            // The value itself must not be repeated here: it is on a terminal or in a log already.
            None => Err(usage(format!(
                "a value on the command line is seen by every user of this machine; give {name}=@FILE, or {name} alone to take it from the environment"
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake;

    impl Surroundings for Fake {
        fn variable(&self, name: &str) -> Option<String> {
            (name == "HERE").then(|| "from here".to_owned())
        }

        fn file(&self, path: &str) -> std::io::Result<String> {
            if path == "token" { Ok("s3cret\n".to_owned()) } else { Err(std::io::ErrorKind::NotFound.into()) }
        }
    }

    fn built(base: &str, image: Option<&str>, args: &[&str], flags: &JobFlags) -> Result<Value, Error> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let what = What { image, args: &args, here: Some("/cwd") };
        build(document::parse(base, None).unwrap(), what, flags, &Fake)
    }

    #[test]
    fn the_document_holds_what_was_given_and_nothing_more() {
        let none = JobFlags::default();
        let all = JobFlags {
            name: Some("n".to_owned()),
            env: vec!["A=b=c".to_owned(), "HERE".to_owned()],
            secret: vec!["TOKEN=@token".to_owned(), "HERE".to_owned()],
            label: vec!["team=data".to_owned()],
            timeout: Some(Span::from_secs(90)),
            max_attempts: Some(Attempts::Unlimited),
            restart: Some(Restart::Never),
            cpu: Some(0.5),
            memory: Some(Size::from_bytes(256 << 20)),
            ..JobFlags::default()
        };
        for (base, image, args, flags, expected) in [
            ("", None, vec!["true"], &none, json!({"args": ["true"], "working_dir": "/cwd"})),
            ("", Some("busybox"), vec![], &none, json!({"image": "busybox"})),
            ("", Some("busybox"), vec!["ls"], &none, json!({"image": "busybox", "args": ["ls"]})),
            ("image = \"i\"", None, vec!["ls"], &none, json!({"image": "i", "args": ["ls"]})),
            (
                "{\"args\": [\"x\"], \"unknown\": 1}",
                None,
                vec![],
                &none,
                json!({"args": ["x"], "unknown": 1}),
            ),
            (
                "name = \"file\"\nmax_attempts = 5\n[env]\nA = \"file\"\nB = \"file\"\n",
                Some("i"),
                vec![],
                &all,
                json!({"image": "i", "name": "n", "env": {"A": "b=c", "B": "file", "HERE": "from here"},
                    "secrets": {"TOKEN": "s3cret", "HERE": "from here"}, "labels": {"team": "data"},
                    "timeout": "1m30s", "max_attempts": null, "restart_policy": "Never",
                    "resources": {"cpu": 0.5, "memory": "256Mi"}}),
            ),
        ] {
            assert_eq!(built(base, image, &args, flags).unwrap(), expected);
        }
    }

    #[test]
    fn a_secret_is_never_taken_from_the_command_line() {
        for (secret, expected) in [
            ("T=hunter2", "every user of this machine"),
            ("MISSING", "not set"),
            ("T=@none", "cannot read none"),
        ] {
            let flags = JobFlags { secret: vec![secret.to_owned()], ..JobFlags::default() };
            let error = built("", None, &["x"], &flags).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
    }
}
