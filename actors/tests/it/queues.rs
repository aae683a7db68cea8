//! Queues for embedders, and what an examination says of them. What they promise over HTTP and over kills is in the tests
//! of the binary, their rules beside them.

use std::sync::Arc;

use dogwatch_actors::clock::SystemClock;
use dogwatch_actors::durable::{Machine as _, keys};
use dogwatch_actors::examine;
use dogwatch_actors::handle::queues::{Acknowledge, Error, NewMessage, Queues, Receive};
use dogwatch_actors::queue::{Names, Queue, QueueId, Settings};
use dogwatch_actors::runtime::fake::FakeRuntime;
use dogwatch_actors::store::memory::MemoryStore;
use dogwatch_actors::store::{Batch, Store};
use dogwatch_actors::supervisor::Supervisor;
use serde_json::json;

async fn start(store: &Arc<MemoryStore>) -> Supervisor {
    Supervisor::builder()
        .store(Arc::clone(store) as Arc<dyn Store>)
        .runtime(Arc::new(FakeRuntime::new("process", Arc::new(SystemClock))))
        .threads(0)
        .logs_dir(env!("CARGO_TARGET_TMPDIR"))
        .start()
        .await
        .unwrap()
}

fn message(number: u64) -> NewMessage {
    serde_json::from_value(json!({ "body": number, "id": format!("number-{number}") })).unwrap()
}

async fn receive(queues: &Queues, max: u32) -> Vec<dogwatch_actors::handle::queues::ReceivedMessage> {
    let asked = Receive { max, ..Receive::default() };
    queues.receive("orders", &asked, None).await.unwrap()
}

#[test]
fn what_is_missing_of_a_queue_is_named() {
    actix::System::new().block_on(async {
        let store = Arc::new(MemoryStore::new());
        let queues = start(&store).await.handle().queues();
        assert!(matches!(queues.send("orders", vec![message(1)]).await, Err(Error::NotFound(_))));
        queues.declare("orders", Settings::default()).await.unwrap();
        queues.send("orders", (1..=4).map(message).collect()).await.unwrap();
        let given = receive(&queues, 2).await;
        let ack = Acknowledge { receipt: given[0].receipt.clone(), result: Some(json!("done")) };
        assert!(queues.ack("orders", &given[0].id, ack).await.unwrap().acknowledged);

        let report = examine::online(store.as_ref());
        assert!(report.ok, "{report:?}");
        // Of four messages where they stand and their ids, of three the bodies, of one the result.
        assert_eq!((report.records.queues, report.records.rows), (1, 4 + 4 + 3 + 1));
        let id: QueueId = "orders".parse().unwrap();
        let damage: [(Vec<u8>, &str); 3] = [
            (Names(4).body(), "is missing"),
            (Names(1).result(), "is missing"),
            ([&b"s"[..], &3_u64.to_be_bytes()].concat(), "there should be 2 ready"),
        ];
        for (name, told) in damage {
            let key = keys::row::<Queue>(id, &name);
            let value = store.get(&key).unwrap().expect("the row is there");
            let mut batch = Batch::new();
            batch.delete(key.clone());
            store.commit(batch).await.unwrap();
            let report = examine::online(store.as_ref());
            assert!(report.faults.iter().any(|fault| fault.message.contains(told)), "{told}: {report:?}");
            let mut batch = Batch::new();
            batch.put(key, value);
            store.commit(batch).await.unwrap();
            assert!(examine::online(store.as_ref()).ok);
        }
        assert_eq!(Queue::KIND, "queue", "what is stored is found under that name");
    });
}

#[test]
fn a_queue_is_read_back_by_the_next_supervisor() {
    actix::System::new().block_on(async {
        let store = Arc::new(MemoryStore::new());
        let first = start(&store).await;
        let queues = first.handle().queues();
        queues.declare("orders", Settings::default()).await.unwrap();
        queues.send("orders", (1..=3).map(message).collect()).await.unwrap();
        assert_eq!(receive(&queues, 1).await.len(), 1);
        let view = queues.get("orders").unwrap();
        drop((queues, first));
        let second = start(&store).await;
        second.handle().recovered().await;
        let queues = second.handle().queues();
        let again = queues.get("orders").unwrap();
        assert_eq!((again.ready, again.leased, again.sent_total), (view.ready, view.leased, view.sent_total));
        let sent = queues.send("orders", vec![message(2), message(9)]).await.unwrap();
        assert_eq!((sent[0].duplicate, sent[0].id.as_str(), sent[1].id.as_str()), (true, "2", "4"));
        assert_eq!(receive(&queues, 10).await.len(), 3);
    });
}
