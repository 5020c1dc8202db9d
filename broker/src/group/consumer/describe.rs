//! A consumer group, as ConsumerGroupDescribe tells it. Source: Apache Kafka, `ConsumerGroup.asDescribedGroup`.

use std::collections::BTreeMap;

use kafka_compat::protocol::{
    messages::consumer_group_describe_response::{
        Assignment, DescribedGroup, Member as Described, TopicPartitions,
    },
    protocol::StrBytes,
};
use storage::units::TopicId;

use super::{
    ConsumerConfig, ConsumerGroup, Member, member::without_epochs, target::preferred_assignor,
};
use crate::{
    group::{
        Listed,
        classic::{CONSUMER, text},
    },
    metadata::Image,
};

/// Kafka's name of groups of the consumer protocol.
const KIND: &str = "consumer";
const OF_CLASSIC: i8 = 0;
const OF_CONSUMER: i8 = 1;

impl ConsumerGroup {
    pub(super) fn describe(&self, config: &ConsumerConfig, image: &Image) -> DescribedGroup {
        let assignor = preferred_assignor(self.members.values());
        let assignor = assignor.unwrap_or(config.assignors.first);
        let members = self.members.values();
        DescribedGroup::default()
            .with_group_id(text(&self.id).into())
            .with_group_state(StrBytes::from_static_str(self.state().name()))
            .with_group_epoch(self.epoch)
            .with_assignment_epoch(self.assignment_epoch)
            .with_assignor_name(StrBytes::from_static_str(assignor.name()))
            .with_members(
                members
                    .map(|member| self.described(member, image))
                    .collect(),
            )
    }

    /// As ListGroups tells it.
    pub(in crate::group) fn listed(&self) -> Listed {
        Listed {
            group: self.id.clone(),
            protocol_type: CONSUMER.to_owned(),
            state: self.state().name(),
            kind: KIND,
        }
    }

    fn described(&self, member: &Member, image: &Image) -> Described {
        // What it is to give up is still its own.
        let mut has = without_epochs(&member.assigned);
        for (topic, partitions) in &member.revoking {
            has.entry(*topic).or_default().extend(partitions.keys());
        }
        let shall = self.targets.get(&member.id).cloned().unwrap_or_default();
        let names = member.names.iter();
        let kind = if member.is_classic() {
            OF_CLASSIC
        } else {
            OF_CONSUMER
        };
        Described::default()
            .with_member_id(text(&member.id))
            .with_instance_id(member.instance.as_deref().map(text))
            .with_rack_id(member.rack.as_deref().map(text))
            .with_member_epoch(member.epoch)
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_subscribed_topic_names(names.map(|name| text(name).into()).collect())
            .with_subscribed_topic_regex(Some(text(&member.regex)))
            .with_assignment(told(&has, image))
            .with_target_assignment(told(&shall, image))
            .with_member_type(kind)
    }
}

/// Topics that are gone are left out.
fn told<'a, P>(topics: &'a BTreeMap<TopicId, P>, image: &Image) -> Assignment
where
    &'a P: IntoIterator<Item = &'a i32>,
{
    let topics = topics.iter().filter_map(|(id, partitions)| {
        let topic = image.topic_by_id(*id)?;
        Some(
            TopicPartitions::default()
                .with_topic_id(*id)
                .with_topic_name(text(&topic.name).into())
                .with_partitions(partitions.into_iter().copied().collect()),
        )
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
