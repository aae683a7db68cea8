//! `docker run --rm`: a container by hand, with nothing durable and nobody who watches it.

use crate::error::Result;
use crate::figure::{Figure, Unit};
use crate::floor_engine::{BareEngine, IMAGE};
use crate::floor_spawn;
use crate::plan::Plan;

pub(super) async fn measure(plan: &Plan) -> Result<Vec<Figure>> {
    // Whether there is an engine, with the image.
    BareEngine::connect().await?;
    let count = plan.pick(8, 24, 48);
    let mut figures = Vec::new();
    for parallelism in [1, 4, 8] {
        let run = |_| floor_spawn::rate("docker", &["run", "--rm", IMAGE, "true"], count, parallelism);
        let runs = (0..plan.runs).map(run).collect::<Result<_>>()?;
        let what = format!("docker run --rm: containers, {parallelism} at a time");
        figures.push(Figure::new(super::NAME, what, Unit::PerSecond, runs));
    }
    Ok(figures)
}
