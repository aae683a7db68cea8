//! One look at a bucket: which objects are in it, by what they are called, and which version of each.
//!
//! The list is read in whole each time. What is known of earlier ones is remembered durably by the trigger, so that no
//! clock of a provider and no order of its lists has to be trusted.
//!
//! Not responsible for: which of them are new, and opening buckets (`bucket`).

use std::collections::BTreeMap;

use futures_util::StreamExt as _;

use super::directory::Found;
use super::object::{Kind, Object};
use super::pattern::Pattern;
use super::spec::Objects;
use crate::bucket::{Bucket, Config};
use crate::clock::Timestamp;
use crate::limits::{TRIGGER_LIST_TIMEOUT, TRIGGER_LOOK_MAX, TRIGGER_OBJECT_BYTES_MAX};

/// Looks at a bucket.
pub(super) async fn look(spec: &Objects, stores: &BTreeMap<String, Config>) -> Found {
    let Some(config) = stores.get(&spec.store) else {
        return Found::fault(format!("there is no store `{}` in the configuration any more", spec.store));
    };
    let bucket = match Bucket::open(&spec.store, config) {
        Ok(bucket) => bucket,
        Err(error) => return Found::fault(error.to_string()),
    };
    let listed = tokio::time::timeout(TRIGGER_LIST_TIMEOUT, list(spec, config, &bucket)).await;
    listed.unwrap_or_else(|_| {
        Found::fault(format!("the store `{}` did not list its objects in time", spec.store))
    })
}

async fn list(spec: &Objects, config: &Config, bucket: &Bucket) -> Found {
    let patterns: Vec<Pattern> = spec.patterns.iter().filter_map(|text| Pattern::parse(text).ok()).collect();
    let within = bucket.path(spec.prefix.split('/').filter(|part| !part.is_empty()));
    let root = bucket.path([]);
    let mut found = Found { is_whole: true, ..Found::default() };
    let mut objects = bucket.store().list(Some(&within));
    while let Some(next) = objects.next().await {
        let meta = match next {
            Ok(meta) => meta,
            Err(error) => {
                // What a provider said may hold an address with a signature.
                tracing::warn!(store = %spec.store, %error, "a bucket cannot be listed; trying again");
                found.incomplete(format!("the store `{}` cannot be listed; the log says why", spec.store));
                return found;
            }
        };
        let key = meta.location.as_ref();
        let key = key.strip_prefix(root.as_ref()).unwrap_or(key).trim_start_matches('/');
        let below = key.strip_prefix(spec.prefix.trim_matches('/')).unwrap_or(key).trim_start_matches('/');
        if !patterns.is_empty() && !patterns.iter().any(|pattern| pattern.fits(below)) {
            continue;
        }
        let name = format!("{}/{key}", config.url.trim_end_matches('/'));
        if name.len() > TRIGGER_OBJECT_BYTES_MAX {
            found.fault.get_or_insert_with(|| "a name in it is too long, and left alone".to_owned());
            continue;
        }
        if found.objects.len() >= TRIGGER_LOOK_MAX {
            found.incomplete(format!("it has more than {TRIGGER_LOOK_MAX} objects"));
            return found;
        }
        let millis = meta.last_modified.timestamp_millis();
        // Written once more it is another version, even where it is the same in it.
        let tag = meta.version.or(meta.e_tag).unwrap_or_else(|| meta.size.to_string());
        found.objects.push(Object {
            source: Kind::Bucket,
            name,
            version: format!("{tag}-{millis}"),
            size: meta.size,
            modified_at: Some(Timestamp::from_millis(millis)),
            content_type: None,
            body: None,
        });
    }
    found
        .objects
        .sort_by(|left, right| (left.modified_at, &left.name).cmp(&(right.modified_at, &right.name)));
    found
}
