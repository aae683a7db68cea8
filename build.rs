//! Generates the messages and the service of the Durable Task protocol from its files.

use std::error::Error;

const FOLDER: &str = "src/durable_task/proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={FOLDER}");
    let files = protox::compile(["service.proto"], [FOLDER])?;
    tonic_prost_build::configure()
        // A message is as large as the largest of what it may be: most of them are small.
        .boxed("HistoryEvent.eventType.executionStarted")
        .boxed("HistoryEvent.eventType.executionRewound")
        .boxed("HistoryEvent.eventType.historyState")
        .compile_fds(files)?;
    Ok(())
}
