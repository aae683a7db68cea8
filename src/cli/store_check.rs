//! `doctor --store`: whether everything that is stored is whole. By the server when one runs, else directly.

use dogwatch_actors::data_dir::lock::{self, DirLock};
use dogwatch_actors::examine::{self, Report};
use dogwatch_actors::store;

use super::context::Context;
use super::exit::Exit;
use super::output::{Colour, escape};
use super::{Error, output};
use crate::serve;

pub(super) async fn run(context: &Context) -> Result<Exit, Error> {
    context.start_log(true)?;
    let report = if is_served(context)? {
        context.client()?.examine_store().await?.value
    } else {
        let dir = context.loaded.data_dir();
        if !dir.is_dir() {
            return Err(Error::NoStore(dir.to_owned()));
        }
        let _lock = DirLock::take(dir).await.map_err(serve::Error::from)?;
        let store = dir.join("store");
        let looked = tokio::task::spawn_blocking(move || examine::offline(&store)).await;
        let report = looked.map_err(|error| Error::Output(error.into()))?.map_err(serve::Error::from)?;
        report.ok_or_else(|| Error::NoStore(dir.to_owned()))?
    };
    if context.json {
        output::data(&serde_json::to_string_pretty(&report).expect("a report is JSON"))?;
    } else {
        print(context, &report)?;
    }
    Ok(if report.ok { Exit::OK } else { Exit::NOT_WELL })
}

/// Whether a server has the store: the one that was named, or the one on the data directory.
pub(super) fn is_served(context: &Context) -> Result<bool, Error> {
    let dir = context.loaded.data_dir();
    if context.locator.is_named() || !dir.is_dir() {
        return Ok(context.locator.is_named());
    }
    // Before the lock is written: what a newer version left stays as it is.
    if let Err(error @ store::Error::NewerFormat { .. }) = store::check_format(&dir.join("store")) {
        return Err(serve::Error::from(error).into());
    }
    match DirLock::try_take(dir) {
        Ok(_) => Ok(false),
        Err(lock::Error::Held { .. }) => Ok(true),
        Err(error) => Err(serve::Error::from(error).into()),
    }
}

/// Shows what is in a store, and what is missing or broken.
pub(super) fn print(context: &Context, report: &Report) -> Result<(), Error> {
    let records = &report.records;
    let kind = report.kind.as_deref().map_or_else(String::new, |kind| format!("{kind}, "));
    let format = report.format.map_or_else(String::new, |format| format!("format {format}"));
    let bytes = report.bytes.map_or_else(String::new, |bytes| format!(", {} KiB", bytes >> 10));
    output::data(&format!("store      {kind}{format}{bytes}"))?;
    output::data(&format!(
        "records    {} jobs, {} history entries, {} webhooks, {} timers, {} idempotency keys, {} callbacks, {} \
         index rows, {} events, {} messages",
        records.jobs,
        records.history,
        records.webhooks,
        records.timers,
        records.claims,
        records.digests,
        records.index,
        records.events,
        records.messages
    ))?;
    output::data(&format!("sequence   {}", report.last_sequence))?;
    if let Some(groups) = report.groups {
        let acknowledged =
            report.acknowledged_groups.map_or_else(|| "?".to_owned(), |number| number.to_string());
        output::data(&format!("commits    {groups} groups, at least {acknowledged} acknowledged"))?;
    }
    for fault in &report.faults {
        let word = context.paint.paint(Colour::Red, "fault");
        let job = fault.job.as_deref().map_or_else(String::new, |job| format!("job {job}: "));
        output::data(&format!("{word}      {job}{}", escape(&fault.message)))?;
    }
    let left_out = report.faults_found.saturating_sub(report.faults.len() as u64);
    if left_out > 0 {
        output::data(&format!("           and {left_out} more"))?;
    }
    if report.ok {
        let word = context.paint.paint(Colour::Green, "ok");
        output::data(&format!("{word}         everything that is there fits together"))
    } else {
        output::data("           restore a backup into a new directory with `dogwatch restore`")
    }
}
