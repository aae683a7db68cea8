//! Finding instances, and deleting many.

use dogwatch_actors::handle::orchestrations::{InstanceFilter, Raise, Reads, StartOrder};
use dogwatch_actors::orchestration::{OrchestrationContext, Registry, Result, Status};
use serde_json::json;

use super::{id, is_over, until};
use crate::supervisor::bench::Bench;

async fn waits(ctx: OrchestrationContext, _: u32) -> Result<()> {
    ctx.event("go").await
}

#[test]
fn instances_are_found_by_what_is_known_of_them() {
    Bench::run(async |bench| {
        let registry = Registry::new().orchestration("one", waits).orchestration("two", waits);
        let client = bench.start_with(registry).await.handle().orchestrations();
        for number in 0..12_u32 {
            let name = if number % 3 == 0 { "two" } else { "one" };
            let mut order = StartOrder::new(name, number).id(id(&format!("i{number:02}")));
            order.tags.insert("half".to_owned(), (number / 6).to_string());
            client.start(order).await.unwrap();
        }
        client.raise(id("i03"), Raise::new("go", ())).await.unwrap();
        until(&client, "i03", is_over).await;
        let ids = |filter: InstanceFilter| {
            let page = client.list(&filter).unwrap();
            page.instances.iter().map(|instance| instance.id.to_string()).collect::<Vec<_>>()
        };
        let all = ids(InstanceFilter::default());
        assert_eq!(all.len(), 12);
        assert_eq!((all[0].as_str(), all[11].as_str()), ("i11", "i00"), "newest first");
        let named = |name: &str| InstanceFilter { name: Some(name.to_owned()), ..InstanceFilter::default() };
        assert_eq!(ids(named("two")), ["i09", "i06", "i03", "i00"]);
        let with = |status| InstanceFilter { statuses: vec![status], ..named("two") };
        assert_eq!(ids(with(Status::Completed)), ["i03"]);
        let mut tagged = named("two");
        tagged.tags.insert("half".to_owned(), "1".to_owned());
        assert_eq!(ids(tagged), ["i09", "i06"]);
        let prefix = InstanceFilter { id_prefix: Some("i1".to_owned()), ..InstanceFilter::default() };
        assert_eq!(ids(prefix), ["i11", "i10"]);
        // In pages, each instance once.
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let reads = Reads { input: true, output: false };
            let page = client
                .list(&InstanceFilter { limit: 5, cursor, reads, ..InstanceFilter::default() })
                .unwrap();
            seen.extend(page.instances.iter().map(|instance| instance.input.clone().unwrap()));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(json!(seen), json!((0..12).rev().collect::<Vec<_>>()));
        assert!(
            client
                .list(&InstanceFilter { cursor: Some("x".to_owned()), ..InstanceFilter::default() })
                .is_err()
        );
        let from = client.get(id("i06"), Reads::default()).unwrap().created_at;
        let since = InstanceFilter { created_after: Some(from), ..InstanceFilter::default() };
        assert!(ids(since).iter().all(|id| id.as_str() >= "i06"));
    });
}

#[test]
fn a_purge_by_filter_takes_only_what_is_over() {
    Bench::run(async |bench| {
        let client =
            bench.start_with(Registry::new().orchestration("one", waits)).await.handle().orchestrations();
        for number in 0..10_u32 {
            client.start(StartOrder::new("one", number).id(id(&format!("i{number}")))).await.unwrap();
        }
        for number in 0..6 {
            client.raise(id(&format!("i{number}")), Raise::new("go", ())).await.unwrap();
            until(&client, &format!("i{number}"), is_over).await;
        }
        let purged = client.purge_many(&InstanceFilter::default()).await.unwrap();
        assert_eq!((purged.deleted, purged.is_complete), (6, true));
        assert_eq!(client.list(&InstanceFilter::default()).unwrap().instances.len(), 4);
        assert!(client.purge(id("i7")).await.is_err(), "one that runs is not purged");
    });
}
