//! What a queue is declared with. Pure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::handle::FieldError;
use crate::limits::{
    QUEUE_DEDUP_DEFAULT, QUEUE_DEDUP_MAX, QUEUE_DELIVERIES_DEFAULT, QUEUE_DELIVERIES_MAX, QUEUE_DONE_DEFAULT,
    QUEUE_LEASE_DEFAULT, QUEUE_LEASE_MAX, QUEUE_LEASE_MIN, QUEUE_RETENTION_DEFAULT, SPAN_MAX,
};
use crate::units::Span;

/// A queue, as declared. Everything has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = QueueSettings)]
pub struct Settings {
    /// How long a message is leased where the worker does not say: from 1s to 12h.
    pub lease: Span,
    /// How often a message is delivered before it becomes a dead letter.
    pub max_deliveries: u32,
    /// How long a message waits for a worker before it becomes a dead letter.
    pub retention: Span,
    /// How long the id of a message is remembered, so that the same one sent again is no second message.
    pub dedup_window: Span,
    /// How long what became of an acknowledged message is remembered, its result with it; of the last 10,000 at most.
    pub keep_results: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: QUEUE_LEASE_DEFAULT,
            max_deliveries: QUEUE_DELIVERIES_DEFAULT,
            retention: QUEUE_RETENTION_DEFAULT,
            dedup_window: QUEUE_DEDUP_DEFAULT,
            keep_results: QUEUE_DONE_DEFAULT,
        }
    }
}

impl Settings {
    /// Everything that stands against them; empty when they can be accepted.
    pub fn validate(&self) -> Vec<FieldError> {
        let mut findings = Vec::new();
        let mut refuse = |wrong: bool, pointer: &str, message: String| {
            if wrong {
                findings.push(FieldError { pointer: pointer.to_owned(), message });
            }
        };
        refuse(!is_lease(self.lease), "/lease", lease_message());
        let most = QUEUE_DELIVERIES_MAX;
        let is_good = (1..=most).contains(&self.max_deliveries);
        refuse(!is_good, "/max_deliveries", format!("must be 1 to {most}"));
        let is_good = (1_000..=SPAN_MAX.as_millis()).contains(&u128::from(self.retention.as_millis()));
        refuse(!is_good, "/retention", "must be at least 1s and at most ten years".to_owned());
        let is_good = self.dedup_window <= QUEUE_DEDUP_MAX;
        refuse(!is_good, "/dedup_window", format!("must be at most {QUEUE_DEDUP_MAX}"));
        let is_good = self.keep_results.as_duration() <= SPAN_MAX;
        refuse(!is_good, "/keep_results", "must be at most ten years".to_owned());
        findings
    }
}

/// Whether a lease may be so long.
pub(crate) fn is_lease(lease: Span) -> bool {
    (QUEUE_LEASE_MIN..=QUEUE_LEASE_MAX).contains(&lease)
}

/// What to say of one that may not.
pub(crate) fn lease_message() -> String {
    format!("must be {QUEUE_LEASE_MIN} to {QUEUE_LEASE_MAX}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_and_it_is_said_where() {
        assert_eq!(Settings::default().validate(), []);
        type Spoil = fn(&mut Settings);
        let table: [(&str, Spoil); 8] = [
            ("/lease", |settings| settings.lease = Span::from_millis(999)),
            ("/lease", |settings| settings.lease = Span::from_secs(12 * 3_600 + 1)),
            ("/max_deliveries", |settings| settings.max_deliveries = 0),
            ("/max_deliveries", |settings| settings.max_deliveries = QUEUE_DELIVERIES_MAX + 1),
            ("/retention", |settings| settings.retention = Span::from_millis(0)),
            ("/retention", |settings| settings.retention = Span::from_secs(u64::MAX / 1_000)),
            ("/dedup_window", |settings| settings.dedup_window = Span::from_secs(8 * 86_400)),
            ("/keep_results", |settings| settings.keep_results = Span::from_secs(u64::MAX / 1_000)),
        ];
        for (pointer, spoil) in table {
            let mut settings = Settings::default();
            spoil(&mut settings);
            let pointers: Vec<String> = settings.validate().into_iter().map(|fault| fault.pointer).collect();
            assert_eq!(pointers, [pointer]);
        }
    }
}
