//! Admission as people read it: `GET /v1/admission`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::spec::Rate;
use super::waiting::Waiting;
use crate::clock::Timestamp;
use crate::id::JobId;
use crate::limits::ADMISSION_ROWS_MAX;

/// Who waits and who runs, by tenant and by key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = Admission)]
pub struct AdmissionView {
    /// The tenants that have something to run, and those that the configuration declares; by name.
    pub tenants: Vec<TenantView>,
    /// The keys under which a job lives, and those that the configuration declares; by name.
    pub keys: Vec<KeyView>,
    /// How often attempts may start in all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<Rate>,
    /// No attempt starts before then, because so many did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// There are more tenants or keys than are shown.
    pub truncated: bool,
}

/// One tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantView {
    /// Its name.
    pub name: String,
    /// Its part of the slots.
    pub weight: u32,
    /// How many of its attempts may hold a slot at once.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_running: Option<u32>,
    /// Its attempts that hold a slot.
    pub running: usize,
    /// Its attempts that are prepared for the next ones.
    pub ahead: usize,
    /// Its attempts that wait.
    pub waiting: usize,
    /// How often its attempts may start.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<Rate>,
    /// None of its attempts starts before then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// The key.
    pub key: String,
    /// How many jobs may live under it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<u32>,
    /// How many hold a place.
    pub holding: usize,
    /// Some of them.
    #[schema(value_type = Vec<String>)]
    pub holders: Vec<JobId>,
    /// How many wait for one.
    pub waiting: usize,
    /// How often attempts of it may start.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<Rate>,
    /// None of its attempts starts before then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
}

/// Holders of a key that are shown.
const HOLDERS_SHOWN: usize = 10;

impl Waiting {
    /// As it is now.
    pub(crate) fn view(&self) -> AdmissionView {
        let declared =
            self.rules.tenants.iter().filter(|(name, _)| !self.tenants.contains_key(name.as_str()));
        let idle = declared.map(|(name, rule)| TenantView {
            name: name.clone(),
            weight: rule.weight,
            max_running: rule.max_running,
            running: 0,
            ahead: 0,
            waiting: 0,
            rate: rule.rate,
            next_at: None,
        });
        let busy = self.tenants.iter().map(|(name, tenant)| TenantView {
            name: name.to_string(),
            weight: tenant.rule.weight,
            max_running: tenant.rule.max_running,
            running: tenant.slots,
            ahead: tenant.ahead,
            waiting: tenant.waiting,
            rate: tenant.rule.rate,
            next_at: tenant.asleep,
        });
        let mut tenants: Vec<_> = idle.chain(busy).take(ADMISSION_ROWS_MAX + 1).collect();
        let mut keys = self.keys();
        let truncated = tenants.len().max(keys.len()) > ADMISSION_ROWS_MAX;
        tenants.truncate(ADMISSION_ROWS_MAX);
        tenants.sort_by(|one, other| one.name.cmp(&other.name));
        keys.truncate(ADMISSION_ROWS_MAX);
        keys.sort_by(|one, other| one.key.cmp(&other.key));
        AdmissionView { tenants, keys, rate: self.rate(), next_at: self.all_asleep, truncated }
    }

    fn keys(&self) -> Vec<KeyView> {
        let declared = self.rules.keys.iter().filter(|(key, _)| !self.groups.contains_key(key.as_str()));
        let idle = declared.map(|(key, rule)| KeyView {
            key: key.clone(),
            limit: rule.limit,
            holding: 0,
            holders: vec![],
            waiting: 0,
            rate: rule.rate,
            next_at: None,
        });
        let busy = self.groups.iter().map(|(key, group)| KeyView {
            key: key.to_string(),
            limit: group.limit(),
            holding: group.holders().len(),
            holders: group.holders().take(HOLDERS_SHOWN).collect(),
            waiting: group.waiting(),
            rate: group.rate(),
            next_at: group.asleep,
        });
        idle.chain(busy).take(ADMISSION_ROWS_MAX + 1).collect()
    }
}
