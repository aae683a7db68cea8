//! What the operator declares: tenants, keys, and the rate of all starts. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::spec::Rate;
use crate::job::spec::Spec;

/// The tenant of a job that names none.
pub const TENANT_DEFAULT: &str = "default";

/// What the operator declares about admission. Whoever is not named here has weight 1 and no limit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rules {
    /// Tenants, by name.
    pub tenants: BTreeMap<String, TenantRule>,
    /// Keys, by name.
    pub keys: BTreeMap<String, KeyRule>,
    /// The label whose value is the tenant of a job that names none.
    pub tenant_label: Option<String>,
    /// How often attempts may start in all.
    pub rate: Option<Rate>,
    /// Attempts of earlier lives are still to be announced: what is limited waits until all of them are.
    pub recovering: bool,
}

impl Rules {
    /// The tenant that a job with this spec counts for.
    pub fn tenant_of<'a>(&self, spec: &'a Spec) -> &'a str {
        self.tenant(spec.tenant.as_ref(), &spec.labels)
    }

    /// Whose something is that names this tenant, if any, and has these labels.
    pub fn tenant<'a>(&self, named: Option<&'a String>, labels: &'a BTreeMap<String, String>) -> &'a str {
        let labelled = || self.tenant_label.as_ref().and_then(|label| labels.get(label));
        named.or_else(labelled).map_or(TENANT_DEFAULT, String::as_str)
    }
}

/// One tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantRule {
    /// Its part of the slots, in proportion to the weights of the others that have something to run.
    pub weight: u32,
    /// How many of its attempts may hold a slot at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
    /// How often its attempts may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

impl Default for TenantRule {
    fn default() -> Self {
        Self { weight: 1, max_running: None, rate: None }
    }
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyRule {
    /// How many jobs of it may live at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// How often attempts of it may start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}
