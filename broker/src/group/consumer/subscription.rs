//! What the members of a group read, all together.

use std::collections::BTreeMap;

use super::{ConsumerGroup, Member, hash};
use crate::metadata::Image;

/// How a topic is subscribed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    /// Members that name it.
    by_name: usize,
    /// Regular expressions that mean it.
    by_regex: usize,
}

/// What members read.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    topics: BTreeMap<String, Count>,
    regexes: BTreeMap<String, usize>,
    members: usize,
}

impl Subscriptions {
    /// The hash of what the topics are like.
    pub(super) fn hash(&self, image: &Image) -> i64 {
        hash::of_topics(self.topics.keys(), image)
    }

    /// All members read the same. Source: Apache Kafka, `ConsumerGroup.subscriptionType`.
    pub(super) fn is_homogeneous(&self) -> bool {
        match self.regexes.values().next() {
            None => self.topics.values().all(|n| n.by_name == self.members),
            Some(count) if *count == self.members => {
                let mut topics = self.topics.values();
                topics.all(|n| n.by_regex == 1 && n.by_name == 0)
            }
            Some(_) => false,
        }
    }
}

impl ConsumerGroup {
    /// The members when one has changed, or joined, or taken the place of another with its instance id.
    pub(super) fn members_with<'a>(
        &'a self,
        changed: &'a Member,
    ) -> impl Iterator<Item = &'a Member> + 'a {
        let replaced = changed.instance.as_ref();
        let replaced = replaced.and_then(|instance| self.instances.get(instance));
        let others = self.members.values();
        others
            .filter(move |other| other.id != changed.id && Some(&other.id) != replaced)
            .chain(std::iter::once(changed))
    }

    /// What some members read.
    pub(super) fn subscriptions<'a>(
        &self,
        members: impl Iterator<Item = &'a Member>,
    ) -> Subscriptions {
        let mut all = Subscriptions::default();
        for member in members {
            all.members += 1;
            for name in &member.names {
                all.topics.entry(name.clone()).or_default().by_name += 1;
            }
            if let Some(regex) = member.regex() {
                *all.regexes.entry(regex.to_owned()).or_default() += 1;
            }
        }
        let resolved = all
            .regexes
            .keys()
            .filter_map(|regex| self.resolved.get(regex));
        for topic in resolved.flat_map(|resolved| &resolved.topics) {
            all.topics.entry(topic.clone()).or_default().by_regex += 1;
        }
        all
    }

    /// Whether a member reads the topic.
    pub(in crate::group) fn reads(&self, topic: &str) -> bool {
        self.members
            .values()
            .any(|member| member.names.contains(topic))
            || self.resolved.values().any(|r| r.topics.contains(topic))
    }
}
