//! Who is to read what: the server's assignors (KIP-848). Pure.
//!
//! - `uniform`: as even as subscriptions allow, and as few moves as that takes.
//! - `range`: of each topic, neighbouring partitions to each member, in the order of instance ids, then of member ids.
//!
//! Source: Apache Kafka, `UniformAssignor`, `RangeAssignor`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use storage::units::TopicId;

use super::Target;

/// Their names; the first is the one that members get who do not say.
pub const NAMES: [&str; 2] = ["uniform", "range"];

/// A member, as far as it matters here.
#[derive(Clone, Debug)]
pub(super) struct Subscriber<'a> {
    pub(super) id: &'a str,
    pub(super) instance: Option<&'a str>,
    pub(super) topics: BTreeSet<TopicId>,
    /// What it was to read before.
    pub(super) before: Option<&'a Target>,
}

/// A target for each; `partitions` has how many each topic has.
pub(super) fn assign(
    assignor: &str,
    members: &[Subscriber<'_>],
    partitions: &BTreeMap<TopicId, i32>,
) -> HashMap<String, Target> {
    let targets = if assignor == "range" {
        range(members, partitions)
    } else {
        uniform(members, partitions)
    };
    let ids = members.iter().map(|member| member.id.to_owned());
    ids.zip(targets).collect()
}

fn range(members: &[Subscriber<'_>], partitions: &BTreeMap<TopicId, i32>) -> Vec<Target> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|at| {
        let member = members.get(*at);
        let instance = member.and_then(|m| m.instance);
        (instance.is_none(), instance, member.map(|m| m.id))
    });
    let mut targets = vec![Target::new(); members.len()];
    for (topic, count) in partitions {
        let readers: Vec<usize> = order
            .iter()
            .copied()
            .filter(|at| members.get(*at).is_some_and(|m| m.topics.contains(topic)))
            .collect();
        let Ok(many) = i32::try_from(readers.len()) else {
            continue;
        };
        if many == 0 {
            continue;
        }
        let (each, more) = (count / many, count % many);
        let mut from = 0;
        for (nth, at) in (0i32..).zip(readers) {
            let to = from + each + i32::from(nth < more);
            if let Some(target) = targets.get_mut(at).filter(|_| from < to) {
                target.insert(*topic, (from..to).collect());
            }
            from = to;
        }
    }
    targets
}

/// Partitions on their way to be even.
struct Even<'a> {
    members: &'a [Subscriber<'a>],
    readers: BTreeMap<TopicId, Vec<usize>>,
    has: Vec<BTreeSet<(TopicId, i32)>>,
}

fn uniform(members: &[Subscriber<'_>], partitions: &BTreeMap<TopicId, i32>) -> Vec<Target> {
    let mut even = Even {
        members,
        readers: BTreeMap::new(),
        has: vec![BTreeSet::new(); members.len()],
    };
    for (at, member) in members.iter().enumerate() {
        for topic in member.topics.iter().filter(|t| partitions.contains_key(t)) {
            even.readers.entry(*topic).or_default().push(at);
        }
    }
    let mut left = even.keep(partitions);
    while let Some((topic, partition)) = left.pop_first() {
        if let Some(at) = even.least(topic) {
            even.give(at, (topic, partition));
        }
    }
    even.balance();
    even.has
        .into_iter()
        .map(|has| {
            let mut target = Target::new();
            for (topic, partition) in has {
                target.entry(topic).or_default().insert(partition);
            }
            target
        })
        .collect()
}

impl Even<'_> {
    /// What members had stays where it was, as far as they still read it. Returns the rest.
    fn keep(&mut self, partitions: &BTreeMap<TopicId, i32>) -> BTreeSet<(TopicId, i32)> {
        let mut left: BTreeSet<_> = self
            .readers
            .keys()
            .flat_map(|topic| {
                let count = partitions.get(topic).copied().unwrap_or(0);
                (0..count).map(move |partition| (*topic, partition))
            })
            .collect();
        for (at, member) in self.members.iter().enumerate() {
            for (topic, before) in member.before.into_iter().flatten() {
                if !member.topics.contains(topic) {
                    continue;
                }
                for partition in before {
                    if left.remove(&(*topic, *partition))
                        && let Some(has) = self.has.get_mut(at)
                    {
                        has.insert((*topic, *partition));
                    }
                }
            }
        }
        left
    }

    fn load(&self, at: usize) -> usize {
        self.has.get(at).map_or(0, BTreeSet::len)
    }

    /// Who has least of those who read a topic.
    fn least(&self, topic: TopicId) -> Option<usize> {
        let readers = self.readers.get(&topic)?;
        readers.iter().copied().min_by_key(|at| self.load(*at))
    }

    fn give(&mut self, at: usize, partition: (TopicId, i32)) {
        if let Some(has) = self.has.get_mut(at) {
            has.insert(partition);
        }
    }

    /// Moves from who has most to who has least, until no move makes it more even.
    fn balance(&mut self) {
        loop {
            let mut order: Vec<usize> = (0..self.members.len()).collect();
            order.sort_by_key(|at| std::cmp::Reverse(self.load(*at)));
            let mut moved = false;
            for at in order {
                // The last ones first: what it has had longest is as good as any.
                let has: Vec<_> = self.has.get(at).into_iter().flatten().copied().collect();
                for partition in has.into_iter().rev() {
                    let Some(least) = self.least(partition.0) else {
                        continue;
                    };
                    if self.load(at) > self.load(least) + 1 {
                        if let Some(has) = self.has.get_mut(at) {
                            has.remove(&partition);
                        }
                        self.give(least, partition);
                        moved = true;
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(n: u128) -> TopicId {
        TopicId::from_u128(n)
    }

    fn subscriber<'a>(id: &'a str, topics: &[u128], before: Option<&'a Target>) -> Subscriber<'a> {
        Subscriber {
            id,
            instance: None,
            topics: topics.iter().map(|n| topic(*n)).collect(),
            before,
        }
    }

    #[test]
    fn range_gives_neighbours() {
        let members = [
            subscriber("b", &[1, 2], None),
            subscriber("a", &[1], None),
            Subscriber {
                instance: Some("z"),
                ..subscriber("c", &[1], None)
            },
        ];
        let partitions = [(topic(1), 7), (topic(2), 2)].into();
        let targets = assign("range", &members, &partitions);
        assert_eq!(targets["c"], [(topic(1), [0, 1, 2].into())].into());
        assert_eq!(targets["a"], [(topic(1), [3, 4].into())].into());
        let of_b: Target = [(topic(1), [5, 6].into()), (topic(2), [0, 1].into())].into();
        assert_eq!(targets["b"], of_b);
    }

    #[test]
    fn uniform_moves_no_more_than_it_takes() {
        let partitions = [(topic(1), 6)].into();
        let before: Target = [(topic(1), [0, 1, 2, 3, 4, 5].into())].into();
        let members = [
            subscriber("a", &[1], Some(&before)),
            subscriber("b", &[1], None),
        ];
        let targets = assign("uniform", &members, &partitions);
        assert_eq!(targets["a"], [(topic(1), [0, 1, 2].into())].into());
        assert_eq!(targets["b"], [(topic(1), [3, 4, 5].into())].into());
    }

    proptest! {
        #[test]
        fn each_partition_is_given_once_and_evenly(
            counts in proptest::collection::vec(0i32..9, 1..5),
            reads in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 5), 1..7),
            again in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 5), 1..7),
            range in any::<bool>(),
        ) {
            let partitions: BTreeMap<_, _> =
                (0u128..).zip(&counts).map(|(n, count)| (topic(n), *count)).collect();
            let assignor = if range { "range" } else { "uniform" };
            let mut before: HashMap<String, Target> = HashMap::new();
            for reads in [reads, again] {
                let ids: Vec<String> = (0..reads.len()).map(|n| format!("m{n}")).collect();
                let members: Vec<_> = ids.iter().zip(&reads).map(|(id, reads)| {
                    let topics: Vec<u128> = (0u128..).zip(reads).filter(|(_, r)| **r).map(|(n, _)| n).collect();
                    subscriber(id, &topics, before.get(id))
                }).collect();
                let targets = assign(assignor, &members, &partitions);
                let mut given = BTreeSet::new();
                for member in &members {
                    for (topic, of_topic) in &targets[member.id] {
                        prop_assert!(member.topics.contains(topic));
                        for partition in of_topic {
                            prop_assert!(given.insert((*topic, *partition)), "given twice");
                        }
                    }
                }
                for (topic, count) in &partitions {
                    let is_read = members.iter().any(|m| m.topics.contains(topic));
                    let all = given.iter().filter(|(t, _)| t == topic).count();
                    prop_assert_eq!(all, if is_read { usize::try_from(*count).unwrap() } else { 0 });
                }
                let same = members.iter().all(|m| m.topics == members[0].topics);
                if same && !range {
                    let loads = targets.values().map(|t| t.values().map(BTreeSet::len).sum::<usize>());
                    let (least, most) = (loads.clone().min().unwrap(), loads.max().unwrap());
                    prop_assert!(most - least <= 1);
                }
                before = targets;
            }
        }
    }
}
