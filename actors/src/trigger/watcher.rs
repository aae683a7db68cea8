//! Looks at the sources of triggers and tells the triggers what is there.
//!
//! One path for everything: a look lists what is at the source, compares that with what the trigger knows durably, and
//! tells it the difference. Hints of the kernel only make the next look come sooner. What is told twice is known.
//!
//! Not responsible for: what a look is (`directory.rs`, `objects.rs`, `messages.rs`), and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::directory::{self, Found};
use super::hints::Hints;
use super::id::TriggerId;
use super::lookout::{Lookout, Post};
use super::messages::Feed;
use super::object::{Key, Object};
use super::objects;
use super::settling::Settling;
use super::spec::Source;
use super::state::{Event, Trigger};
use crate::durable::host::Host;
use crate::durable::published::Published;
use crate::limits::{TRIGGER_LOOK_PAUSE, TRIGGER_RETRY_LOOK, TRIGGER_STEP_MAX};
use crate::queue::{Desk, Queue};
use crate::store::Store;

/// The watcher.
#[derive(Clone)]
pub(crate) struct Watcher {
    /// What is to be looked at.
    pub(crate) lookout: Lookout,
    /// Who is told.
    pub(crate) triggers: Host<Trigger>,
    /// Who gives messages.
    pub(crate) desk: Desk,
    /// Where messages wait.
    pub(crate) queues: Arc<Published<Queue>>,
    /// Where the bodies of messages are.
    pub(crate) store: Arc<dyn Store>,
    /// The buckets of the configuration.
    pub(crate) stores: Arc<BTreeMap<String, crate::bucket::Config>>,
}

/// What a look came to.
struct Look {
    found: Vec<Object>,
    gone: Vec<Key>,
    fault: Option<String>,
}

impl Watcher {
    /// Looks, for ever.
    pub(crate) async fn run(self) {
        let mut posted: BTreeMap<TriggerId, (Post, AbortHandle)> = BTreeMap::new();
        let mut looking = FuturesUnordered::new();
        loop {
            let wanted = self.lookout.posts();
            posted.retain(|id, (post, abort)| {
                let stays = wanted.get(id).is_some_and(|wanted| wanted.is(post));
                if !stays {
                    abort.abort();
                }
                stays
            });
            for (id, post) in wanted {
                if posted.contains_key(&id) {
                    continue;
                }
                let (abort, registration) = AbortHandle::new_pair();
                looking.push(Abortable::new(self.clone().stand(id, post.clone()), registration));
                posted.insert(id, (post, abort));
            }
            tokio::select! {
                () = self.lookout.changed() => {}
                // One that was called off; the others have no end.
                Some(_) = looking.next() => {}
            }
        }
    }

    /// Looks at one source, for ever.
    async fn stand(self, id: TriggerId, post: Post) {
        match post.given.spec.source() {
            Some(source @ (Source::Directory(_) | Source::Bucket(_))) => {
                self.look_at(id, &post, source).await
            }
            Some(Source::Queue(queue)) => {
                let Ok(queue) = queue.name.parse() else { return };
                Feed { id, queue, incarnation: post.incarnation, watcher: self }.run().await;
            }
            Some(Source::Http(_)) | None => {}
        }
    }

    async fn look_at(&self, id: TriggerId, post: &Post, source: Source<'_>) {
        let (mut hints, mut settling) = (Hints::none(), Settling::default());
        let mut changes = self.triggers.published().watch(id);
        loop {
            let began = Instant::now();
            let (found, settle, poll) = self.one_look(post, source).await;
            let is_more = hints.follow(&found.directories);
            // Register first, read afterwards: what changes from here on is another look.
            let Some(trigger) = self.whole(id).await else { return };
            let (look, unsettled) = compare(&trigger, found, &mut settling, settle);
            let is_full = !self.tell(id, look).await;
            let spent = began.elapsed();
            // Files that were found but not yet taken wait for room, and that is a change of the trigger.
            let room = async {
                match is_full {
                    true => changes.changed().await,
                    false => std::future::pending().await,
                }
            };
            let next = unsettled.map_or(poll, |unsettled| unsettled.min(poll));
            // Between a look and the first hint something may have changed unheard.
            let next = if is_more { Duration::ZERO } else { next };
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                () = hints.come() => {}
                () = room => {}
            }
            // However often one is told, looking is not all that is done.
            tokio::time::sleep(TRIGGER_LOOK_PAUSE.max(spent)).await;
        }
    }

    /// What is there now; for how long it must not change, and how often to look.
    async fn one_look(&self, post: &Post, source: Source<'_>) -> (Found, Duration, Duration) {
        match source {
            Source::Directory(directory) => {
                let (spec, root) = (directory.clone(), post.given.root.clone());
                let looked =
                    tokio::task::spawn_blocking(move || directory::look(&spec, root.as_deref())).await;
                let found = looked.unwrap_or_else(|_| Found::fault("the look at it was interrupted"));
                (found, directory.settle.as_duration(), directory.poll.as_duration())
            }
            Source::Bucket(bucket) => {
                let found = objects::look(bucket, &self.stores).await;
                // An object is there whole or not at all.
                (found, Duration::ZERO, bucket.poll.as_duration())
            }
            Source::Http(_) | Source::Queue(_) => (Found::default(), Duration::ZERO, TRIGGER_RETRY_LOOK),
        }
    }

    /// The trigger with what it remembers; `None` when it is no more.
    pub(super) async fn whole(&self, id: TriggerId) -> Option<Arc<Trigger>> {
        loop {
            match self.triggers.published().read(id) {
                Ok(None) => return None,
                Ok(Some(trigger)) if trigger.book().is_some() => return Some(trigger),
                Ok(Some(_)) => self.triggers.rouse(id).await,
                Err(error) => {
                    tracing::warn!(trigger = %id, %error, "a trigger cannot be read; trying again");
                    tokio::time::sleep(TRIGGER_RETRY_LOOK).await;
                }
            }
        }
    }

    /// Tells the trigger what a look came to; whether it took all of that.
    async fn tell(&self, id: TriggerId, look: Look) -> bool {
        let Look { found, gone, fault } = look;
        let mut found = found.chunks(TRIGGER_STEP_MAX);
        let mut gone = gone.chunks(TRIGGER_STEP_MAX);
        let mut took_all = true;
        loop {
            let (some, less) = (found.next(), gone.next());
            let keys: Vec<Key> = some.unwrap_or_default().iter().map(Object::key).collect();
            let event = Event::Looked {
                found: some.unwrap_or_default().to_vec(),
                gone: less.unwrap_or_default().to_vec(),
                fault: fault.clone(),
            };
            match self.triggers.ask(id, event).await {
                Ok(receipt) => {
                    let book = receipt.state.as_ref().and_then(|state| state.book());
                    took_all &= book.is_some_and(|book| keys.iter().all(|key| book.known(key).is_some()));
                }
                Err(error) => {
                    tracing::warn!(trigger = %id, %error, "a trigger cannot be told of its source; trying again");
                    tokio::time::sleep(TRIGGER_RETRY_LOOK).await;
                    return false;
                }
            }
            if !took_all || (found.len() == 0 && gone.len() == 0) {
                return took_all;
            }
        }
    }
}

/// What is new and what is gone, and when something will have settled.
fn compare(
    trigger: &Trigger,
    found: Found,
    settling: &mut Settling,
    settle: Duration,
) -> (Look, Option<Duration>) {
    let known = |key: &Key| trigger.book().and_then(|book| book.known(key));
    let mut there = BTreeSet::new();
    let mut fresh = Vec::new();
    for object in found.objects {
        let key = object.key();
        there.insert(key);
        match known(&key) {
            Some(known) if known.until.is_none() => {}
            _ => fresh.push((key, object)),
        }
    }
    let now = Instant::now();
    let unsettled = settling.see(fresh.iter().map(|(key, _)| *key), now, settle);
    let found_now = fresh.into_iter().filter(|(key, _)| settling.has_settled(key, now, settle));
    // Of what could not be looked at in whole nothing is known to be gone.
    let is_whole = found.is_whole;
    let gone = trigger.book().into_iter().flat_map(|book| book.all_known());
    let gone = gone.filter(|(key, known)| is_whole && known.until.is_none() && !there.contains(*key));
    let look = Look {
        gone: gone.map(|(key, _)| *key).collect(),
        found: found_now.map(|(_, object)| object).collect(),
        fault: found.fault,
    };
    (look, unsettled)
}
