//! The times of schedules where clocks are changed: by table, and against a model that looks at every minute.

use std::collections::BTreeSet;

use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp as Moment};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;

use super::super::plan::Plan;
use super::super::spec::Spec;
use crate::clock::Timestamp;

fn plan(zone: &str, cron: &str, more: serde_json::Value) -> Plan {
    let mut spec = json!({"cron": cron, "time_zone": zone});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let spec: Spec = serde_json::from_value(spec).unwrap();
    Plan::of("nightly", &spec).unwrap_or_else(|error| panic!("{zone} {cron}: {error}"))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The times behind `from` and up to `to`; those that are found backwards are the same.
fn between(plan: &Plan, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let times = std::iter::successors(plan.next_after(from), |at| plan.next_after(*at));
    let times: Vec<Timestamp> = times.take_while(|at| *at <= to).collect();
    let before = |at: Timestamp| Timestamp::from_millis(at.as_millis() - 1);
    let back = std::iter::successors(plan.last_until(to), |at| plan.last_until(before(*at)));
    let mut back: Vec<Timestamp> = back.take_while(|at| *at > from).collect();
    back.reverse();
    assert_eq!(times, back, "forwards and backwards");
    times
}

/// Zone, expression, from when and up to when, and the days and times that fire, in UTC.
const CHANGES: [(&str, &str, &str, &str, &str); 19] = [
    // Berlin goes from 2:00 to 3:00 at 1:00 UTC, and back from 3:00 to 2:00 at 1:00 UTC.
    ("Europe/Berlin", "30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", "29T01:00 30T00:30"),
    ("Europe/Berlin", "10,20,30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", "29T01:00"),
    ("Europe/Berlin", "0 2,3 * * *", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", "29T01:00"),
    (
        "Europe/Berlin",
        "0 * * * *",
        "2026-03-28T23:30:00Z",
        "2026-03-29T02:00:00Z",
        "29T00:00 29T01:00 29T02:00",
    ),
    ("Europe/Berlin", "15 */2 * * *", "2026-03-28T23:00:00Z", "2026-03-29T03:00:00Z", "28T23:15 29T02:15"),
    ("Europe/Berlin", "*/30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T00:10:00Z", "30T00:00"),
    ("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", "25T00:30 26T01:30"),
    ("Europe/Berlin", "0 2,3 * * *", "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", "25T00:00 25T02:00"),
    (
        "Europe/Berlin",
        "*/30 * * * *",
        "2026-10-25T00:10:00Z",
        "2026-10-25T02:00:00Z",
        "25T00:30 25T01:00 25T01:30 25T02:00",
    ),
    ("Europe/Berlin", "30 * * * *", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", "25T00:30 25T01:30"),
    ("America/New_York", "30 2 * * *", "2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z", "08T07:00 09T06:30"),
    ("America/New_York", "30 1 * * *", "2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z", "01T05:30 02T06:30"),
    // Half an hour.
    (
        "Australia/Lord_Howe",
        "15 2 * * *",
        "2026-10-03T00:00:00Z",
        "2026-10-04T16:00:00Z",
        "03T15:30 04T15:15",
    ),
    (
        "Australia/Lord_Howe",
        "45 1 * * *",
        "2026-04-04T00:00:00Z",
        "2026-04-05T16:00:00Z",
        "04T14:45 05T15:15",
    ),
    (
        "Australia/Lord_Howe",
        "45 * * * *",
        "2026-04-04T14:00:00Z",
        "2026-04-04T16:00:00Z",
        "04T14:45 04T15:15",
    ),
    ("Asia/Kathmandu", "0 0 * * *", "2026-10-03T00:00:00Z", "2026-10-04T00:00:00Z", "03T18:15"),
    // 2011-12-30 did not exist.
    (
        "Pacific/Apia",
        "0 12 * * *",
        "2011-12-29T00:00:00Z",
        "2011-12-31T12:00:00Z",
        "29T22:00 30T10:00 30T22:00",
    ),
    (
        "Pacific/Apia",
        "0 */12 * * *",
        "2011-12-29T00:00:00Z",
        "2011-12-31T00:00:00Z",
        "29T10:00 29T22:00 30T10:00 30T22:00",
    ),
    ("Pacific/Apia", "0 12 30 12 *", "2011-12-29T00:00:00Z", "2011-12-31T12:00:00Z", "30T10:00"),
];

#[test]
fn a_time_of_day_that_is_skipped_or_comes_twice_fires_once_and_a_rhythm_goes_on() {
    for (zone, cron, from, to, expected) in CHANGES {
        let times = between(&plan(zone, cron, json!({})), at(from), at(to));
        let times: Vec<String> = times.iter().map(|at| at.to_string()[8..16].to_owned()).collect();
        assert_eq!(times.join(" "), expected, "{zone} {cron} from {from} to {to}");
    }
}

#[test]
fn intervals_bounds_and_words_are_as_they_read() {
    let none = json!({});
    let bounded = json!({"start_at": "2026-01-01T00:00:10Z", "end_at": "2026-01-01T00:04:40Z"});
    for (cron, more, from, to, expected) in [
        ("@every 90s", &none, "2026-01-01T00:00:00Z", "2026-01-01T00:04:30Z", "00:01:30 00:03:00 00:04:30"),
        (
            "@every 90s",
            &bounded,
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z",
            "00:00:10 00:01:40 00:03:10 00:04:40",
        ),
        (
            "* * * * *",
            &bounded,
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z",
            "00:01:00 00:02:00 00:03:00 00:04:00",
        ),
        ("@hourly", &none, "2026-01-01T00:00:00Z", "2026-01-01T02:00:00Z", "01:00:00 02:00:00"),
        ("@daily", &none, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "00:00:00"),
        ("@monthly", &none, "2026-01-02T00:00:00Z", "2026-02-02T00:00:00Z", "00:00:00"),
        (
            "*/25 0 0 1 1 *",
            &json!({"seconds": true}),
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z",
            "00:00:25 00:00:50",
        ),
    ] {
        let times = between(&plan("UTC", cron, more.clone()), at(from), at(to));
        let times: Vec<String> = times.iter().map(|at| at.to_string()[11..19].to_owned()).collect();
        assert_eq!(times.join(" "), expected, "{cron} {more}");
    }
    let every = plan("UTC", "@every 90s", bounded);
    assert_eq!(every.count(at("2026-01-01T00:00:10Z"), at("2026-01-01T00:03:10Z")), Some(2));
    assert_eq!(every.count(at("2025-01-01T00:00:10Z"), at("2026-01-01T00:03:10Z")), Some(3));
}

#[test]
fn jitter_is_the_same_for_the_same_time_and_never_reaches_the_next_one() {
    let jittered = plan("UTC", "* * * * *", json!({"jitter": "10m"}));
    let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T12:00:00Z"));
    let mut last = from;
    let mut seen = BTreeSet::new();
    for time in between(&jittered, from, to) {
        let due = jittered.due_at(time);
        assert_eq!(due, jittered.due_at(time));
        assert!(time <= due && due.since(time).as_secs() < 60, "{time} {due}");
        assert!(due > last, "in order");
        last = due;
        seen.insert(due.since(time));
    }
    assert!(seen.len() > 600, "it is spread: {}", seen.len());
    let spec: Spec = serde_json::from_value(json!({"cron": "0 2 * * *", "jitter": "10m"})).unwrap();
    let time = at("2026-01-01T02:00:00Z");
    let of = |name: &str| Plan::of(name, &spec).unwrap().due_at(time);
    assert_ne!(of("one"), of("other"), "schedules do not all fire at once");
    assert!((0..100).all(|number| of(&number.to_string()).since(time).as_secs() < 600));
}

/// A field of a cron expression, and what it means.
#[derive(Debug, Clone)]
struct Field {
    text: String,
    means: BTreeSet<i8>,
}

impl Field {
    fn is_star(&self) -> bool {
        self.text.starts_with('*')
    }
}

fn field(min: i8, max: i8) -> impl Strategy<Value = Field> {
    let step = (1..=max / 2 + 1).prop_map(move |step| Field {
        text: format!("*/{step}"),
        means: (min..=max).step_by(usize::try_from(step).unwrap()).collect(),
    });
    let list = proptest::collection::btree_set(min..=max, 1..4).prop_map(|means| Field {
        text: means.iter().map(i8::to_string).collect::<Vec<_>>().join(","),
        means,
    });
    let range = (min..=max, min..=max).prop_map(|(one, other)| Field {
        text: format!("{}-{}", one.min(other), one.max(other)),
        means: (one.min(other)..=one.max(other)).collect(),
    });
    let star = Just(Field { text: "*".to_owned(), means: (min..=max).collect() });
    prop_oneof![3 => star, 2 => step, 4 => list, 1 => range]
}

/// Minute, hour, day of the month, month, day of the week.
type Fields = (Field, Field, Field, Field, Field);

fn fields() -> impl Strategy<Value = Fields> {
    // Around the hours at which clocks are changed there shall be many.
    let hour = prop_oneof![
        1 => field(0, 23).boxed(),
        1 => field(0, 4).prop_filter("a star means all hours", |field| !field.is_star()).boxed(),
    ];
    // Nearly every day shall be one.
    let rarely = |min: i8, max: i8| {
        let star = Just(Field { text: "*".to_owned(), means: (min..=max).collect() });
        prop_oneof![8 => star.boxed(), 1 => field(min, max).boxed()]
    };
    (field(0, 59), hour, rarely(1, 31), rarely(1, 12), rarely(0, 6))
}

fn means((minute, hour, day, month, weekday): &Fields, local: DateTime) -> bool {
    let is_day = day.means.contains(&local.day());
    let is_weekday = weekday.means.contains(&local.date().weekday().to_sunday_zero_offset());
    let is_date = match (day.is_star(), weekday.is_star()) {
        (false, false) => is_day || is_weekday,
        _ => is_day && is_weekday,
    };
    let is_time = minute.means.contains(&local.minute()) && hour.means.contains(&local.hour());
    is_date && is_time && month.means.contains(&local.month())
}

/// Looks at every minute and at what the clock on the wall showed a minute before.
fn model(fields: &Fields, zone: &TimeZone, from: Moment, to: Moment) -> Vec<Timestamp> {
    let minute = SignedDuration::from_mins(1);
    let is_rhythm = fields.0.is_star() || fields.1.is_star();
    // What the clock showed on the day before has been shown.
    let mut at = from - SignedDuration::from_hours(26);
    let mut shown: BTreeSet<DateTime> = BTreeSet::new();
    let mut last = zone.to_datetime(at - minute);
    let mut fires = vec![];
    while at <= to {
        let local = zone.to_datetime(at);
        let is_new = shown.insert(local);
        let mut fits = means(fields, local) && (is_rhythm || is_new);
        let mut skipped = last.checked_add(minute).unwrap();
        while !is_rhythm && skipped < local {
            fits |= shown.insert(skipped) && means(fields, skipped);
            skipped = skipped.checked_add(minute).unwrap();
        }
        if fits && at > from {
            fires.push(Timestamp::from_millis(at.as_millisecond()));
        }
        (last, at) = (local, at + minute);
    }
    fires
}

#[test]
fn in_every_zone_the_times_are_those_of_a_model_that_looks_at_every_minute() {
    let worlds = [
        ("Europe/Berlin", "2026-03-28T00:00:00Z"),
        ("Europe/Berlin", "2026-10-24T00:00:00Z"),
        ("America/New_York", "2026-03-07T00:00:00Z"),
        ("America/New_York", "2026-10-31T00:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-03T12:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-02T12:00:00Z"),
        ("Asia/Kathmandu", "2026-06-30T00:00:00Z"),
        ("Africa/Casablanca", "2026-02-14T00:00:00Z"),
        ("Africa/Casablanca", "2026-03-21T00:00:00Z"),
        ("Pacific/Apia", "2011-12-29T00:00:00Z"),
        // Clocks are changed at midnight.
        ("Africa/Cairo", "2026-04-23T00:00:00Z"),
        ("America/Sao_Paulo", "2018-11-03T00:00:00Z"),
        ("America/Sao_Paulo", "2018-02-17T00:00:00Z"),
        ("UTC", "2026-12-30T00:00:00Z"),
    ];
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]);
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let mut found = 0;
    for (name, start) in worlds {
        let zone = TimeZoneDatabase::bundled().get(name).unwrap();
        let from: Moment = start.parse().unwrap();
        let to = from + SignedDuration::from_hours(42);
        let counted = std::cell::Cell::new(0);
        // A runner runs so many cases in all.
        let mut runner = TestRunner::new_with_rng(config.clone(), rng.clone());
        let tried = runner.run(&fields(), |fields| {
            let (minute, hour, day, month, weekday) = &fields;
            let texts = [minute, hour, day, month, weekday].map(|field| field.text.as_str());
            let plan = plan(name, &texts.join(" "), json!({}));
            let expected = model(&fields, &zone, from, to);
            let bounds = [from, to].map(|at| Timestamp::from_millis(at.as_millisecond()));
            prop_assert_eq!(&between(&plan, bounds[0], bounds[1]), &expected, "{} {:?}", name, texts);
            counted.set(counted.get() + expected.len());
            Ok(())
        });
        tried.unwrap();
        found += counted.get();
    }
    assert!(found > 1_000, "only {found} times were compared");
}
