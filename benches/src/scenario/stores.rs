//! The stores beside each other on the same work: commits of 500-byte records, submissions over REST, and jobs that
//! cost nothing; and all of them beside a bare append + fdatasync with the same grouping.

use std::sync::Arc;
use std::time::Duration;

use dogwatch_actors::store::{self, Batch, Kind, Store};
use futures_util::future::try_join_all;
use tokio::time::Instant;

use crate::error::Result;
use crate::figure::{Figure, Unit};
use crate::floor_append::Append;
use crate::load::quantile;
use crate::plan::Plan;
use crate::server::Server;
use crate::workload::{far_ahead, ghost, sized, submit_all};

const NAME: &str = "stores";

/// The length of a record in bytes.
const RECORD_BYTES: usize = 500;

/// Tasks that commit one record after the other.
const WRITERS: [usize; 2] = [64, 1_024];

/// How long the jobs may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What makes a record durable.
enum Target {
    Bare(Append),
    Stored(Arc<dyn Store>),
}

impl Target {
    async fn commit(&self, number: u64) -> Result<()> {
        let key = format!("bench/{number:016x}");
        let mut record = key.clone().into_bytes();
        record.resize(RECORD_BYTES, 7);
        match self {
            Self::Bare(append) => append.commit(record).await,
            Self::Stored(store) => {
                let mut batch = Batch::new();
                batch.put(key, record);
                store.commit(batch).await?;
                Ok(())
            }
        }
    }
}

pub(crate) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    let records = plan.pick(40_000, 200_000, 200_000);
    let mut figures = Vec::new();
    for writers in WRITERS {
        let (mut bare, mut bare_p99) = (Vec::new(), Vec::new());
        let mut found = Kind::ALL.map(|kind| (kind, Vec::new(), Vec::new()));
        for _ in 0..plan.runs {
            let place = plan.place(NAME)?;
            let append = Target::Bare(Append::start(&place.path().join("append"))?);
            let (rate, p99) = commits(&append, writers, records).await?;
            bare.push(rate);
            bare_p99.push(p99);
            for (kind, rates, p99s) in &mut found {
                let place = plan.place(NAME)?;
                let store = store::open(place.path(), *kind)?;
                let (rate, p99) = commits(&Target::Stored(Arc::clone(&store)), writers, records).await?;
                rates.push(rate);
                p99s.push(p99);
                store.close();
            }
        }
        for (kind, rates, p99s) in found {
            let what = |text: &str| format!("{}: {text}, {writers} writers", kind.name());
            let floor = "bare append + fdatasync";
            figures
                .push(Figure::new(NAME, what("commits"), Unit::PerSecond, rates).over(floor, bare.clone()));
            figures.push(Figure::new(NAME, what("p99"), Unit::Millis, p99s).over(floor, bare_p99.clone()));
        }
    }
    for kind in Kind::ALL {
        figures.extend(served(plan, kind).await?);
    }
    Ok(figures)
}

/// Commits per second and their 99th percentile in milliseconds.
async fn commits(target: &Target, writers: usize, records: u64) -> Result<(f64, f64)> {
    let share = records / writers as u64;
    let writer = async |number: u64| {
        let mut latencies = Vec::with_capacity(share as usize);
        for record in number * share..(number + 1) * share {
            let sent = Instant::now();
            target.commit(record).await?;
            latencies.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
        Ok::<_, crate::error::Error>(latencies)
    };
    let started = Instant::now();
    let mut latencies = try_join_all((0..writers as u64).map(writer)).await?.concat();
    let took = started.elapsed();
    latencies.sort_unstable();
    Ok((latencies.len() as f64 / took.as_secs_f64(), quantile(&latencies, 0.99) / 1e3))
}

/// The whole server on this store.
async fn served(plan: &Plan, kind: Kind) -> Result<Vec<Figure>> {
    let (submissions, jobs) = plan.pick((10_000, 2_000), (50_000, 20_000), (50_000, 20_000));
    let mut runs: [Vec<f64>; 5] = Default::default();
    for _ in 0..plan.runs {
        let place = plan.place(NAME)?;
        let program = plan.host(256).arg("--store").arg(kind.name());
        let mut server = Server::start(&program, place.path()).await?;
        let started = Instant::now();
        submit_all(&server, &sized(ghost(Some(0))), jobs).await?;
        server.all_over(PATIENCE).await?;
        let churned = jobs as f64 / started.elapsed().as_secs_f64();
        let (tally, _) = submit_all(&server, &far_ahead(crate::ghost::NAME), submissions).await?;
        let resident = server.usage().resident_mebibytes;
        server.end().await?;
        let bytes = place.bytes() as f64 / (submissions + jobs) as f64;
        for (values, value) in
            runs.iter_mut().zip([tally.rate(), tally.quantile(0.99), churned, resident, bytes])
        {
            values.push(value);
        }
    }
    let [rates, p99, churned, resident, bytes] = runs;
    let figure = |text: &str, unit, runs| Figure::new(NAME, format!("{}: {text}", kind.name()), unit, runs);
    Ok(vec![
        figure("submissions over REST", Unit::PerSecond, rates),
        figure("submissions p99", Unit::Millis, p99),
        figure("jobs that cost nothing, submit to exit", Unit::PerSecond, churned),
        figure("resident after it", Unit::Mebibytes, resident),
        figure("disk per job", Unit::Bytes, bytes),
    ])
}
