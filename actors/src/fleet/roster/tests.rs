//! The roster's rules as tables, and its invariants under random inputs.

mod admission;
mod lives;

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
    Roster::new(Budget { attempts_max, cpus, memory_bytes }, Rules::default())
}

/// Whose turn it now is, where nobody stands in the line for a slot.
fn turns(roster: &mut Roster) -> Vec<AttemptKey> {
    let turn = |grant| match grant {
        Grant::Turn(key) => key,
        Grant::Slot(key) => panic!("{key} was in the line"),
    };
    roster.grant(at(0)).into_iter().map(turn).collect()
}

#[test]
fn slots_go_out_in_the_order_of_waiting_then_of_keys() {
    let mut roster = budget(3, f64::INFINITY, u64::MAX);
    for (job, since) in [(4, 20), (3, 10), (2, 20), (1, 30)] {
        roster.request(key(job), at(since), Demand::default(), Ahead::No, Ticket::default());
    }
    assert_eq!(turns(&mut roster), [key(3), key(2), key(4)]);
    assert_eq!(turns(&mut roster), []);
    roster.forget(key(2));
    assert_eq!(turns(&mut roster), [key(1)]);
}

#[test]
fn a_repeated_request_keeps_its_place_and_asks_for_no_second_slot() {
    let mut roster = budget(1, f64::INFINITY, u64::MAX);
    roster.request(key(1), at(1), Demand::default(), Ahead::No, Ticket::default());
    roster.request(key(2), at(2), Demand::default(), Ahead::No, Ticket::default());
    roster.request(key(3), at(3), Demand::default(), Ahead::No, Ticket::default());
    assert_eq!(turns(&mut roster), [key(1)]);
    roster.request(key(1), at(9), Demand::default(), Ahead::No, Ticket::default());
    roster.request(key(2), at(9), Demand::default(), Ahead::No, Ticket::default());
    assert_eq!(turns(&mut roster), []);
    roster.end(key(1));
    assert_eq!(turns(&mut roster), [key(2)]);
    assert_eq!((roster.tally().waiting, roster.tally().held(), roster.tally().ended), (1, 1, 1));
}

#[test]
fn one_larger_than_the_whole_budget_runs_alone_rather_than_never() {
    let mut roster = budget(8, 2.0, 1_000);
    roster.request(key(1), at(1), demand(500, 100), Ahead::No, Ticket::default());
    roster.request(key(2), at(2), demand(64_000, 100), Ahead::No, Ticket::default());
    roster.request(key(3), at(3), demand(500, 100), Ahead::No, Ticket::default());
    assert_eq!(turns(&mut roster), [key(1)], "what is too large waits, and holds back who came later");
    roster.end(key(1));
    assert_eq!(turns(&mut roster), [key(2)]);
    assert_eq!(turns(&mut roster), [], "nobody runs beside it");
    roster.end(key(2));
    assert_eq!(turns(&mut roster), [key(3)]);
}

#[test]
fn each_dimension_of_the_budget_holds_back() {
    for (mut roster, needed) in [
        (budget(2, 8.0, 1_000), demand(1, 1)),
        (budget(9, 2.0, 1_000), demand(1_000, 1)),
        (budget(9, 8.0, 1_000), demand(1, 500)),
    ] {
        for job in 1..=3 {
            roster.request(key(job), at(job.into()), needed, Ahead::No, Ticket::default());
        }
        assert_eq!(turns(&mut roster), [key(1), key(2)], "{roster:?}");
    }
}

#[test]
fn what_is_driven_holds_a_slot_even_over_the_budget() {
    let mut roster = budget(1, f64::INFINITY, u64::MAX);
    roster.drive(key(1), "fake", Demand::default(), true, Ticket::default());
    roster.drive(key(2), "fake", Demand::default(), true, Ticket::default());
    roster.request(key(3), at(1), Demand::default(), Ahead::No, Ticket::default());
    assert_eq!((roster.tally().held(), turns(&mut roster)), (2, vec![]));
    roster.end(key(1));
    assert_eq!(turns(&mut roster), []);
    roster.end(key(2));
    assert_eq!(turns(&mut roster), [key(3)]);
    roster.drive(key(2), "fake", Demand::default(), true, Ticket::default());
    assert_eq!(roster.hold(key(2)), Some(&Hold::Ended), "an end is final");
}

/// One slot, taken by the first of so many attempts that ask.
fn taken(jobs: u8) -> Roster {
    let mut roster = budget(1, f64::INFINITY, u64::MAX);
    for job in 1..=jobs {
        roster.request(key(job), at(job.into()), Demand::default(), Ahead::Yes, Ticket::default());
    }
    roster
}

/// The attempt was granted, driven, and is created.
fn prepare(roster: &mut Roster, job: u8) {
    roster.drive(key(job), "fake", Demand::default(), false, Ticket::default());
    roster.ready(key(job));
}

#[test]
fn while_every_slot_is_taken_the_next_few_are_granted_without_one() {
    let few = u8::try_from(limits::ATTEMPTS_AHEAD_MAX).unwrap();
    let mut roster = taken(few + 3);
    let granted: Vec<_> = (1..=few + 1).map(key).collect();
    assert_eq!(turns(&mut roster), granted, "the first one for its slot, and no more ahead than may be");
    assert!(roster.has_slot(key(1)) && granted[1..].iter().all(|key| !roster.has_slot(*key)));
    let tally = roster.tally();
    assert_eq!((tally.held(), tally.ahead, tally.waiting), (1, limits::ATTEMPTS_AHEAD_MAX, 2));
}

#[test]
fn slots_go_to_what_is_prepared_in_the_order_of_waiting_and_the_queue_moves_up() {
    let few = u8::try_from(limits::ATTEMPTS_AHEAD_MAX).unwrap();
    let mut roster = taken(few + 3);
    turns(&mut roster);
    for job in [4, 3] {
        prepare(&mut roster, job);
    }
    assert_eq!(roster.grant(at(0)), [], "nobody gives up a slot for what is prepared");
    roster.end(key(1));
    assert_eq!(roster.grant(at(0)), [Grant::Slot(key(3)), Grant::Turn(key(few + 2))]);
    roster.end(key(3));
    roster.forget(key(4));
    assert_eq!(roster.grant(at(0)), [Grant::Turn(key(few + 3))], "who is not prepared yet gets no slot");
    prepare(&mut roster, 2);
    assert_eq!(roster.grant(at(0)), [Grant::Slot(key(2))]);
}

#[test]
fn who_may_not_go_ahead_leaves_the_queue_for_a_slot_only_and_lets_nobody_pass() {
    let mut roster = taken(1);
    roster.request(key(2), at(2), Demand::default(), Ahead::No, Ticket::default());
    roster.request(key(3), at(3), Demand::default(), Ahead::Yes, Ticket::default());
    assert_eq!(turns(&mut roster), [key(1)]);
    roster.end(key(1));
    assert_eq!(turns(&mut roster), [key(2), key(3)]);
    assert_eq!((roster.has_slot(key(2)), roster.has_slot(key(3))), (true, false));
}

#[test]
fn after_a_restart_what_never_ran_waits_for_a_slot_and_gives_back_one_over_the_budget() {
    let mut roster = taken(0);
    roster.drive(key(1), "fake", Demand::default(), true, Ticket::default());
    roster.see(key(1), Seen::Running);
    roster.drive(key(2), "fake", Demand::default(), true, Ticket::default());
    assert_eq!(roster.tally().held(), 2, "it may run");
    prepare(&mut roster, 3);
    roster.ready(key(2));
    assert_eq!((roster.grant(at(0)), roster.tally().held()), (vec![], 1), "it does not");
    roster.end(key(1));
    assert_eq!(roster.grant(at(0)), [Grant::Slot(key(2))]);
    roster.see(key(3), Seen::Running);
    assert_eq!(roster.tally().held(), 2, "what runs is counted, whoever started it");
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
    Request(u8, i64, Demand, Ahead),
    Withdraw(u8),
    Drive(u8, Demand, bool),
    Ready(u8),
    See(u8, Seen),
    End(u8),
    Forget(u8),
}

fn input() -> impl Strategy<Value = Input> {
    let needed = (0u64..3_000, 0u64..1_500).prop_map(|(cpu, memory)| demand(cpu, memory));
    let job = 0u8..12;
    let ahead = prop_oneof![Just(Ahead::Yes), Just(Ahead::No)];
    let seen = prop_oneof![Just(Seen::Starting), Just(Seen::Running), Just(Seen::Unknown)];
    prop_oneof![
        4 => (job.clone(), 0i64..5, needed.clone(), ahead)
            .prop_map(|(job, since, it, ahead)| Input::Request(job, since, it, ahead)),
        1 => job.clone().prop_map(Input::Withdraw),
        2 => (job.clone(), needed, any::<bool>()).prop_map(|(job, it, may)| Input::Drive(job, it, may)),
        3 => job.clone().prop_map(Input::Ready),
        1 => (job.clone(), seen).prop_map(|(job, seen)| Input::See(job, seen)),
        2 => job.clone().prop_map(Input::End),
        2 => job.prop_map(Input::Forget),
    ]
}

fn apply(roster: &mut Roster, input: Input) {
    match input {
        Input::Request(job, since, needed, ahead) => {
            drop(roster.request(key(job), at(since), needed, ahead, Ticket::default()))
        }
        Input::Drive(job, needed, may_run) => {
            roster.drive(key(job), "fake", needed, may_run, Ticket::default())
        }
        Input::Ready(job) => roster.ready(key(job)),
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

fn invariant_the_queue_is_who_waits_and_the_line_who_lacks_a_slot(roster: &Roster) {
    let those = |wanted: fn(&Entry) -> bool| -> BTreeSet<_> {
        let found = roster.entries.iter().filter(|(_, entry)| wanted(entry));
        found.map(|(key, entry)| (entry.since.as_millis(), *key)).collect()
    };
    assert_eq!(those(|entry| entry.hold == Hold::Waiting), roster.queue.everybody());
    let ready = |entry: &Entry| !entry.slot && matches!(entry.hold, Hold::Driven { ready: true, .. });
    assert_eq!(those(ready), roster.line);
    assert!(roster.entries.values().all(|entry| !entry.slot || entry.hold != Hold::Ended));
}

/// Slots given now respect the budget: each of them fitted beside everything that held one then. And no more was
/// granted ahead than may be.
fn invariant_grants_fit(before: Tally, roster: &Roster, grants: &[Grant]) {
    let (mut held, mut cpu, mut memory) = (before.held(), before.cpu_millis, before.memory_bytes);
    for Grant::Turn(key) | Grant::Slot(key) in grants {
        let entry = &roster.entries[key];
        if !entry.slot {
            assert!(roster.tally.ahead <= limits::ATTEMPTS_AHEAD_MAX && entry.ahead == Ahead::Yes, "{key}");
            continue;
        }
        let needed = entry.demand;
        let fits = held < roster.budget.attempts_max
            && cpu + needed.cpu_millis <= roster.cpu_millis_max
            && memory + needed.memory_bytes <= roster.budget.memory_bytes;
        assert!(fits || held == 0, "{key} got a slot beside {held} others");
        held += 1;
        cpu += needed.cpu_millis;
        memory += needed.memory_bytes;
    }
}

fn grants_of(line: &BTreeSet<(i64, AttemptKey)>, grant: fn(AttemptKey) -> Grant) -> Vec<Grant> {
    line.iter().map(|(_, key)| grant(*key)).collect()
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
            let (before, queue, line) = (roster.tally(), roster.queue.everybody(), roster.line.clone());
            let grants = roster.grant(at(0));
            let (slots, turns): (Vec<Grant>, Vec<Grant>) =
                grants.iter().partition(|grant| matches!(grant, Grant::Slot(_)));
            prop_assert!(grants_of(&line, Grant::Slot).starts_with(&slots));
            prop_assert!(grants_of(&queue, Grant::Turn).starts_with(&turns));
            invariant_grants_fit(before, &roster, &grants);
            invariant_the_tally_is_the_sum_of_the_entries(&roster);
            invariant_the_queue_is_who_waits_and_the_line_who_lacks_a_slot(&roster);
        }
        // Once everybody is prepared or leaves in turn, everybody who waits gets a slot.
        while roster.tally().waiting + roster.line.len() > 0 {
            let first = |wanted: fn(&Entry) -> bool| {
                roster.entries.iter().find(|(_, entry)| wanted(entry)).map(|(key, _)| *key)
            };
            let (ahead, holder) = (first(|entry| entry.is_ahead() && !entry.is_in_line()), first(|entry| entry.slot));
            prop_assert!(ahead.or(holder).is_some(), "somebody waits although nobody holds a slot");
            if let Some(key) = ahead {
                roster.drive(key, "fake", Demand::default(), false, Ticket::default());
                roster.ready(key);
            } else if let Some(key) = holder {
                roster.end(key);
            }
            roster.grant(at(0));
        }
    }
}
