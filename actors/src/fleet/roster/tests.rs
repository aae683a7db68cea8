//! The roster's rules as tables, and its invariants under random inputs.

use proptest::prelude::*;

use super::*;
use crate::id::JobId;
use crate::units::Size;

fn key(job: u8) -> AttemptKey {
    AttemptKey::new(JobId::from_bytes([job; 16]), 1)
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn demand(cpu_millis: u64, memory_bytes: u64) -> Demand {
    Demand { cpu_millis, memory_bytes }
}

fn budget(attempts_max: usize, cpus: f64, memory_bytes: u64) -> Roster {
    Roster::new(Budget { attempts_max, cpus, memory_bytes })
}

#[test]
fn slots_go_out_in_the_order_of_waiting_then_of_keys() {
    let mut roster = budget(3, f64::INFINITY, u64::MAX);
    for (job, since) in [(4, 20), (3, 10), (2, 20), (1, 30)] {
        roster.request(key(job), at(since), Demand::default());
    }
    assert_eq!(roster.grant(), [key(3), key(2), key(4)]);
    assert_eq!(roster.grant(), []);
    roster.forget(key(2));
    assert_eq!(roster.grant(), [key(1)]);
}

#[test]
fn a_repeated_request_keeps_its_place_and_asks_for_no_second_slot() {
    let mut roster = budget(1, f64::INFINITY, u64::MAX);
    roster.request(key(1), at(1), Demand::default());
    roster.request(key(2), at(2), Demand::default());
    roster.request(key(3), at(3), Demand::default());
    assert_eq!(roster.grant(), [key(1)]);
    roster.request(key(1), at(9), Demand::default());
    roster.request(key(2), at(9), Demand::default());
    assert_eq!(roster.grant(), []);
    roster.end(key(1));
    assert_eq!(roster.grant(), [key(2)]);
    assert_eq!((roster.tally().waiting, roster.tally().held(), roster.tally().ended), (1, 1, 1));
}

#[test]
fn one_larger_than_the_whole_budget_runs_alone_rather_than_never() {
    let mut roster = budget(8, 2.0, 1_000);
    roster.request(key(1), at(1), demand(500, 100));
    roster.request(key(2), at(2), demand(64_000, 100));
    roster.request(key(3), at(3), demand(500, 100));
    assert_eq!(roster.grant(), [key(1)], "what is too large waits, and holds back who came later");
    roster.end(key(1));
    assert_eq!(roster.grant(), [key(2)]);
    assert_eq!(roster.grant(), [], "nobody runs beside it");
    roster.end(key(2));
    assert_eq!(roster.grant(), [key(3)]);
}

#[test]
fn each_dimension_of_the_budget_holds_back() {
    for (mut roster, needed) in [
        (budget(2, 8.0, 1_000), demand(1, 1)),
        (budget(9, 2.0, 1_000), demand(1_000, 1)),
        (budget(9, 8.0, 1_000), demand(1, 500)),
    ] {
        for job in 1..=3 {
            roster.request(key(job), at(job.into()), needed);
        }
        assert_eq!(roster.grant(), [key(1), key(2)], "{roster:?}");
    }
}

#[test]
fn what_is_driven_holds_a_slot_even_over_the_budget() {
    let mut roster = budget(1, f64::INFINITY, u64::MAX);
    roster.drive(key(1), "fake", Demand::default());
    roster.drive(key(2), "fake", Demand::default());
    roster.request(key(3), at(1), Demand::default());
    assert_eq!((roster.tally().held(), roster.grant()), (2, vec![]));
    roster.end(key(1));
    assert_eq!(roster.grant(), []);
    roster.end(key(2));
    assert_eq!(roster.grant(), [key(3)]);
    roster.drive(key(2), "fake", Demand::default());
    assert_eq!(roster.hold(key(2)), Some(&Hold::Ended), "an end is final");
}

#[test]
fn absent_resources_count_with_their_defaults() {
    let named = Resources { cpu: Some(0.5), memory: Some(Size::from_bytes(7)), pids: None };
    assert_eq!(Demand::from(&named), demand(500, 7));
    let unnamed = demand(limits::ATTEMPT_CPU_DEFAULT_MILLIS, limits::ATTEMPT_MEMORY_DEFAULT_BYTES);
    assert_eq!(Demand::from(&Resources::default()), unnamed);
    let absurd = Resources { cpu: Some(1e300), memory: Some(Size::from_bytes(u64::MAX)), pids: None };
    assert_eq!(Demand::from(&absurd), Demand::MAX);
    assert_eq!(Demand::from(&Resources { cpu: Some(f64::NAN), ..named }).cpu_millis, 0);
}

#[derive(Debug, Clone)]
enum Input {
    Request(u8, i64, Demand),
    Withdraw(u8),
    Drive(u8, Demand),
    See(u8, Seen),
    End(u8),
    Forget(u8),
}

fn input() -> impl Strategy<Value = Input> {
    let needed = (0u64..3_000, 0u64..1_500).prop_map(|(cpu, memory)| demand(cpu, memory));
    let job = 0u8..12;
    let seen = prop_oneof![Just(Seen::Starting), Just(Seen::Running), Just(Seen::Unknown)];
    prop_oneof![
        4 => (job.clone(), 0i64..5, needed.clone()).prop_map(|(job, since, it)| Input::Request(job, since, it)),
        1 => job.clone().prop_map(Input::Withdraw),
        2 => (job.clone(), needed).prop_map(|(job, it)| Input::Drive(job, it)),
        1 => (job.clone(), seen).prop_map(|(job, seen)| Input::See(job, seen)),
        2 => job.clone().prop_map(Input::End),
        2 => job.prop_map(Input::Forget),
    ]
}

fn apply(roster: &mut Roster, input: Input) {
    match input {
        Input::Request(job, since, needed) => roster.request(key(job), at(since), needed),
        Input::Drive(job, needed) => roster.drive(key(job), "fake", needed),
        Input::See(job, seen) => roster.see(key(job), seen),
        Input::End(job) => roster.end(key(job)),
        Input::Forget(job) | Input::Withdraw(job) => {
            roster.forget(key(job));
        }
    }
}

fn invariant_the_tally_is_the_sum_of_the_entries(roster: &Roster) {
    let mut tally = Tally::default();
    roster.entries.values().for_each(|entry| tally.add(entry));
    assert_eq!(tally, roster.tally);
}

fn invariant_the_queue_is_who_waits(roster: &Roster) {
    let waiting: BTreeSet<_> = roster
        .entries
        .iter()
        .filter_map(|(key, entry)| match entry.hold {
            Hold::Waiting { since } => Some((since, *key)),
            _ => None,
        })
        .collect();
    assert_eq!(waiting, roster.queue);
}

/// Grants made now respect the budget: each of them fitted beside everything that held a slot then.
fn invariant_grants_fit(before: Tally, roster: &Roster, granted: &[AttemptKey]) {
    let (mut held, mut cpu, mut memory) = (before.held(), before.cpu_millis, before.memory_bytes);
    for key in granted {
        let needed = roster.entries[key].demand;
        let fits = held < roster.budget.attempts_max
            && cpu + needed.cpu_millis <= roster.cpu_millis_max
            && memory + needed.memory_bytes <= roster.budget.memory_bytes;
        assert!(fits || held == 0, "{key} was granted beside {held} others");
        held += 1;
        cpu += needed.cpu_millis;
        memory += needed.memory_bytes;
    }
}

proptest! {
    #[test]
    fn never_over_the_budget_first_come_first_served_and_none_is_lost(
        attempts_max in 0usize..5,
        inputs in prop::collection::vec(input(), 0..80),
    ) {
        let mut roster = budget(attempts_max, 4.0, 2_000);
        for input in inputs {
            apply(&mut roster, input);
            let (before, queue) = (roster.tally(), roster.queue.clone());
            let granted = roster.grant();
            let first: Vec<_> = queue.iter().take(granted.len()).map(|(_, key)| *key).collect();
            prop_assert_eq!(&granted, &first);
            invariant_grants_fit(before, &roster, &granted);
            invariant_the_tally_is_the_sum_of_the_entries(&roster);
            invariant_the_queue_is_who_waits(&roster);
        }
        // Once everybody leaves in turn, everybody who waits gets a slot.
        while roster.tally().waiting > 0 {
            let holders: Vec<_> =
                roster.entries.iter().filter(|(_, entry)| entry.holds_slot()).map(|(key, _)| *key).collect();
            prop_assert!(!holders.is_empty(), "somebody waits although nobody holds a slot");
            roster.end(holders[0]);
            roster.grant();
        }
    }
}
