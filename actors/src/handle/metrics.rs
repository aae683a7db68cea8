//! The supervisor in numbers, as Prometheus text. No label has an unbounded number of values.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Handle;
use crate::durable::Machine as _;
use crate::fleet::FleetView;
use crate::orchestration::executor::Remote;
use crate::orchestration::executor::remote::Kind;
use crate::queue::QueueView;
use crate::schedule::Schedule;
use crate::trigger::Trigger;

/// A number that only rises.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the handle counts.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) submitted: Counter,
    pub(super) callbacks: Counter,
    pub(super) orchestrations: Counter,
}

struct Text(String);

impl Text {
    fn metric(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        writeln!(self.0, "dogwatch_{name} {value}").expect("a string takes every write");
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP dogwatch_{name} {help}\n# TYPE dogwatch_{name} {kind}")
            .expect("a string takes every write");
    }

    fn queues(&mut self, queues: &[QueueView]) {
        type Figure = fn(&QueueView) -> u64;
        self.head("queue_messages", "gauge", "Messages of a queue by where they stand.");
        let standings: [(&str, Figure); 4] = [
            ("ready", |queue| queue.ready),
            ("leased", |queue| queue.leased),
            ("delayed", |queue| queue.delayed),
            ("dead", |queue| queue.dead),
        ];
        for queue in queues {
            for (state, figure) in standings {
                let (name, count) = (&queue.name, figure(queue));
                writeln!(self.0, "dogwatch_queue_messages{{queue=\"{name}\",state=\"{state}\"}} {count}")
                    .expect("a string takes every write");
            }
        }
        let figures: [(&str, &str, &str, Figure); 7] = [
            (
                "queue_oldest_age_seconds",
                "gauge",
                "How long the oldest message that nobody has waits.",
                |queue| queue.oldest_age_seconds,
            ),
            ("queue_sent_total", "counter", "Messages ever sent to a queue.", |queue| queue.sent_total),
            ("queue_delivered_total", "counter", "Messages ever delivered to workers.", |queue| {
                queue.delivered_total
            }),
            ("queue_acknowledged_total", "counter", "Messages ever acknowledged.", |queue| {
                queue.acknowledged_total
            }),
            ("queue_returned_total", "counter", "Messages ever given back by workers.", |queue| {
                queue.returned_total
            }),
            ("queue_lease_expired_total", "counter", "Leases that ever ran out.", |queue| {
                queue.lease_expired_total
            }),
            ("queue_dead_lettered_total", "counter", "Messages that ever became dead letters.", |queue| {
                queue.dead_lettered_total
            }),
        ];
        for (name, kind, help, figure) in figures {
            self.head(name, kind, help);
            for queue in queues {
                writeln!(self.0, "dogwatch_{name}{{queue=\"{}\"}} {}", queue.name, figure(queue))
                    .expect("a string takes every write");
            }
        }
    }

    fn fleet(&mut self, fleet: &FleetView) {
        self.metric("attempt_slots", "gauge", "Attempts that may hold a slot.", fleet.slots);
        self.metric("attempt_slots_held", "gauge", "Attempts that hold a slot.", fleet.slots_held);
        self.head("attempts", "gauge", "Attempts by what the fleet knows of them.");
        let states = [
            ("waiting", fleet.waiting),
            ("granted", fleet.granted),
            ("starting", fleet.starting),
            ("running", fleet.running),
            ("unknown", fleet.unknown),
            ("ended", fleet.ended),
            ("removing", fleet.removing),
        ];
        for (state, count) in states {
            writeln!(self.0, "dogwatch_attempts{{state=\"{state}\"}} {count}")
                .expect("a string takes every write");
        }
        self.head("runtime_up", "gauge", "Whether the runtime answered when it was last asked.");
        for (name, runtime) in &fleet.runtimes {
            let up = u8::from(runtime.reachable);
            writeln!(self.0, "dogwatch_runtime_up{{runtime=\"{name}\"}} {up}")
                .expect("a string takes every write");
        }
    }
}

impl Text {
    fn workers(&mut self, remote: &Remote) {
        self.metric(
            "workers_connected",
            "gauge",
            "Workers that wait for work or have some.",
            remote.workers().len(),
        );
        let by_kind = [
            ("work_waiting", "Work that no worker has.", remote.depths()),
            ("work_out", "Work that workers have.", remote.out()),
        ];
        for (name, help, counts) in by_kind {
            self.head(name, "gauge", help);
            for kind in [Kind::Orchestration, Kind::Activity, Kind::Entity] {
                let (label, count) = (kind.name(), counts[kind as usize]);
                writeln!(self.0, "dogwatch_{name}{{kind=\"{label}\"}} {count}")
                    .expect("a string takes every write");
            }
        }
    }

    /// Every schedule has lines of its own; their number is bounded.
    fn schedules(&mut self, schedules: &[Arc<Schedule>]) {
        type Value = fn(&Schedule) -> Option<f64>;
        let of: [(&str, &str, &str, Value); 6] = [
            ("schedule_fires_total", "counter", "Fires that started something.", |it| {
                Some(it.started as f64)
            }),
            ("schedule_skipped_total", "counter", "Fires that started nothing.", |it| {
                Some(it.skipped as f64)
            }),
            ("schedule_missed_total", "counter", "Times missed and not made up for.", |it| {
                Some(it.missed as f64)
            }),
            ("schedule_running", "gauge", "Runs that are not over.", |it| Some(it.running() as f64)),
            ("schedule_queued", "gauge", "Fires that wait for the end of what runs.", |it| {
                Some(it.queued() as f64)
            }),
            ("schedule_next_fire_seconds", "gauge", "When it fires next, in seconds since 1970.", |it| {
                it.deadline().map(|at| at.as_millis() as f64 / 1_000.0)
            }),
        ];
        for (name, kind, help, value) in of {
            self.head(name, kind, help);
            for (schedule, value) in schedules.iter().filter_map(|it| Some((it.id, value(it)?))) {
                writeln!(self.0, "dogwatch_{name}{{schedule=\"{schedule}\"}} {value}")
                    .expect("a string takes every write");
            }
        }
    }
}

impl Text {
    /// Every trigger has lines of its own; their number is bounded.
    fn triggers(&mut self, triggers: &[Arc<Trigger>]) {
        type Figure = fn(&Trigger) -> u64;
        self.head("trigger_items", "gauge", "Items of a trigger by where they stand.");
        let standings: [(&str, Figure); 3] = [
            ("pending", |trigger| trigger.counts.pending),
            ("running", |trigger| trigger.counts.running),
            ("dead", |trigger| trigger.counts.dead),
        ];
        for trigger in triggers {
            for (state, figure) in standings {
                let (name, count) = (trigger.id, figure(trigger));
                writeln!(self.0, "dogwatch_trigger_items{{trigger=\"{name}\",state=\"{state}\"}} {count}")
                    .expect("a string takes every write");
            }
        }
        let figures: [(&str, &str, &str, Figure); 7] = [
            ("trigger_known", "gauge", "Versions of objects that are remembered.", |it| it.counts.known),
            ("trigger_arrived_total", "counter", "Items that ever arrived.", |it| it.totals.arrived),
            ("trigger_started_total", "counter", "Jobs and instances that were ever started.", |it| {
                it.totals.started
            }),
            ("trigger_done_total", "counter", "Items that were ever done.", |it| it.totals.done),
            ("trigger_failed_total", "counter", "Starts that ever came to nothing.", |it| it.totals.failed),
            ("trigger_dead_lettered_total", "counter", "Items that ever became dead letters.", |it| {
                it.totals.dead_lettered
            }),
            ("trigger_source_fault", "gauge", "Whether the source cannot be looked at.", |it| {
                u64::from(it.fault.is_some())
            }),
        ];
        for (name, kind, help, figure) in figures {
            self.head(name, kind, help);
            for trigger in triggers {
                writeln!(self.0, "dogwatch_{name}{{trigger=\"{}\"}} {}", trigger.id, figure(trigger))
                    .expect("a string takes every write");
            }
        }
    }
}

impl Handle {
    /// Prometheus text format 0.0.4.
    pub fn metrics(&self) -> String {
        let inner = self.inner();
        let fleet = inner.fleet.snapshot();
        let mut text = Text(String::with_capacity(4096));
        text.metric(
            "jobs_submitted_total",
            "counter",
            "Jobs accepted since the start.",
            inner.counters.submitted.get(),
        );
        text.metric(
            "callbacks_total",
            "counter",
            "Callbacks answered 2xx since the start.",
            inner.counters.callbacks.get(),
        );
        text.metric(
            "events_total",
            "counter",
            "Sequence number of the newest durable event.",
            *inner.store.appended().borrow(),
        );
        text.metric(
            "requests_in_flight",
            "gauge",
            "Commands, callbacks and submissions being committed.",
            inner.jobs.in_flight(),
        );
        text.metric(
            "jobs_in_memory",
            "gauge",
            "Jobs whose actor is in memory.",
            inner.jobs.published().in_memory(),
        );
        text.metric(
            "orchestrations_started_total",
            "counter",
            "Orchestration instances started by clients since the start.",
            inner.counters.orchestrations.get(),
        );
        text.metric(
            "orchestrations_in_memory",
            "gauge",
            "Orchestration instances whose actor is in memory.",
            inner.orchestrations.published().in_memory(),
        );
        text.metric(
            "entities_in_memory",
            "gauge",
            "Entities whose actor is in memory.",
            inner.entities.published().in_memory(),
        );
        if let Some(remote) = &inner.workers {
            text.workers(remote);
        }
        text.queues(&self.queues().list().unwrap_or_default());
        text.fleet(&fleet);
        // A store that cannot be read says so elsewhere.
        text.schedules(&self.schedules().all().unwrap_or_default());
        text.triggers(&self.triggers().all().unwrap_or_default());
        if let Some(bytes) = inner.store.size_on_disk() {
            text.metric("store_bytes", "gauge", "Bytes of the store on disk.", bytes);
        }
        text.metric("ready", "gauge", "Whether work is accepted.", u8::from(self.unready().is_empty()));
        text.0
    }
}
