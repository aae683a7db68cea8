//! Where new machines live: by chance while there is little to do, else where somebody asked for them.

use std::sync::Arc;
use std::thread::{self, ThreadId};

use actix::{Arbiter, ArbiterHandle};
use dogwatch_actors::limits::DELIVERIES_SPREAD_MAX;
use dogwatch_actors::store::memory::MemoryStore;
use tokio::sync::oneshot;

use super::bench::{Process, Settings, in_real_time};
use super::counter::{Event, Number};

/// Machines that are opened one after the other, from this number on.
const NEW_FROM: u64 = 10_000;

/// How many.
const NEW: u64 = 200;

async fn on<T: Send + 'static>(arbiter: &ArbiterHandle, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = oneshot::channel();
    arbiter.spawn_fn(move || drop(sender.send(work())));
    receiver.await.expect("the thread is there")
}

#[test]
fn under_load_a_new_machine_lives_where_it_is_asked_for() {
    in_real_time(async || {
        let arbiters = [Arbiter::new(), Arbiter::new()];
        let handles: Vec<ArbiterHandle> = arbiters.iter().map(Arbiter::handle).collect();
        let process = Process::start_on(&handles, Arc::new(MemoryStore::new()), Settings::new()).await;
        let host = process.host.clone();
        // Of a hundred some thirty are this thread's, and wait until it is done here.
        let (here, ids, answers) = on(&handles[1], move || {
            let busy: Vec<_> =
                (0..100).map(|id| host.create(Number(id), Event::Opened, <_>::default())).collect();
            assert!(host.in_flight() >= DELIVERIES_SPREAD_MAX * 2);
            let mut next = NEW_FROM;
            let mut make = || {
                next += 1;
                Number(next)
            };
            let ids: Vec<Number> = (0..NEW).map(|_| host.fresh(&mut make)).collect();
            let opened = ids.iter().map(|id| host.create(*id, Event::Opened, <_>::default()));
            let answers: Vec<_> = busy.into_iter().chain(opened).collect();
            (thread::current().id(), ids, answers)
        })
        .await;
        for answer in answers {
            answer.await.unwrap();
        }
        // An answer goes out before what follows from the event is performed.
        process.until_performed(|lines| lines.len() >= 100 + ids.len()).await;
        let threads = process.journal.threads.lock().clone();
        let at = |here: ThreadId| ids.iter().filter(|id| threads[&id.0] == here).count();
        assert!(at(here) > ids.len() * 9 / 10, "{} of {}", at(here), ids.len());
        for arbiter in arbiters {
            arbiter.stop();
        }
    });
}

#[test]
fn without_load_and_from_elsewhere_it_is_left_to_chance() {
    in_real_time(async || {
        let arbiters = [Arbiter::new(), Arbiter::new()];
        let handles: Vec<ArbiterHandle> = arbiters.iter().map(Arbiter::handle).collect();
        let process = Process::start_on(&handles, Arc::new(MemoryStore::new()), Settings::new()).await;
        let host = process.host.clone();
        let alone = on(&handles[0], move || {
            let mut made = 0..;
            (0..NEW).map(|_| host.fresh(|| Number(made.next().unwrap_or(u64::MAX)))).collect::<Vec<_>>()
        })
        .await;
        assert_eq!(alone, (0..NEW).map(Number).collect::<Vec<_>>(), "the first that is made");
        // Both threads stand still, so that what is delivered stays under way.
        let (go, gates): (Vec<_>, Vec<_>) = handles.iter().map(|_| std::sync::mpsc::channel::<()>()).unzip();
        for (handle, gate) in handles.iter().zip(gates) {
            handle.spawn_fn(move || assert!(gate.recv().is_err(), "it is closed in the end"));
        }
        let busy: Vec<_> = (0..100).map(|id| process.deliver(id, Event::Opened)).collect();
        assert!(process.host.in_flight() >= DELIVERIES_SPREAD_MAX * 2);
        let mut made = 0..;
        let foreign: Vec<_> =
            (0..NEW).map(|_| process.host.fresh(|| Number(made.next().unwrap_or(u64::MAX)))).collect();
        assert_eq!(foreign, (0..NEW).map(Number).collect::<Vec<_>>(), "there are none on this thread");
        drop(go);
        for answer in busy {
            answer.await.unwrap();
        }
        for arbiter in arbiters {
            arbiter.stop();
        }
    });
}
