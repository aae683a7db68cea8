//! Admission at work: priorities, fair share, places under keys, rates; as tables, and as lives with crashes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::admission::{Claim, Concurrency, Hindrance, KeyRule, OnConflict, Rate, TenantRule};
use crate::units::Span;

const HOUR: i64 = 3_600_000;

pub(super) fn rules(tenants: &[(&str, u32, Option<u32>)]) -> Rules {
    let rule = |(name, weight, max_running): &(&str, u32, Option<u32>)| {
        ((*name).to_owned(), TenantRule { weight: *weight, max_running: *max_running, rate: None })
    };
    Rules { tenants: tenants.iter().map(rule).collect(), ..Rules::default() }
}

pub(super) fn slots(attempts_max: usize, rules: Rules) -> Roster {
    Roster::new(Budget { attempts_max, cpus: f64::INFINITY, memory_bytes: u64::MAX }, rules)
}

fn of(tenant: &str, priority: i16) -> Ticket {
    Ticket { tenant: Arc::from(tenant), priority, claim: None }
}

pub(super) fn keyed(key: &str, limit: u32, on_conflict: OnConflict, since: i64) -> Ticket {
    let concurrency = Concurrency { key: key.to_owned(), limit: Some(limit), on_conflict, rate: None };
    let claim = Claim { concurrency: Arc::new(concurrency), since: at(since), accepted: false, held: false };
    Ticket { claim: Some(claim), ..Ticket::default() }
}

fn ask(roster: &mut Roster, job: u8, since: i64, ticket: Ticket) -> Vec<Verdict> {
    roster.request(key(job), at(since), Demand::default(), Ahead::No, ticket)
}

fn granted(roster: &mut Roster, now: i64) -> Vec<u8> {
    let job = |(Grant::Turn(key) | Grant::Slot(key)): Grant| key.job.as_bytes()[0];
    roster.grant(at(now)).into_iter().map(job).collect()
}

#[test]
fn a_higher_priority_goes_first_and_equals_in_the_order_of_waiting() {
    let mut roster = slots(1, Rules::default());
    for (job, since, priority) in [(1, 10, 0), (2, 20, 5), (3, 30, 0), (4, 40, 5), (5, 50, -1)] {
        ask(&mut roster, job, since, of("default", priority));
    }
    let mut order = vec![];
    while let [job] = granted(&mut roster, 100)[..] {
        order.push(job);
        roster.end(key(job));
    }
    assert_eq!(order, [2, 4, 1, 3, 5]);
}

#[test]
fn a_point_of_priority_is_worth_an_hour_of_waiting_so_that_nobody_waits_for_ever() {
    let mut roster = slots(1, Rules::default());
    ask(&mut roster, 1, 0, of("default", -100));
    ask(&mut roster, 2, 199 * HOUR, of("default", 100));
    ask(&mut roster, 3, 201 * HOUR, of("default", 100));
    let mut order = vec![];
    while let [job] = granted(&mut roster, 300 * HOUR)[..] {
        order.push(job);
        roster.end(key(job));
    }
    assert_eq!(order, [2, 1, 3]);
}

#[test]
fn slots_that_come_free_go_to_the_tenant_with_the_least_for_its_weight() {
    let mut roster = slots(4, rules(&[("big", 3, None)]));
    (1..=20).for_each(|job| drop(ask(&mut roster, job, 0, of("small", 100))));
    assert_eq!(granted(&mut roster, 0).len(), 4, "nobody else wants them");
    (21..=40).for_each(|job| drop(ask(&mut roster, job, 9, of("big", 0))));
    let mut running = vec![1, 2, 3, 4];
    for _ in 0..3 {
        let over = running.remove(0);
        roster.end(key(over));
        running.extend(granted(&mut roster, 9));
    }
    assert_eq!(running, [4, 21, 22, 23], "three of four for the one of weight three");
    for _ in 0..10 {
        roster.end(key(running.remove(1)));
        running.extend(granted(&mut roster, 9));
        assert_eq!(running.iter().filter(|job| **job > 20).count(), 3, "{running:?}");
    }
}

#[test]
fn where_there_is_one_slot_tenants_take_turns_by_their_weight() {
    let mut roster = slots(1, rules(&[("a", 3, None), ("b", 1, None)]));
    (1..=40).for_each(|job| drop(ask(&mut roster, job, 0, of("a", 0))));
    (41..=80).for_each(|job| drop(ask(&mut roster, job, 5, of("b", 50))));
    let mut turns = String::new();
    for _ in 0..16 {
        let job = granted(&mut roster, 9)[0];
        turns.push(if job <= 40 { 'a' } else { 'b' });
        roster.end(key(job));
    }
    assert_eq!(turns.matches('b').count(), 4, "{turns}");
    assert!(!turns.contains("bb") && !turns.contains("aaaa"), "{turns}");
}

#[test]
fn a_tenant_never_has_more_slots_than_it_may_and_does_not_hold_back_the_others() {
    let mut roster = slots(5, rules(&[("a", 1, Some(2))]));
    (1..=9).for_each(|job| drop(ask(&mut roster, job, 0, of("a", 9))));
    (10..=19).for_each(|job| drop(ask(&mut roster, job, 5, of("b", 0))));
    assert_eq!(granted(&mut roster, 9).iter().filter(|job| **job < 10).count(), 2);
    let stand = roster.stand(key(9)).unwrap();
    assert_eq!((stand.before, stand.kind()), (6, "tenant"));
    (10..=12).for_each(|job| roster.end(key(job)));
    assert!(granted(&mut roster, 9).iter().all(|job| *job >= 10));
    roster.end(key(1));
    assert_eq!(granted(&mut roster, 9), [3]);
}

#[test]
fn under_a_key_no_more_live_than_may_and_others_pass_by() {
    let mut roster = slots(9, Rules::default());
    for job in 1..=4 {
        assert_eq!(ask(&mut roster, job, job.into(), keyed("db", 2, OnConflict::Queue, job.into())), []);
    }
    ask(&mut roster, 5, 50, of("default", 0));
    assert_eq!(granted(&mut roster, 60), [1, 2, 5]);
    let stand = roster.stand(key(4)).unwrap();
    let holders = vec![key(1).job, key(2).job];
    assert_eq!((stand.before, stand.hindrance), (1, Hindrance::Key { key: "db".into(), limit: 2, holders }));
    roster.end(key(1));
    roster.forget(key(1));
    assert_eq!(granted(&mut roster, 60), [] as [u8; 0], "the end of an attempt is not that of its job");
    roster.leave_place(key(1).job, "db");
    assert_eq!(granted(&mut roster, 60), [3]);
}

#[test]
fn what_is_given_up_before_it_began_frees_its_place() {
    let mut roster = slots(9, Rules::default());
    for job in 1..=3 {
        ask(&mut roster, job, job.into(), keyed("db", 1, OnConflict::Queue, job.into()));
    }
    assert_eq!(granted(&mut roster, 9), [1]);
    roster.forget(key(1));
    roster.forget(key(2));
    assert_eq!(granted(&mut roster, 9), [3]);
}

#[test]
fn an_attempt_of_a_job_that_has_its_place_needs_no_other() {
    let mut roster = slots(9, Rules::default());
    let first = keyed("db", 1, OnConflict::Queue, 1);
    ask(&mut roster, 1, 1, first.clone());
    ask(&mut roster, 2, 2, keyed("db", 1, OnConflict::Queue, 2));
    assert_eq!(granted(&mut roster, 9), [1]);
    roster.end(key(1));
    roster.forget(key(1));
    let claim = first.claim.map(|claim| Claim { held: true, ..claim });
    let second = AttemptKey::new(key(1).job, 2);
    roster.request(second, at(5), Demand::default(), Ahead::No, Ticket { claim, ..Ticket::default() });
    assert_eq!(roster.grant(at(9)), [Grant::Turn(second)]);
}

#[test]
fn the_limit_of_the_configuration_counts_and_else_that_of_the_newest() {
    let declared = KeyRule { limit: Some(3), rate: None };
    let mut roster = slots(9, Rules { keys: [("cfg".to_owned(), declared)].into(), ..Rules::default() });
    for (key, wanted) in [("cfg", vec![1, 2, 3]), ("own", vec![11, 12])] {
        let base = if key == "cfg" { 1 } else { 11 };
        for (job, limit) in (base..).zip([1, 1, 9, 2]) {
            ask(&mut roster, job, job.into(), keyed(key, limit, OnConflict::Queue, job.into()));
        }
        assert_eq!(granted(&mut roster, 99), wanted, "{key}");
    }
}

#[test]
fn who_would_rather_be_skipped_is_where_as_many_live_as_may() {
    let mut roster = slots(1, Rules::default());
    assert_eq!(ask(&mut roster, 1, 1, keyed("k", 2, OnConflict::Queue, 1)), []);
    let verdicts = ask(&mut roster, 2, 2, keyed("k", 2, OnConflict::Skip, 2));
    assert_eq!(verdicts, [Verdict::Accepted(key(2))], "it waits for a slot, and not for a place");
    assert_eq!(granted(&mut roster, 9), [1]);
    let verdicts = ask(&mut roster, 3, 3, keyed("k", 2, OnConflict::Skip, 3));
    assert!(matches!(&verdicts[..], [Verdict::Skipped { key: job, .. }] if *job == key(3)), "{verdicts:?}");
    roster.end(key(3));
    roster.forget(key(3));
    roster.leave_place(key(1).job, "k");
    let verdicts = ask(&mut roster, 4, 4, keyed("k", 2, OnConflict::Skip, 4));
    assert_eq!(verdicts, [Verdict::Accepted(key(4))]);
}

#[test]
fn who_replaces_lets_the_oldest_give_way_and_starts_when_they_are_gone() {
    let mut roster = slots(9, Rules::default());
    for job in 1..=3 {
        ask(&mut roster, job, job.into(), keyed("k", 2, OnConflict::Queue, job.into()));
    }
    assert_eq!(granted(&mut roster, 9), [1, 2]);
    let by = key(4).job;
    let displaced = |job: u8| Verdict::Displaced { victim: key(job).job, by };
    let verdicts = ask(&mut roster, 4, 4, keyed("k", 2, OnConflict::Replace, 4));
    assert_eq!(verdicts, [displaced(1), displaced(2)]);
    assert_eq!(granted(&mut roster, 9), [] as [u8; 0], "not before they have ended");
    assert_eq!(roster.still_displaced(), verdicts);
    roster.leave_place(key(1).job, "k");
    roster.leave_place(key(2).job, "k");
    assert_eq!(granted(&mut roster, 9), [3, 4]);
    assert_eq!(roster.still_displaced(), []);
}

#[test]
fn after_a_restart_conflicts_are_decided_when_everybody_is_known() {
    let mut roster = slots(9, Rules { recovering: true, ..Rules::default() });
    assert_eq!(ask(&mut roster, 4, 4, keyed("k", 1, OnConflict::Replace, 4)), []);
    assert_eq!(ask(&mut roster, 5, 5, keyed("k", 1, OnConflict::Skip, 5)), []);
    assert_eq!(ask(&mut roster, 9, 9, of("default", 0)), []);
    assert_eq!(granted(&mut roster, 9), [9], "what is not limited need not wait");
    let held = keyed("k", 1, OnConflict::Queue, 1);
    roster.hold_place(key(1).job, &held);
    let verdicts = roster.open();
    assert_eq!(verdicts[0], Verdict::Displaced { victim: key(1).job, by: key(4).job });
    assert!(matches!(&verdicts[1..], [Verdict::Skipped { key: job, .. }] if *job == key(5)), "{verdicts:?}");
    assert_eq!(granted(&mut roster, 9), [] as [u8; 0]);
}

#[test]
fn starts_keep_to_the_rates_and_the_next_moment_is_known() {
    let rate = Rate { limit: 2, per: Span::from_secs(1), burst: None };
    let mut roster = slots(99, Rules { rate: Some(rate), ..Rules::default() });
    (1..=5).for_each(|job| drop(ask(&mut roster, job, 0, of("default", 0))));
    let start = 1_000_000;
    let mut starts = vec![];
    let mut now = start;
    loop {
        starts.extend(granted(&mut roster, now).into_iter().map(|job| (job, now - start)));
        if starts.len() == 5 {
            break;
        }
        assert_eq!(roster.stand(key(5)).unwrap().kind(), "rate");
        now = roster.due().expect("there is a next moment").as_millis();
    }
    assert_eq!(starts, [(1, 0), (2, 0), (3, 500), (4, 1_000), (5, 1_500)]);
}

#[test]
fn a_rate_of_a_key_or_a_tenant_holds_back_nobody_else() {
    let rate = Rate { limit: 1, per: Span::from_secs(60), burst: None };
    let tenant = TenantRule { rate: Some(rate), ..TenantRule::default() };
    let mut roster = slots(99, Rules { tenants: [("slow".to_owned(), tenant)].into(), ..Rules::default() });
    let concurrency =
        Concurrency { key: "api".into(), limit: None, on_conflict: OnConflict::Queue, rate: Some(rate) };
    let concurrency = Arc::new(concurrency);
    for job in 1..=2 {
        ask(&mut roster, job, 0, of("slow", 0));
        let claim =
            Claim { concurrency: Arc::clone(&concurrency), since: at(0), accepted: false, held: false };
        ask(&mut roster, 10 + job, 0, Ticket { claim: Some(claim), ..Ticket::default() });
        ask(&mut roster, 20 + job, 0, of("default", 0));
    }
    let mut first = granted(&mut roster, 1_000_000);
    first.sort_unstable();
    assert_eq!(first, [1, 11, 21, 22]);
    let mut rest = granted(&mut roster, 1_060_000);
    rest.sort_unstable();
    assert_eq!(rest, [2, 12]);
}

#[test]
fn of_what_is_prepared_tenants_take_turns_and_the_most_urgent_is_first() {
    let mut roster = slots(1, Rules::default());
    for (job, tenant, priority) in
        [(1, "x", 0), (2, "a", 0), (3, "a", 0), (4, "a", 7), (5, "b", 0), (6, "b", 0)]
    {
        roster.request(key(job), at(job.into()), Demand::default(), Ahead::Yes, of(tenant, priority));
    }
    assert_eq!(granted(&mut roster, 9).len(), 6, "one has the slot, the others are prepared");
    for job in 1..=6 {
        let ticket = roster.entries[&key(job)].ticket.clone();
        roster.drive(key(job), "fake", Demand::default(), false, ticket);
        roster.ready(key(job));
    }
    let holder = |roster: &Roster| (1..=6).find(|job| roster.has_slot(key(*job))).unwrap();
    let mut order = vec![holder(&roster)];
    for _ in 0..5 {
        roster.end(key(*order.last().unwrap()));
        order.extend(granted(&mut roster, 9));
    }
    let first = order[0];
    assert!([1, 4, 5].contains(&first), "{order:?}");
    let of_a: Vec<u8> = order.iter().copied().filter(|job| (2..=4).contains(job)).collect();
    assert_eq!(of_a, [4, 2, 3]);
    let last_of_b = order.iter().position(|job| *job == 6);
    assert!(last_of_b < order.iter().position(|job| *job == 3), "turn by turn: {order:?}");
}

/// The cost of a decision, in steps and not in time.
#[test]
fn a_decision_costs_the_same_however_many_wait() {
    let cost = |waiting: u64| {
        let mut roster = slots(2, rules(&[("t1", 2, Some(1))]));
        for number in 0..waiting {
            let job = JobId::from_bytes(u128::from(number + 1).to_be_bytes());
            let tenant = ["t1", "t2", "t3"][usize::try_from(number % 3).unwrap()];
            let mut ticket = keyed(&format!("k{}", number % 50), 1, OnConflict::Queue, 5);
            ticket.tenant = Arc::from(tenant);
            roster.request(AttemptKey::new(job, 1), at(5), Demand::default(), Ahead::No, ticket);
        }
        let before = roster.queue.steps;
        for _ in 0..20 {
            for Grant::Turn(key) | Grant::Slot(key) in roster.grant(at(9)) {
                let claim = roster.entries[&key].ticket.claim.clone().unwrap();
                roster.end(key);
                roster.forget(key);
                roster.leave_place(key.job, &claim.concurrency.key);
            }
        }
        roster.queue.steps - before
    };
    let (few, many) = (cost(600), cost(30_000));
    assert!(few > 0 && many <= few * 11 / 10, "{few} steps with 600 waiting, {many} with 30,000");
}

proptest! {
    #[test]
    fn every_turn_goes_to_a_tenant_with_the_least_for_its_weight(
        weights in prop::collection::vec(1u32..5, 3),
        acts in prop::collection::vec((0usize..3, any::<bool>(), any::<prop::sample::Index>()), 1..150),
    ) {
        let names = ["t0", "t1", "t2"];
        let tenants: Vec<_> = names.iter().zip(&weights).map(|(name, weight)| (*name, *weight, None)).collect();
        let mut roster = slots(6, rules(&tenants));
        let (mut running, mut waiting): (Vec<(u8, usize)>, [usize; 3]) = (vec![], [0; 3]);
        let mut tenant_of = BTreeMap::new();
        for (number, (tenant, submit, index)) in (1u8..).zip(acts) {
            if submit {
                ask(&mut roster, number, number.into(), of(names[tenant], 0));
                tenant_of.insert(number, tenant);
                waiting[tenant] += 1;
            } else if !running.is_empty() {
                let over = running.remove(index.index(running.len()));
                roster.end(key(over.0));
                roster.forget(key(over.0));
            }
            for job in granted(&mut roster, 999) {
                let share = |tenant: usize| {
                    let has = running.iter().filter(|(_, of)| *of == tenant).count() as u64;
                    has * 720_720 / u64::from(weights[tenant])
                };
                let least = (0..3).filter(|tenant| waiting[*tenant] > 0).map(share).min();
                let tenant = tenant_of[&job];
                prop_assert_eq!(Some(share(tenant)), least);
                waiting[tenant] -= 1;
                running.push((job, tenant));
            }
        }
    }
}

#[test]
fn the_longest_wait_of_a_rate_is_not_prolonged_by_a_clock_that_jumps_back() {
    let rate = Rate { limit: 1, per: Span::from_secs(10), burst: None };
    let mut roster = slots(9, Rules { rate: Some(rate), ..Rules::default() });
    (1..=2).for_each(|job| drop(ask(&mut roster, job, 0, of("default", 0))));
    let late = at(0).after(Duration::from_secs(86_400)).as_millis();
    assert_eq!(granted(&mut roster, late), [1]);
    assert_eq!(granted(&mut roster, 0), [] as [u8; 0]);
    assert_eq!(granted(&mut roster, 10_000), [2]);
}
