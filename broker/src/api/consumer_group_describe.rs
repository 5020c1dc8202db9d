//! ConsumerGroupDescribe (key 69): versions 0 and 1 (KIP-848). v1 tells of what kind a member is (KIP-1099).

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
        consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions},
    },
    protocol::StrBytes,
};

use super::{Broker, authorized, lookup};
use crate::{
    group::{DescribedMember, Target},
    metadata::Image,
};

const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

pub(super) fn handle(
    broker: &Broker,
    version: i16,
    request: &ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let image = broker.metadata.image();
    let groups = request.group_ids.iter().map(|id| {
        let answer = DescribedGroup::default().with_group_id(id.clone());
        let group = match broker.groups.describe_consumer(id) {
            _ if id.is_empty() => return answer.with_error_code(Kafka::InvalidGroupId.code()),
            Ok(Some(group)) => group,
            Ok(None) => {
                let why = not_here(broker, id);
                return answer
                    .with_error_code(Kafka::GroupIdNotFound.code())
                    .with_error_message(Some(StrBytes::from_string(why)));
            }
            Err(code) => return answer.with_error_code(code.code()),
        };
        let members = group.members.into_iter();
        answer
            .with_group_state(StrBytes::from_static_str(group.state))
            .with_group_epoch(group.epoch)
            .with_assignment_epoch(group.assignment_epoch)
            .with_assignor_name(StrBytes::from_string(group.assignor))
            .with_members(members.map(|m| member(version, m, &image)).collect())
            .with_authorized_operations(authorized::of_group(request.include_authorized_operations))
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

fn not_here(broker: &Broker, id: &str) -> String {
    match broker.groups.describe(id) {
        Ok(Some(_)) => format!("Group {id} is not a consumer group."),
        _ => format!("Group {id} not found."),
    }
}

fn member(version: i16, member: DescribedMember, image: &Image) -> Member {
    let text = |text: Option<String>| text.map(StrBytes::from_string);
    let topics = member.topics.iter().map(|topic| lookup::name(topic));
    let told = Member::default()
        .with_member_id(StrBytes::from_string(member.id))
        .with_instance_id(text(member.instance))
        .with_rack_id(text(member.rack))
        .with_member_epoch(member.epoch)
        .with_client_id(StrBytes::from_string(member.client_id))
        .with_client_host(StrBytes::from_string(member.client_host))
        .with_subscribed_topic_names(topics.collect())
        .with_subscribed_topic_regex(text(member.regex))
        .with_assignment(assignment(&member.assigned, image))
        .with_target_assignment(assignment(&member.target, image));
    if version == 0 {
        return told;
    }
    told.with_member_type(if member.is_classic {
        CLASSIC_MEMBER
    } else {
        CONSUMER_MEMBER
    })
}

/// Of topics that are there: others have no name.
fn assignment(target: &Target, image: &Image) -> Assignment {
    let topics = target.iter().filter_map(|(id, partitions)| {
        let topic = image.topic_by_id(*id)?;
        let told = TopicPartitions::default()
            .with_topic_id(*id)
            .with_topic_name(lookup::name(&topic.name))
            .with_partitions(partitions.iter().copied().collect());
        Some(told)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
