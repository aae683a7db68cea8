//! Entities on the whole engine: what clients can ask, what is listed, what survives.

mod bench;
mod lists;

use std::time::Duration;

use dogwatch_actors::durable::{Machine as _, keys};
use dogwatch_actors::entity::event::{Asker, Caller, Event, LockRequest, Operation};
use dogwatch_actors::entity::{Entity, Signal};
use dogwatch_actors::examine;
use dogwatch_actors::handle;
use dogwatch_actors::handle::entities::{Clean, Cleaned, Error};
use dogwatch_actors::limits::{ENTITY_BACKLOG_MAX, ENTITY_EMPTY_KEPT, ENTITY_REQUESTS_KEPT};
use dogwatch_actors::orchestration::Payload;
use dogwatch_actors::store::{Batch, Store, codec};
use serde_json::json;

use self::bench::{Bench, id};

/// A signal that adds one, with a request id.
fn add(request: &str) -> Signal {
    Signal { request_id: Some(request.to_owned()), ..Signal::new("add", 1) }
}

#[test]
fn a_signal_counts_once_however_often_it_is_sent() {
    Bench::run(async |bench| {
        let client = bench.start().await.handle().entities();
        for request in ["a", "b", "a", "a"] {
            client.signal(id("@counter@x"), add(request)).await.unwrap();
        }
        client.signal(id("@counter@x"), Signal::new("add", 1)).await.unwrap();
        client.signal(id("@counter@x"), Signal::new("add", 1)).await.unwrap();
        bench.until(&client, "@counter@x", |view| view.state == Some(4.into())).await;
        let client = bench.crash().await.handle().entities();
        client.signal(id("@counter@x"), add("a")).await.unwrap();
        client.signal(id("@counter@x"), add("c")).await.unwrap();
        bench.until(&client, "@counter@x", |view| view.state == Some(5.into())).await;
        assert_eq!(examine::online(bench.store().as_ref()).records.digests, 3);
        // For ever nothing is remembered of something that may live for ever.
        tokio::time::sleep(ENTITY_REQUESTS_KEPT + Duration::from_secs(600)).await;
        assert_eq!(examine::online(bench.store().as_ref()).records.digests, 0);
        client.signal(id("@counter@x"), add("d")).await.unwrap();
        tokio::time::sleep(ENTITY_REQUESTS_KEPT / 2).await;
        client.signal(id("@counter@x"), add("d")).await.unwrap();
        bench.until(&client, "@counter@x", |view| view.state == Some(6.into())).await;
        bench.settle().await;
        assert_eq!(client.get(id("@counter@x"), true).await.unwrap().unwrap().state, Some(6.into()));
    });
}

#[test]
fn clients_see_what_is_durable_of_an_entity() {
    Bench::run(async |bench| {
        let client = bench.start().await.handle().entities();
        assert_eq!(client.get(id("@counter@x"), true).await.unwrap(), None);
        bench.hold(true);
        client.signal(id("@counter@x"), add("a")).await.unwrap();
        let view = client.get(id("@counter@x"), true).await.unwrap().unwrap();
        assert_eq!((view.backlog, view.has_state, view.state, view.locked_by), (1, false, None, None));
        bench.hold(false);
        let view = bench.until(&client, "@counter@x", |view| view.backlog == 0).await;
        assert_eq!((view.has_state, view.state), (true, Some(1.into())));
        assert!(view.last_modified >= bench.began());
        let view = client.get(id("@counter@x"), false).await.unwrap().unwrap();
        assert_eq!((view.has_state, view.state), (true, None), "its state was not asked for");
        client.signal(id("@counter@x"), Signal::new("delete", ())).await.unwrap();
        bench.until_none(&client, "@counter@x").await;
        let refused = client.signal(id("blue/@counter@x"), add("a")).await;
        assert!(matches!(refused, Err(Error::NoHub(_))), "{refused:?}");
        for wrong in
            [Signal::new("", 1), Signal::new("a\n", 1), Signal::new("add", "x".repeat(5 * 1024 * 1024))]
        {
            let refused = client.signal(id("@counter@x"), wrong).await;
            assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
        }
    });
}

#[test]
fn a_queue_has_an_end() {
    Bench::run(async |bench| {
        // As it is after so many signals.
        let full = json!({
            "id": "@counter@x",
            "revision": ENTITY_BACKLOG_MAX,
            "modified_at": bench.now(),
            "queue": [[1, ENTITY_BACKLOG_MAX]],
        });
        let mut batch = Batch::new();
        batch.put(keys::snapshot::<Entity>(id("@counter@x")), codec::encode(Entity::VERSION, &full));
        Store::commit(bench.store().as_ref(), batch).await.unwrap();
        let client = bench.start().await.handle().entities();
        let refused = client.signal(id("@counter@x"), add("a")).await;
        assert!(matches!(refused, Err(Error::Other(handle::Error::Overloaded { .. }))), "{refused:?}");
        client.signal(id("@counter@y"), add("a")).await.unwrap();
    });
}

#[test]
fn a_state_that_is_about_to_be_replaced_is_waited_for() {
    Bench::run(async |bench| {
        let client = bench.start().await.handle().entities();
        client.signal(id("@counter@x"), add("a")).await.unwrap();
        bench.until(&client, "@counter@x", |view| view.state == Some(1.into())).await;
        bench.hold_disk_at_the_next_batch();
        client.signal(id("@counter@x"), add("b")).await.unwrap();
        // The batch is with the disk, which has not answered: readers of the store see it already.
        bench.until_disk_is_held().await;
        let reading = client.get(id("@counter@x"), true);
        let mut reading = std::pin::pin!(reading);
        assert!(
            tokio::time::timeout(Duration::from_millis(1), &mut reading).await.is_err(),
            "nobody may see it"
        );
        bench.store().sync();
        assert_eq!(reading.await.unwrap().unwrap().state, Some(2.into()));
    });
}

#[test]
fn what_was_to_be_done_is_done_after_a_crash() {
    Bench::run(async |bench| {
        let client = bench.start().await.handle().entities();
        bench.hold(true);
        client.signal(id("@counter@x"), add("now")).await.unwrap();
        let later = Signal { at: Some(bench.now().after(Duration::from_secs(600))), ..add("later") };
        client.signal(id("@counter@y"), later).await.unwrap();
        bench.settle().await;
        bench.hold(false);
        let client = bench.crash().await.handle().entities();
        bench.until(&client, "@counter@x", |view| view.state == Some(1.into())).await;
        let waits = client.get(id("@counter@y"), true).await.unwrap().unwrap();
        assert_eq!((waits.has_state, waits.backlog), (false, 0), "it waits for its time");
        let began = bench.now();
        bench.until(&client, "@counter@y", |view| view.state == Some(1.into())).await;
        assert!(bench.now().since(began) >= Duration::from_secs(590));
        let report = examine::online(bench.store().as_ref());
        assert_eq!((report.ok, report.records.entities), (true, 2), "{report:?}");
    });
}

#[test]
fn only_what_nobody_uses_is_purged() {
    Bench::run(async |bench| {
        let client = bench.start().await.handle().entities();
        bench.hold(true);
        client.signal(id("@counter@x"), add("a")).await.unwrap();
        let refused = client.purge(id("@counter@x")).await;
        assert!(matches!(refused, Err(Error::InUse(_))), "{refused:?}");
        bench.hold(false);
        bench.until(&client, "@counter@x", |view| view.backlog == 0).await;
        client.purge(id("@counter@x")).await.unwrap();
        assert_eq!(client.get(id("@counter@x"), true).await.unwrap(), None);
        assert!(matches!(client.purge(id("@counter@x")).await, Err(Error::NotFound(_))));
        assert!(matches!(client.release(id("@counter@x")).await, Err(Error::NotFound(_))));
        assert_eq!(examine::online(bench.store().as_ref()).records.history, 0);
    });
}

#[test]
fn cleaning_removes_what_has_nothing_to_it_and_frees_what_nobody_will() {
    Bench::run(async |bench| {
        // Two that belong to an instance which was never heard of; behind it waits somebody.
        let owner = Caller { instance: "nobody".parse().unwrap(), created_at: bench.now(), execution: 1 };
        let set = vec![id("@counter@a"), id("@counter@b")];
        let request = LockRequest { section: "s".to_owned(), set, position: 0, owner, task: 1, rewinds: 0 };
        bench.sends(id("@counter@a"), &Event::LockRequested(Box::new(request))).await;
        let client = bench.start().await.handle().entities();
        client.signal(id("@counter@full"), add("a")).await.unwrap();
        client.signal(id("@counter@empty"), Signal::new("get", ())).await.unwrap();
        bench.until(&client, "@counter@b", |view| view.locked_by == Some(owner.instance)).await;
        client.signal(id("@counter@b"), add("b")).await.unwrap();
        bench.settle().await;
        let view = client.get(id("@counter@b"), true).await.unwrap().unwrap();
        assert_eq!((view.state, view.backlog), (None, 1), "it waits");

        let clean = |remove_empty, release_orphaned_locks| Clean {
            remove_empty,
            release_orphaned_locks,
            ..Clean::default()
        };
        let cleaned = client.clean(&clean(true, false)).await.unwrap();
        assert_eq!(cleaned, Cleaned { removed: 1, released: 0, next: None });
        let cleaned = client.clean(&clean(false, true)).await.unwrap();
        assert!(
            (1..=2).contains(&cleaned.released),
            "each is told, or follows the one before it: {cleaned:?}"
        );
        bench.until(&client, "@counter@b", |view| view.state == Some(1.into())).await;
        assert_eq!(client.clean(&clean(true, true)).await.unwrap().removed, 1, "the other one");
        assert_eq!(examine::online(bench.store().as_ref()).records.entities, 2);
    });
}

#[test]
fn what_has_nothing_to_it_goes_by_itself() {
    Bench::run(async |bench| {
        let client = bench.start().await.handle().entities();
        client.signal(id("@counter@empty"), Signal::new("get", ())).await.unwrap();
        client.signal(id("@counter@full"), add("a")).await.unwrap();
        bench.until(&client, "@counter@full", |view| view.has_state).await;
        tokio::time::sleep(ENTITY_EMPTY_KEPT - Duration::from_secs(60)).await;
        assert_eq!(examine::online(bench.store().as_ref()).records.entities, 2);
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(examine::online(bench.store().as_ref()).records.entities, 1);
    });
}

#[test]
fn a_call_of_an_instance_that_is_gone_is_answered_to_nobody() {
    Bench::run(async |bench| {
        let caller = Caller { instance: "nobody".parse().unwrap(), created_at: bench.now(), execution: 1 };
        let operation = Operation {
            request_id: "r".to_owned(),
            operation: "add".to_owned(),
            input: Payload::from(1),
            asker: Asker::Call { caller, task: 1 },
            trace: None,
        };
        bench.sends(id("@counter@x"), &Event::OperationRequested(Box::new(operation))).await;
        let client = bench.start().await.handle().entities();
        bench.until(&client, "@counter@x", |view| view.state == Some(1.into())).await;
        bench.settle().await;
        let report = examine::online(bench.store().as_ref());
        assert_eq!((report.ok, report.records.messages), (true, 0), "{report:?}");
    });
}
