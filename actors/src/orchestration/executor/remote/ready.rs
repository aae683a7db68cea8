//! What waits for a worker, and which worker takes what. Pure.
//!
//! Work waits in lanes: one for each task hub, kind, name and version. A worker takes the oldest of what it admits and
//! has room for. What nobody admits stays where it is.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::Hash;

use crate::id::JobId;
use crate::pool::PoolId;

/// The kinds of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Turns of orchestrations.
    Orchestration,
    /// Activities.
    Activity,
    /// Batches of operations of entities.
    Entity,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Orchestration, Self::Activity, Self::Entity];

    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orchestration => "orchestration",
            Self::Activity => "activity",
            Self::Entity => "entity",
        }
    }
}

/// Which worker, for as long as it is connected.
pub(super) type WorkerId = u64;

/// What a worker takes of one kind: names with their versions; no versions means any of them.
pub type Names = BTreeMap<String, BTreeSet<String>>;

/// What a worker takes, and how much of it at the same time.
#[derive(Debug, Clone, Default)]
pub struct WorkerOptions {
    /// Of which task hub.
    pub hub: String,
    /// Which orchestrations, activities and entities, by [`Kind`]; `None` means all of that kind.
    pub takes: [Option<Names>; 3],
    /// How many at the same time, by [`Kind`]; 0 means [`crate::limits::WORKER_ITEMS_DEFAULT`].
    pub limits: [u32; 3],
    /// Who it is, for people.
    pub peer: String,
    /// Of which pool it is an instance, and which of its jobs.
    pub instance: Option<(PoolId, JobId)>,
}

impl WorkerOptions {
    /// Whether it takes work of this kind, name and version.
    pub(super) fn admits(&self, kind: Kind, name: &str, version: &str) -> bool {
        let Some(names) = &self.takes[kind as usize] else { return true };
        names.get(name).is_some_and(|versions| versions.is_empty() || versions.contains(version))
    }
}

/// What somebody must be able to do to take a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) hub: String,
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) version: String,
}

struct Waiting<K> {
    number: u64,
    key: K,
    /// Who gave it back: it is for somebody else.
    avoid: Option<WorkerId>,
}

type Lanes<K> = BTreeMap<(String, String), VecDeque<Waiting<K>>>;

/// How many pieces of work of a lane are looked at for one that its worker did not give back.
const LOOKED_AT_MAX: usize = 64;

/// What waits for a worker.
pub(super) struct Ready<K> {
    /// Of each task hub, by [`Kind`].
    lanes: HashMap<String, [Lanes<K>; 3]>,
    next: u64,
    /// Numbers of those that go before all others.
    first: u64,
}

impl<K> Default for Ready<K> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), next: u64::MAX / 2, first: u64::MAX / 2 }
    }
}

impl<K: Copy + Eq + Hash> Ready<K> {
    /// Adds work behind all that waits.
    pub(super) fn push(&mut self, need: Need, key: K, avoid: Option<WorkerId>) {
        self.next += 1;
        let number = self.next;
        self.lane(need).push_back(Waiting { number, key, avoid });
    }

    /// Adds work before all that waits: it waited before.
    pub(super) fn push_first(&mut self, need: Need, key: K) {
        self.first -= 1;
        let number = self.first;
        self.lane(need).push_front(Waiting { number, key, avoid: None });
    }

    fn lane(&mut self, need: Need) -> &mut VecDeque<Waiting<K>> {
        let lanes = self.lanes.entry(need.hub).or_default();
        lanes[need.kind as usize].entry((need.name, need.version)).or_default()
    }

    /// The oldest that this worker takes, of the kinds that it has room for, and that is not left to another one.
    pub(super) fn take(
        &mut self,
        id: WorkerId,
        options: &WorkerOptions,
        has_room: impl Fn(Kind) -> bool,
        mut is_left: impl FnMut(Kind, &str, &str) -> bool,
    ) -> Option<(Kind, K)> {
        let lanes = self.lanes.get_mut(&options.hub)?;
        let mut oldest: Option<(u64, Kind, &(String, String), usize)> = None;
        for kind in Kind::ALL.into_iter().filter(|kind| has_room(*kind)) {
            for (lane, waiting) in &lanes[kind as usize] {
                if !options.admits(kind, &lane.0, &lane.1) {
                    continue;
                }
                let place = waiting.iter().take(LOOKED_AT_MAX).position(|waiting| waiting.avoid != Some(id));
                if let Some(place) = place
                    && oldest.as_ref().is_none_or(|(number, ..)| waiting[place].number < *number)
                    && !is_left(kind, &lane.0, &lane.1)
                {
                    oldest = Some((waiting[place].number, kind, lane, place));
                }
            }
        }
        let (_, kind, lane, place) = oldest?;
        let (lane, lanes) = (lane.clone(), &mut lanes[kind as usize]);
        let waiting = lanes.get_mut(&lane)?;
        let taken = waiting.remove(place)?;
        if waiting.is_empty() {
            lanes.remove(&lane);
        }
        Some((kind, taken.key))
    }

    /// What waits in each lane of a kind of work, by name and version.
    pub(super) fn lanes(
        &self,
        hub: &str,
        kind: Kind,
    ) -> impl Iterator<Item = (&(String, String), impl Iterator<Item = &K>)> {
        let lanes = self.lanes.get(hub).map(|lanes| &lanes[kind as usize]).into_iter().flatten();
        lanes.map(|(lane, waiting)| (lane, waiting.iter().map(|waiting| &waiting.key)))
    }

    /// What must be able to take something of what waits.
    pub(super) fn needs(&self) -> Vec<Need> {
        let need = |hub: &String, kind: Kind, (name, version): &(String, String)| Need {
            hub: hub.clone(),
            kind,
            name: name.clone(),
            version: version.clone(),
        };
        let mut needs = Vec::new();
        for (hub, lanes) in &self.lanes {
            for kind in Kind::ALL {
                needs.extend(lanes[kind as usize].keys().map(|lane| need(hub, kind, lane)));
            }
        }
        needs
    }

    /// How many wait, by kind.
    pub(super) fn depths(&self) -> [usize; 3] {
        let mut depths = [0; 3];
        for (kind, lanes) in self.lanes.values().flat_map(|lanes| lanes.iter().enumerate()) {
            depths[kind] += lanes.values().map(VecDeque::len).sum::<usize>();
        }
        depths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(kind: Kind, name: &str, version: &str) -> Need {
        Need { hub: "default".to_owned(), kind, name: name.to_owned(), version: version.to_owned() }
    }

    /// Names, each with its versions.
    type Takes<'a> = Option<&'a [(&'a str, &'a [&'a str])]>;

    fn worker(takes: [Takes<'_>; 3]) -> WorkerOptions {
        let versions = |versions: &[&str]| versions.iter().map(|version| (*version).to_owned()).collect();
        let takes = takes.map(|takes| {
            takes.map(|names| names.iter().map(|(name, all)| ((*name).to_owned(), versions(all))).collect())
        });
        WorkerOptions { hub: "default".to_owned(), takes, ..Default::default() }
    }

    fn all(ready: &mut Ready<u32>, worker: &WorkerOptions) -> Vec<u32> {
        std::iter::from_fn(|| ready.take(1, worker, |_| true, |_, _, _| false)).map(|(_, key)| key).collect()
    }

    #[test]
    fn a_worker_takes_the_oldest_that_it_admits_and_the_rest_waits() {
        use Kind::{Activity, Orchestration};
        let fill = || {
            let mut ready = Ready::default();
            for (key, need) in [
                (1, need(Orchestration, "order", "")),
                (2, need(Activity, "charge", "")),
                (3, need(Orchestration, "order", "2")),
                (4, need(Activity, "ship", "1")),
                (5, need(Orchestration, "order", "")),
            ] {
                ready.push(need, key, None);
            }
            ready.push_first(need(Activity, "charge", ""), 6);
            ready
        };
        let cases: [([Takes<'_>; 3], Vec<u32>, [usize; 3]); 5] = [
            ([None, None, None], vec![6, 1, 2, 3, 4, 5], [0, 0, 0]),
            ([Some(&[]), Some(&[]), Some(&[])], vec![], [3, 3, 0]),
            ([Some(&[("order", &[])]), Some(&[]), None], vec![1, 3, 5], [0, 3, 0]),
            ([Some(&[("order", &["2"])]), Some(&[("ship", &["2"])]), None], vec![3], [2, 3, 0]),
            ([Some(&[("Order", &[])]), Some(&[("charge", &["", "7"])]), None], vec![6, 2], [3, 1, 0]),
        ];
        for (takes, expected, left) in cases {
            let mut ready = fill();
            assert_eq!(all(&mut ready, &worker(takes)), expected, "{takes:?}");
            assert_eq!(ready.depths(), left, "{takes:?}");
        }
    }

    #[test]
    fn what_was_given_back_goes_to_somebody_else() {
        let (mut ready, worker) = (Ready::default(), worker([None, None, None]));
        ready.push(need(Kind::Activity, "charge", ""), 1, Some(1));
        ready.push(need(Kind::Activity, "charge", ""), 2, None);
        assert_eq!(all(&mut ready, &worker), [2]);
        assert_eq!(ready.take(2, &worker, |_| true, |_, _, _| false), Some((Kind::Activity, 1)));
    }

    #[test]
    fn a_kind_without_room_and_another_hub_are_left_alone() {
        let (mut ready, mut other) = (Ready::default(), worker([None, None, None]));
        ready.push(need(Kind::Activity, "charge", ""), 1, None);
        assert_eq!(
            ready.take(1, &other, |_| true, |kind, name, _| (kind, name) == (Kind::Activity, "charge")),
            None
        );
        assert_eq!(ready.take(1, &other, |kind| kind != Kind::Activity, |_, _, _| false), None);
        other.hub = "blue".to_owned();
        assert!(all(&mut ready, &other).is_empty());
    }
}
