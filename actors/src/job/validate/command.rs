//! What is run: name, argv, environment, secrets, labels, working directory.

use super::{At, Findings};
use crate::job::spec::Spec;
use crate::limits::{
    ARG_BYTES_MAX, ARGV_ITEMS_MAX, ENV_ITEMS_MAX, KEY_CHARS_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX,
    NAME_CHARS_MAX, PATH_BYTES_MAX,
};
use crate::name::{OWN_LABELS, is_label};

/// Label keys that engines and tools act upon: a job that set them could have its container taken for theirs.
const RESERVED_LABELS: [&str; 4] = [OWN_LABELS, "com.docker.", "io.docker.", "org.dockerproject."];

pub(super) fn check(spec: &Spec, findings: &mut Findings) {
    name(spec, findings);
    argv(spec, findings);
    environment(spec, findings);
    labels(spec, findings);
    if let Some(dir) = &spec.working_dir {
        findings.text("/working_dir", dir, PATH_BYTES_MAX);
        findings.refuse_if(
            !dir.starts_with('/'),
            "/working_dir",
            "must be an absolute path, beginning with `/`",
        );
    }
}

fn name(spec: &Spec, findings: &mut Findings) {
    let Some(name) = &spec.name else { return };
    findings.refuse_if(
        !is_label(name, NAME_CHARS_MAX),
        "/name",
        "must be 1 to 63 lower-case letters, digits and `-`, beginning and ending with a letter or digit",
    );
}

fn argv(spec: &Spec, findings: &mut Findings) {
    for (pointer, list) in [("/entrypoint", &spec.entrypoint), ("/args", &spec.args)] {
        if findings.count(pointer, list.len(), ARGV_ITEMS_MAX) {
            for (index, text) in list.iter().enumerate() {
                findings.text(At(pointer, index), text, ARG_BYTES_MAX);
            }
        }
    }
    let (pointer, program) = match spec.entrypoint.first() {
        Some(first) => ("/entrypoint/0", Some(first)),
        None => ("/args/0", spec.args.first().filter(|_| spec.image.is_none())),
    };
    let empty = program.is_some_and(String::is_empty);
    findings.refuse_if(empty, pointer, "is the program to run and cannot be empty");
}

fn environment(spec: &Spec, findings: &mut Findings) {
    if !findings.count("/env", spec.env.len() + spec.secrets.len(), ENV_ITEMS_MAX) {
        return;
    }
    for (key, value) in &spec.env {
        let pointer = At("/env", key);
        variable(pointer, key, value, findings);
        let twice = spec.secrets.contains_key(key);
        findings.refuse_if(twice, pointer, "is also in `secrets`; keep it in one of them");
    }
    for (key, value) in &spec.secrets {
        let pointer = At("/secrets", key);
        variable(pointer, key, value.expose(), findings);
        let empty = value.is_empty();
        findings.refuse_if(empty, pointer, "has no value; secrets are never returned, so send it again");
    }
}

fn variable(pointer: At<'_, &String>, key: &str, value: &str, findings: &mut Findings) {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let good = key.len() <= KEY_CHARS_MAX && key.starts_with(first) && key.chars().all(inside);
    findings.refuse_if(
        !good,
        pointer,
        "is not a variable's name: a letter or `_`, then at most 127 letters, digits, `_`, `.` and `-`",
    );
    let reserved = key.starts_with("DOGWATCH_");
    findings.refuse_if(
        reserved,
        pointer,
        "begins with `DOGWATCH_`, which dogwatch sets itself; choose another name",
    );
    findings.text(pointer, value, ARG_BYTES_MAX.saturating_sub(key.len() + 1));
}

fn labels(spec: &Spec, findings: &mut Findings) {
    if !findings.count("/labels", spec.labels.len(), LABELS_MAX) {
        return;
    }
    for (key, value) in &spec.labels {
        let pointer = At("/labels", key);
        let edge = |c: char| c.is_ascii_alphanumeric();
        let inside = |c: char| edge(c) || matches!(c, '-' | '_' | '.' | '/');
        let good = (1..=KEY_CHARS_MAX).contains(&key.len())
            && key.chars().all(inside)
            && key.starts_with(edge)
            && key.ends_with(edge);
        findings.refuse_if(
            !good,
            pointer,
            "is not a label's key: 1 to 128 letters, digits, `-`, `_`, `.` and `/`, a letter or digit at both ends",
        );
        let reserved = RESERVED_LABELS.iter().any(|prefix| key.starts_with(prefix));
        findings.refuse_if(reserved, pointer, "is in a namespace kept for tools; choose another key");
        findings.text(pointer, value, LABEL_VALUE_BYTES_MAX);
        let control = value.chars().any(|c| c.is_control() && c != '\0');
        findings.refuse_if(control, pointer, "contains a control character; remove it");
    }
}
