//! Who is told: webhook targets.
//!
//! Addresses that are written as such are judged here; what a name resolves to is judged when the webhook is
//! sent. Not responsible for what may be reached: that is the guard's of outgoing requests.

use super::{Findings, Policy};
use crate::job::spec::Spec;
use crate::limits::WEBHOOKS_MAX;
use crate::outbound::sign;

pub(super) fn check(spec: &Spec, policy: &Policy, findings: &mut Findings) {
    if !findings.count("/on_complete", spec.on_complete.len(), WEBHOOKS_MAX) {
        return;
    }
    for (index, target) in spec.on_complete.iter().enumerate() {
        if let Err(refusal) = policy.webhooks.check(&target.url) {
            findings.add(format!("/on_complete/{index}/url"), refusal.to_string());
        }
        if !target.secret.is_empty() && !sign::is_secret(target.secret.expose()) {
            let message = "must be `whsec_` and the base64 of 24 to 64 random bytes (Standard Webhooks)";
            findings.add(format!("/on_complete/{index}/secret"), message);
        }
    }
}
