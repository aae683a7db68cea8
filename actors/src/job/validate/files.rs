//! What goes in and comes out: inputs and outputs.

use std::collections::BTreeSet;

use super::{Findings, Policy};
use crate::files::Pattern;
use crate::files::pattern::names;
use crate::files::spec::{Input, Source};
use crate::job::spec::{SecurityProfile, Spec};
use crate::limits::{ARTIFACT_NAME_BYTES_MAX, INPUTS_MAX, OUTPUTS_MAX, PATH_BYTES_MAX};

pub(super) fn check(spec: &Spec, policy: &Policy, findings: &mut Findings) {
    let has_files = !spec.inputs.is_empty() || !spec.outputs.is_empty();
    let read_only = spec.read_only_root || spec.security_profile == SecurityProfile::Restricted;
    findings.refuse_if(
        has_files && spec.image.is_some() && read_only,
        if spec.inputs.is_empty() { "/outputs" } else { "/inputs" },
        "files need a root file system that can be written; remove `read_only_root` or the profile `restricted`",
    );
    let is_process = spec.runtime_name() == "process";
    if findings.count("/inputs", spec.inputs.len(), INPUTS_MAX) {
        let mut paths = BTreeSet::new();
        for (index, input) in spec.inputs.iter().enumerate() {
            one_input(input, index, is_process, policy, findings);
            let twice = !paths.insert(input.path.as_str());
            findings.refuse_if(twice, format!("/inputs/{index}/path"), "is the path of another input, too");
        }
    }
    if findings.count("/outputs", spec.outputs.len(), OUTPUTS_MAX) {
        outputs(spec, is_process, findings);
    }
}

fn one_input(input: &Input, index: usize, is_process: bool, policy: &Policy, findings: &mut Findings) {
    let at = |field: &str| format!("/inputs/{index}/{field}");
    place(&at("path"), &input.path, is_process, findings);
    if let Err(error) = names(&input.path) {
        findings.add(at("path"), error.to_string());
    }
    match input.source() {
        Err(message) => findings.add(format!("/inputs/{index}"), message),
        Ok(Source::Url(url)) => {
            if let Err(refusal) = policy.webhooks.check(url) {
                findings.add(at("url"), refusal.to_string().replace("webhook", "input"));
            }
        }
        Ok(Source::Base64(text)) => {
            use base64::Engine as _;
            let good = base64::engine::general_purpose::STANDARD.decode(text).is_ok();
            findings.refuse_if(!good, at("content_base64"), "is not base64; encode it with padding");
        }
        Ok(Source::Text(_) | Source::Artifact(..)) => {}
    }
    findings.refuse_if(input.mode().is_none(), at("mode"), "is no mode; write it like `0644` or `0755`");
    let digest = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let good = input.sha256.as_ref().is_none_or(digest);
    findings.refuse_if(!good, at("sha256"), "is no SHA-256; it has 64 hexadecimal digits");
}

fn outputs(spec: &Spec, is_process: bool, findings: &mut Findings) {
    let mut called = BTreeSet::new();
    for (index, output) in spec.outputs.iter().enumerate() {
        let at = |field: &str| format!("/outputs/{index}/{field}");
        place(&at("path"), &output.path, is_process, findings);
        if let Err(error) = Pattern::parse(&output.path) {
            findings.add(at("path"), error.to_string());
        }
        let Some(name) = &output.name else { continue };
        findings.text(at("name"), name, ARTIFACT_NAME_BYTES_MAX);
        let good = !name.starts_with('/') && !name.ends_with('/') && names(name).is_ok();
        findings.refuse_if(
            !good,
            at("name"),
            "is no name; write it like `report.csv` or `tables/report.csv`",
        );
        let twice = !called.insert(name.as_str());
        findings.refuse_if(twice, at("name"), "is the name of another output, too");
    }
}

fn place(pointer: &str, path: &str, is_process: bool, findings: &mut Findings) {
    findings.text(pointer, path, PATH_BYTES_MAX);
    findings.refuse_if(
        is_process && path.starts_with('/'),
        pointer,
        "must be relative: the files of a process are in a directory of its attempt, where it starts",
    );
}
