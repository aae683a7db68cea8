//! The machine that was measured on.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::child::labelled;
use crate::error::{Result, file};
use crate::figure::median;

/// Syncs that are measured.
const SYNCS: usize = 200;

/// What figures depend on.
pub(crate) fn describe(dir: &Path) -> Result<Value> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let system = read("/etc/os-release");
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let memory = labelled(&read("/proc/meminfo"), "MemTotal:") / 1024.0 / 1024.0;
    let (sync_median, sync_p99) = sync_millis(dir)?;
    Ok(json!({
        "cores": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "cpu": model.map(|(_, name)| name.trim()),
        "memory_gib": (memory * 10.0).round() / 10.0,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "system": system.map(|name| name.trim_matches('"')),
        "rustc": version("rustc"),
        "sync_ms": {"p50": sync_median, "p99": sync_p99},
        "load_before": read("/proc/loadavg").split(' ').next(),
    }))
}

/// The same for people, in one line.
pub(crate) fn line(machine: &Value) -> String {
    let text = |name: &str| machine[name].as_str().unwrap_or("unknown").to_owned();
    format!(
        "{} cores, {}, {} GiB, Linux {}, {}; append 512 bytes + fdatasync: p50 {:.3} ms, p99 {:.3} ms; load before: {}",
        machine["cores"],
        text("cpu"),
        machine["memory_gib"],
        text("kernel"),
        text("rustc"),
        machine["sync_ms"]["p50"].as_f64().unwrap_or(0.0),
        machine["sync_ms"]["p99"].as_f64().unwrap_or(0.0),
        text("load_before"),
    )
}

fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

fn sync_millis(dir: &Path) -> Result<(f64, f64)> {
    let path = dir.join(format!("sync-{}", std::process::id()));
    let mut target = File::create(&path).map_err(file(&path))?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let started = Instant::now();
        target.write_all(&[7; 512]).and_then(|()| target.sync_data()).map_err(file(&path))?;
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(&path).map_err(file(&path))?;
    took.sort_by(f64::total_cmp);
    Ok((median(&took), took[SYNCS * 99 / 100]))
}
