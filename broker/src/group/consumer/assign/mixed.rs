//! `uniform`, where members read different topics: what is free goes to those who have least, and then partitions move from those
//! who have most to those who have least, topic by topic, until nothing gets better.
//!
//! Source: Apache Kafka, `UniformHeterogeneousAssignmentBuilder`.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
};

use storage::units::TopicId;

use super::Group;
use crate::group::consumer::member::Target;

/// Rounds over all topics. One is enough where the readers of a topic read the same; where they overlap, each round is taken to
/// halve what is uneven.
const ROUNDS_MAX: usize = 16;

/// A member, by its place in the order of ids.
type Who = usize;

pub(super) fn assign(group: &Group) -> BTreeMap<String, Target> {
    let mut builder = Builder::new(group);
    if builder.readers.is_empty() {
        return BTreeMap::new();
    }
    builder.keep_what_is_read();
    builder.hand_out();
    builder.balance();
    builder.finish()
}

struct Builder<'a> {
    group: &'a Group,
    /// Who reads a topic, in order.
    readers: HashMap<TopicId, Vec<Who>>,
    /// Who has each partition.
    owners: HashMap<TopicId, Vec<Option<Who>>>,
    /// How many partitions each member has.
    sizes: Vec<usize>,
}

impl<'a> Builder<'a> {
    fn new(group: &'a Group) -> Self {
        let mut readers: HashMap<TopicId, Vec<Who>> = HashMap::new();
        for (who, spec) in group.members.values().enumerate() {
            for topic in &spec.topics {
                readers.entry(*topic).or_default().push(who);
            }
        }
        let count = |topic: &TopicId| usize::try_from(group.partitions(*topic)).unwrap_or(0);
        let owners = readers
            .keys()
            .map(|topic| (*topic, vec![None; count(topic)]));
        Self {
            group,
            owners: owners.collect(),
            readers,
            sizes: vec![0; group.members.len()],
        }
    }

    fn keep_what_is_read(&mut self) {
        for (who, spec) in self.group.members.values().enumerate() {
            for (topic, partitions) in &spec.before {
                if spec.topics.contains(topic) {
                    for partition in partitions {
                        self.give(
                            *topic,
                            usize::try_from(*partition).unwrap_or(usize::MAX),
                            who,
                        );
                    }
                }
            }
        }
    }

    fn give(&mut self, topic: TopicId, partition: usize, to: Who) {
        let owner = self.owners.get_mut(&topic);
        let Some(owner) = owner.and_then(|owners| owners.get_mut(partition)) else {
            return;
        };
        if let Some(size) = owner.replace(to).and_then(|from| self.sizes.get_mut(from)) {
            *size -= 1;
        }
        if let Some(size) = self.sizes.get_mut(to) {
            *size += 1;
        }
    }

    /// Those with most partitions for each reader first, then those with fewer readers.
    fn in_order(&self, mut topics: Vec<TopicId>) -> Vec<TopicId> {
        let counts = |topic: &TopicId| {
            let partitions = self.owners.get(topic).map_or(0, Vec::len);
            (partitions, self.readers.get(topic).map_or(1, Vec::len))
        };
        topics.sort_by(|a, b| {
            let ((a_count, a_readers), (b_count, b_readers)) = (counts(a), counts(b));
            // Which fraction is larger, without a division.
            let by_share = (b_count * a_readers).cmp(&(a_count * b_readers));
            by_share
                .then(a_readers.cmp(&b_readers))
                .then_with(|| java_order(*a, *b))
        });
        topics
    }

    fn hand_out(&mut self) {
        let has_free = |owners: &Vec<Option<Who>>| owners.iter().any(Option::is_none);
        let topics = self.owners.iter().filter(|(_, owners)| has_free(owners));
        let topics = topics.map(|(topic, _)| *topic).collect();
        for topic in self.in_order(topics) {
            let mut scale = Scale::new(self.readers.get(&topic), &self.sizes);
            let owners = self.owners.get(&topic).cloned().unwrap_or_default();
            for (partition, owner) in owners.into_iter().enumerate() {
                if owner.is_none()
                    && let Some(who) = scale.next_least()
                {
                    self.give(topic, partition, who);
                }
            }
        }
    }

    fn balance(&mut self) {
        let shared = self
            .readers
            .iter()
            .filter(|(_, readers)| readers.len() >= 2);
        let topics = self.in_order(shared.map(|(topic, _)| *topic).collect());
        let mut last_changed = None;
        for _ in 0..ROUNDS_MAX {
            for (at, topic) in topics.iter().enumerate() {
                if last_changed == Some(at) {
                    // Once around, and nothing got better.
                    return;
                }
                if self.balance_topic(*topic) > 0 || last_changed.is_none() {
                    last_changed = Some(at);
                }
            }
        }
    }

    /// Moves partitions of a topic; returns how many.
    fn balance_topic(&mut self, topic: TopicId) -> usize {
        let mut scale = Scale::new(self.readers.get(&topic), &self.sizes);
        if scale.imbalance() <= 1 {
            return 0;
        }
        let mut has: HashMap<Who, Vec<usize>> = HashMap::new();
        let owners = self.owners.get(&topic).into_iter().flatten();
        for (partition, owner) in owners.enumerate() {
            if let Some(owner) = owner {
                has.entry(*owner).or_default().push(partition);
            }
        }
        let mut moved = 0;
        loop {
            let partition = loop {
                let Some(from) = scale.next_most() else {
                    return moved;
                };
                match has.get_mut(&from).and_then(Vec::pop) {
                    Some(partition) => break partition,
                    None => scale.exclude_most(),
                }
            };
            let Some(to) = scale.next_least() else {
                return moved;
            };
            if scale.is_balanced() {
                return moved;
            }
            self.give(topic, partition, to);
            moved += 1;
        }
    }

    fn finish(self) -> BTreeMap<String, Target> {
        let mut targets = vec![Target::new(); self.sizes.len()];
        for (topic, owners) in &self.owners {
            for (partition, owner) in (0i32..).zip(owners) {
                if let Some(target) = owner.and_then(|who| targets.get_mut(who)) {
                    target.entry(*topic).or_default().insert(partition);
                }
            }
        }
        self.group.members.keys().cloned().zip(targets).collect()
    }
}

/// As Java compares UUIDs: two signed numbers.
fn java_order(a: TopicId, b: TopicId) -> Ordering {
    let signed = |id: TopicId| {
        let (high, low) = id.as_u64_pair();
        (high.cast_signed(), low.cast_signed())
    };
    signed(a).cmp(&signed(b))
}

/// Members in the order of what they have. The first of them, all with as much, are the least loaded; a range before those that
/// have nothing to give are the most loaded. Both grow towards each other.
struct Scale {
    order: Vec<Who>,
    /// What each member had in the beginning.
    sizes: Vec<usize>,
    least_end: usize,
    least_size: i64,
    least_next: usize,
    most_start: usize,
    most_end: usize,
    most_size: i64,
    /// One past the next of them.
    most_next: usize,
}

impl Scale {
    fn new(readers: Option<&Vec<Who>>, sizes: &[usize]) -> Self {
        let mut order = readers.cloned().unwrap_or_default();
        let size = |who: &Who| sizes.get(*who).copied().unwrap_or(0);
        order.sort_by_key(|who| (size(who), *who));
        let of = |at: Option<&Who>| at.map_or(0, |who| i64::try_from(size(who)).unwrap_or(0));
        Self {
            least_end: 0,
            least_size: of(order.first()) - 1,
            least_next: 0,
            most_start: order.len(),
            most_end: order.len(),
            most_size: of(order.last()) + 1,
            most_next: order.len(),
            sizes: sizes.to_vec(),
            order,
        }
    }

    fn size_at(&self, at: usize) -> Option<i64> {
        let size = self.sizes.get(*self.order.get(at)?)?;
        i64::try_from(*size).ok()
    }

    fn imbalance(&self) -> i64 {
        let last = self.order.len().saturating_sub(1);
        self.size_at(last).unwrap_or(0) - self.size_at(0).unwrap_or(0)
    }

    fn next_least(&mut self) -> Option<Who> {
        if self.least_next >= self.least_end {
            self.least_size += 1;
            while self.size_at(self.least_end) == Some(self.least_size) {
                self.least_end += 1;
            }
            self.least_next = 0;
        }
        let who = self.order.get(self.least_next).copied();
        self.least_next += 1;
        who
    }

    fn next_most(&mut self) -> Option<Who> {
        if self.most_next <= self.most_start {
            let before = self
                .most_start
                .checked_sub(1)
                .and_then(|at| self.size_at(at));
            match before {
                // Those that had most have nothing to give: the next ones count, whatever they have.
                Some(before) if self.most_end <= self.most_start => self.most_size = before,
                _ => self.most_size -= 1,
            }
            while let Some(at) = self.most_start.checked_sub(1)
                && self.size_at(at) == Some(self.most_size)
            {
                self.most_start = at;
            }
            self.most_next = self.most_end;
        }
        self.most_next = self.most_next.checked_sub(1)?;
        self.order.get(self.most_next).copied()
    }

    /// The one that was just named has nothing to give.
    fn exclude_most(&mut self) {
        if let Some(last) = self.most_end.checked_sub(1)
            && self.most_next <= last
            && last < self.order.len()
        {
            self.order.swap(self.most_next, last);
            self.most_end = last;
        }
    }

    fn is_balanced(&self) -> bool {
        self.most_size - self.least_size <= 1
    }
}
