//! Finding entities by id and by time, page by page.

use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::entity::Signal;
use dogwatch_actors::entity::executor::NoWorkers;
use dogwatch_actors::handle::entities::{Clean, Entities, EntityFilter, Error};
use dogwatch_actors::limits::{LIST_PAGE_DEFAULT, LIST_ROWS_READ_MAX};

use super::bench::{Bench, id};

/// The ids of all pages of so many.
async fn listed(client: &Entities, filter: &EntityFilter) -> Vec<String> {
    let (mut found, mut filter) = (Vec::new(), filter.clone());
    loop {
        let page = client.list(&filter).await.unwrap();
        assert!(filter.limit == 0 || page.entities.len() <= filter.limit);
        found.extend(page.entities.iter().map(|view| view.id.to_string()));
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            return found;
        }
    }
}

#[test]
fn entities_are_listed_in_the_order_of_their_ids() {
    Bench::run(async |bench| {
        let handle = bench.start().await.handle();
        let client = handle.entities();
        handle.task_hubs().create("blue").await.unwrap();
        let ids = ["@counter@b", "@counter@a", "@counter@", "@other@a", "@counter@a/b", "blue/@counter@a"];
        for entity in ids {
            client.signal(id(entity), Signal::new("add", 7)).await.unwrap();
        }
        client.signal(id("@counter@gone"), Signal::new("get", ())).await.unwrap();
        bench.settle().await;
        let filter = |limit, prefix: Option<&str>| EntityFilter {
            limit,
            id_prefix: prefix.map(str::to_owned),
            ..EntityFilter::default()
        };
        let counters = ["@counter@", "@counter@a", "@counter@a/b", "@counter@b"];
        for limit in [0, 1, 2, 3, 4, 5] {
            let all = listed(&client, &filter(limit, None)).await;
            assert_eq!(all, [&counters[..], &["@other@a"]].concat(), "{limit}");
            assert_eq!(listed(&client, &filter(limit, Some("@counter@"))).await, counters, "{limit}");
            assert_eq!(listed(&client, &filter(limit, Some("@counter@a"))).await, counters[1..3], "{limit}");
            assert!(listed(&client, &filter(limit, Some("blue/@"))).await.is_empty(), "hubs are apart");
        }
        let blue = EntityFilter { hub: Some("blue".to_owned()), ..filter(1, Some("@counter@")) };
        assert_eq!(listed(&client, &blue).await, ["blue/@counter@a"]);
        let none = EntityFilter { hub: Some("red".to_owned()), ..filter(0, None) };
        assert!(listed(&client, &none).await.is_empty());
        let transient = EntityFilter { include_transient: true, ..filter(0, Some("@counter@g")) };
        assert_eq!(listed(&client, &transient).await, ["@counter@gone"]);
        let with_states = EntityFilter { include_state: true, ..filter(0, Some("@other@")) };
        assert_eq!(client.list(&with_states).await.unwrap().entities[0].state, Some(7.into()));
        assert_eq!(client.list(&filter(0, Some("@other@"))).await.unwrap().entities[0].state, None);
        // Any id is a place to go on from.
        let behind = EntityFilter { cursor: Some("@counter@a".to_owned()), ..filter(0, None) };
        assert_eq!(listed(&client, &behind).await, ["@counter@a/b", "@counter@b", "@other@a"]);
        let refused = client.list(&EntityFilter { cursor: Some("x".to_owned()), ..filter(0, None) }).await;
        assert!(matches!(refused, Err(Error::BadCursor)), "{refused:?}");
        // What is deleted with its hub is gone.
        handle.task_hubs().delete("blue").await.unwrap();
        assert!(listed(&client, &blue).await.is_empty());
    });
}

#[test]
fn entities_are_found_by_when_they_were_modified() {
    Bench::run(async |bench| {
        let client = bench.start().await.handle().entities();
        let mut times = Vec::new();
        // Some of them within one second.
        for entity in ["@counter@c", "@counter@a", "@counter@d", "@counter@b"] {
            tokio::time::sleep(Duration::from_millis(400)).await;
            client.signal(id(entity), Signal::new("add", 1)).await.unwrap();
            bench.settle().await;
            times.push(client.get(id(entity), false).await.unwrap().unwrap().last_modified);
        }
        let found = async |from: Option<usize>, before: Option<usize>, limit| {
            let filter = EntityFilter {
                modified_from: from.map(|index| times[index]),
                modified_before: before.map(|index| times[index]),
                limit,
                ..EntityFilter::default()
            };
            listed(&client, &filter).await.iter().map(|id| id[9..].to_owned()).collect::<Vec<_>>().join("")
        };
        for limit in [0, 1, 2] {
            assert_eq!(found(Some(1), None, limit).await, "abd", "from is one of them");
            assert_eq!(found(None, Some(2), limit).await, "ac", "before is none of them");
            assert_eq!(found(Some(1), Some(3), limit).await, "ad");
            assert_eq!(found(Some(2), Some(2), limit).await, "");
        }
        // Who is modified again is listed by that.
        tokio::time::sleep(Duration::from_secs(5)).await;
        client.signal(id("@counter@c"), Signal::new("add", 1)).await.unwrap();
        bench.settle().await;
        assert_eq!(found(None, Some(3), 0).await, "ad");
        assert_eq!(found(Some(3), None, 0).await, "bc");
    });
}

#[test]
fn what_is_too_much_for_one_request_is_done_by_several() {
    Bench::run(async |bench| {
        let client = bench.start_with(|_| Arc::new(NoWorkers)).await.handle().entities();
        let count = LIST_ROWS_READ_MAX + 10;
        for first in (0..count).step_by(1_000) {
            let signals = (first..count.min(first + 1_000))
                .map(|number| client.signal(id(&format!("@counter@{number:05}")), Signal::new("add", 1)));
            futures_util::future::try_join_all(signals).await.unwrap();
        }
        // Of those that match nothing is passed over, though none has a state.
        let page = client.list(&EntityFilter::default()).await.unwrap();
        assert!(page.entities.is_empty());
        let last = format!("@counter@{:05}", LIST_ROWS_READ_MAX - 1);
        assert_eq!(page.next.as_deref(), Some(last.as_str()));
        let filter = EntityFilter { include_transient: true, cursor: page.next, ..EntityFilter::default() };
        assert_eq!(listed(&client, &filter).await.len(), 10);
        // So wide a span of time is not found by the index.
        let all = EntityFilter {
            include_transient: true,
            modified_from: Some(bench.began()),
            ..EntityFilter::default()
        };
        let page = client.list(&all).await.unwrap();
        assert_eq!((page.entities.len(), page.entities[0].id), (LIST_PAGE_DEFAULT, id("@counter@00000")));
        let cleaned = client.clean(&Clean { remove_empty: true, ..Clean::default() }).await.unwrap();
        assert_eq!(
            (cleaned.removed, cleaned.next.as_deref()),
            (0, Some(last.as_str())),
            "all of them are in use"
        );
    });
}
