//! Durable commits per second and their latency, for each database, beside what the disk itself allows: a bare
//! append and `fdatasync` with the same grouping.
//!
//! `cargo bench -p dogwatch-actors --bench store`; the directory is `$TMPDIR`, which must be on the disk in
//! question (on a tmpfs a sync costs nothing).

use std::cell::RefCell;
use std::fs::File;
use std::future::Future;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::limits;
use dogwatch_actors::store::{self, Batch, Kind, Store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

const RECORD_BYTES: usize = 500;
const ROWS: u64 = 100_000;
const SPAN: Duration = Duration::from_secs(4);
const WRITERS: [usize; 2] = [1, 64];

/// What can make a record durable.
trait Target {
    fn commit(&self, key: u64) -> impl Future<Output = ()>;
}

/// The floor: one thread appends all that waits to a file and syncs it.
struct Append(mpsc::Sender<(Vec<u8>, oneshot::Sender<()>)>);

impl Append {
    fn start(mut file: File) -> Self {
        let (queue, mut requests) =
            mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>(limits::COMMITS_QUEUED_MAX);
        std::thread::spawn(move || {
            while let Some((mut bytes, answer)) = requests.blocking_recv() {
                let mut answers = vec![answer];
                while answers.len() < limits::COMMIT_GROUP_MAX {
                    let Ok((more, answer)) = requests.try_recv() else { break };
                    bytes.extend(more);
                    answers.push(answer);
                }
                file.write_all(&bytes).expect("the disk takes it");
                file.sync_data().expect("the disk syncs");
                answers.into_iter().for_each(|answer| answer.send(()).expect("the writer waits"));
            }
        });
        Self(queue)
    }
}

impl Target for Append {
    async fn commit(&self, key: u64) {
        let (answer, answered) = oneshot::channel();
        let mut record = key.to_be_bytes().to_vec();
        record.resize(RECORD_BYTES, 7);
        self.0.try_send((record, answer)).expect("the queue has room for every writer");
        answered.await.expect("the thread answers");
    }
}

impl Target for Arc<dyn Store> {
    async fn commit(&self, key: u64) {
        let mut batch = Batch::new();
        batch.put(format!("j/{key:08}"), vec![7; RECORD_BYTES]);
        Store::commit(self.as_ref(), batch).await.expect("commits");
    }
}

fn main() {
    println!(
        "{:8} {:>8} {:>12} {:>10} {:>10}   ({RECORD_BYTES}-byte records, {ROWS} keys, {SPAN:?} each)",
        "store", "writers", "acks/s", "p50 ms", "p99 ms"
    );
    for writers in WRITERS {
        let dir = tempfile::tempdir().expect("a directory");
        let file = File::create(dir.path().join("log")).expect("a file");
        report("append", writers, Append::start(file));
        for kind in Kind::ALL {
            let dir = tempfile::tempdir().expect("a directory");
            let store = store::open(dir.path(), kind).expect("opens");
            fill(&store);
            report(kind.name(), writers, Arc::clone(&store));
            store.close();
            let start = Instant::now();
            drop(store::open(dir.path(), kind).expect("opens"));
            println!("{:8} opens again in {:.0} ms", kind.name(), start.elapsed().as_secs_f64() * 1e3);
        }
    }
}

fn fill(store: &Arc<dyn Store>) {
    for start in (0..ROWS).step_by(5_000) {
        let mut batch = Batch::new();
        for key in start..start + 5_000 {
            batch.put(format!("j/{key:08}"), vec![0; RECORD_BYTES]);
        }
        store::conformance::wait(Store::commit(store.as_ref(), batch)).expect("commits");
    }
}

fn report(name: &str, writers: usize, target: impl Target + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let latencies = Rc::new(RefCell::new(Vec::new()));
    let start = Instant::now();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let target = Rc::new(target);
        let tasks: Vec<_> = (0..writers)
            .map(|writer| {
                let (target, latencies) = (Rc::clone(&target), Rc::clone(&latencies));
                tokio::task::spawn_local(async move {
                    // A multiplicative walk: every writer touches keys all over the range.
                    let mut key = writer as u64;
                    while start.elapsed() < SPAN {
                        key = key
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        let asked = Instant::now();
                        target.commit((key >> 33) % ROWS).await;
                        latencies.borrow_mut().push(asked.elapsed());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("a writer panicked");
        }
    });
    let elapsed = start.elapsed().as_secs_f64();
    let mut latencies = latencies.take();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{name:8} {writers:>8} {:>12.0} {:>10.2} {:>10.2}",
        latencies.len() as f64 / elapsed,
        at(0.5),
        at(0.99)
    );
}
