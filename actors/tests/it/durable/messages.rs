//! Messages between machines: in order, applied exactly once whatever dies.

use std::sync::Arc;

use dogwatch_actors::durable::MachineId as _;
use dogwatch_actors::durable::host::{Dispatch, Fate};
use dogwatch_actors::store::memory::{Fault, MemoryStore};
use dogwatch_actors::store::{Log, Store, codec};
use futures_util::future::join_all;

use super::bench::{Process, Settings, in_virtual_time};
use super::counter::{Effect, Event, Number};

fn outbox() -> Vec<u8> {
    format!("{}/", Log::Outbox.prefix()).into_bytes()
}

#[test]
fn messages_to_one_machine_arrive_in_order_and_are_consumed() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(2, Event::Opened).await;
        process.apply(1, Event::Sent(Number(2), vec![1, 2, 3])).await;
        process.apply(1, Event::Sent(Number(2), vec![4, 5])).await;
        let receiver = process.until(2, |counter| counter.received.len() == 5).await;
        assert_eq!(receiver.received, [1, 2, 3, 4, 5]);
        process.settle().await;
        assert_eq!(process.rows(&outbox()), []);
    });
}

#[test]
fn a_refused_message_is_consumed_and_holds_up_nothing() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(2, Event::Opened).await;
        process.apply(1, Event::Sent(Number(2), vec![1, 7, 14, 2])).await;
        let receiver = process.until(2, |counter| counter.received.len() == 2).await;
        assert_eq!(receiver.received, [1, 2]);
        process.settle().await;
        assert_eq!(process.rows(&outbox()), []);
    });
}

#[test]
fn a_message_to_nobody_is_dropped() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(3, Event::Opened).await;
        process.apply(1, Event::Sent(Number(9), vec![1])).await;
        process.apply(1, Event::Sent(Number(3), vec![2])).await;
        process.until(3, |counter| counter.received == [2]).await;
        process.settle().await;
        assert_eq!((process.rows(&outbox()), process.read(9)), (vec![], None));
    });
}

#[test]
fn a_message_to_a_kind_that_is_gone_is_dropped() {
    in_virtual_time(async || {
        let store = Arc::new(MemoryStore::new());
        let mut batch = dogwatch_actors::store::Batch::new();
        batch.append(Log::Outbox, codec::encode(1, &("ghost", vec![1_u8], "boo")));
        Store::commit(store.as_ref(), batch).await.unwrap();
        let process = Process::start(store, Settings::new()).await;
        assert_eq!(process.rows(&outbox()).len(), 1);
        process.apply(2, Event::Opened).await;
        process.apply(1, Event::Sent(Number(2), vec![1])).await;
        process.until(2, |counter| counter.received == [1]).await;
        process.settle().await;
        assert_eq!(process.rows(&outbox()), []);
    });
}

#[test]
fn a_message_that_has_to_be_tried_again_keeps_its_place() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(2, Event::Opened).await;
        process.apply(1, Event::Sent(Number(2), vec![13, 2])).await;
        process.until_performed(|lines| lines.iter().any(|line| line.effect == Effect::Resume(0))).await;
        process.apply(2, Event::Added(1)).await;
        let receiver = process.until(2, |counter| counter.received.len() == 2).await;
        assert_eq!(receiver.received, [13, 2]);
    });
}

#[test]
fn a_slow_receiver_holds_up_only_its_own_messages() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(2, Event::Opened).await;
        process.apply(3, Event::Opened).await;
        let boom = process.deliver(2, Event::Cursed("a pause".into()));
        process.apply(1, Event::Sent(Number(2), vec![1, 2])).await;
        process.apply(1, Event::Sent(Number(3), vec![3])).await;
        assert!(boom.await.is_err());
        process.until(3, |counter| counter.received == [3]).await;
        process.until(2, |counter| counter.received == [1, 2]).await;
    });
}

#[test]
fn thousands_of_messages_arrive() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        let many = 2_000;
        join_all((0..many).map(|id| process.deliver(id, Event::Added(0)))).await;
        join_all(
            (0..many).map(|id| process.deliver(id, Event::Sent(Number((id + 1) % many), vec![id * 7 + 1]))),
        )
        .await;
        for id in 0..many {
            let receiver = process.until((id + 1) % many, |counter| !counter.received.is_empty()).await;
            assert_eq!(receiver.received, [id * 7 + 1]);
        }
    });
}

#[test]
fn a_message_whose_row_is_gone_was_applied_before_and_is_not_applied_again() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(2, Event::Opened).await;
        process.apply(1, Event::Sent(Number(2), vec![1])).await;
        process.until(2, |counter| counter.received == [1]).await;
        let last = *process.store.appended().borrow();
        // One of them was the row of the message.
        for seq in 1..=last {
            let event = serde_json::to_value(Event::Received(1)).unwrap();
            let fate =
                Dispatch::message(&process.host, &Number(2).to_key(), event, Log::Outbox.key(seq)).await;
            assert_eq!((fate, process.read(2).unwrap().received.as_slice()), (Fate::Done, [1].as_slice()));
        }
    });
}

#[test]
fn only_what_may_yet_succeed_is_tried_again() {
    in_virtual_time(async || {
        let (_, process) = Process::on_memory().await;
        process.apply(2, Event::Opened).await;
        let tick = |id: u64| Dispatch::tick(&process.host, &Number(id).to_key());
        let message = |event: Event| {
            let event = serde_json::to_value(event).unwrap();
            Dispatch::message(&process.host, &Number(2).to_key(), event, Log::Outbox.key(1))
        };
        assert_eq!(message(Event::Refused).await, Fate::Done);
        assert_eq!((tick(2).await, tick(9).await), (Fate::Done, Fate::Missing));
        assert_eq!(message(Event::Cursed("a bad rule".into())).await, Fate::Retry);
        let unknown =
            Dispatch::message(&process.host, &Number(2).to_key(), "nonsense".into(), Log::Outbox.key(1));
        assert_eq!(unknown.await, Fate::Missing);
    });
}

/// Every commit of the way from the sender to the receivers is the last one before the process dies, in every
/// way in which it may die; afterwards each message has been applied exactly once.
#[test]
fn a_message_is_applied_once_wherever_the_process_dies() {
    in_virtual_time(async || {
        let eio = || dogwatch_actors::store::Error::Failed("eio".into());
        let faults: [fn() -> Fault; 2] = [|| Fault::Freeze, || Fault::KeepThenFreeze];
        let more: [Box<dyn Fn() -> Fault>; 2] =
            [Box::new(move || Fault::Fail(eio())), Box::new(move || Fault::FailButKeep(eio()))];
        let faults = faults.into_iter().map(|fault| Box::new(fault) as Box<dyn Fn() -> Fault>).chain(more);
        for fault in faults {
            for nth in 1..=6 {
                let (store, process) = Process::on_memory().await;
                process.apply(1, Event::Opened).await;
                process.apply(2, Event::Opened).await;
                process.apply(3, Event::Opened).await;
                store.inject(nth, fault());
                let sent = process.deliver(1, Event::Sent(Number(2), vec![1, 7, 2]));
                let told = process.deliver(1, Event::Sent(Number(3), vec![3]));
                process.settle().await;
                drop((sent, told));
                let store: Arc<MemoryStore> = Arc::new(store.crash());
                drop(process);
                let process = Process::start(store, Settings::new()).await;
                // What was sent is what the sender's state says; the client repeats what was not.
                if process.read(1).is_some_and(|sender| sender.revision < 2) {
                    process.apply(1, Event::Sent(Number(2), vec![1, 7, 2])).await;
                }
                if process.read(1).is_some_and(|sender| sender.revision < 3) {
                    process.apply(1, Event::Sent(Number(3), vec![3])).await;
                }
                let one = process.until(2, |counter| counter.received.len() >= 2).await;
                let other = process.until(3, |counter| !counter.received.is_empty()).await;
                process.settle().await;
                assert_eq!(
                    (one.received.as_slice(), other.received.as_slice()),
                    ([1, 2].as_slice(), [3].as_slice())
                );
                assert_eq!(process.rows(&outbox()), [], "{nth}");
            }
        }
    });
}
