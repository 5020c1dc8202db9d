//! A group as its coordinator describes it, of either protocol.

use std::collections::BTreeSet;

use kafka_protocol::{
    error::ResponseError as Kafka,
    messages::{
        ConsumerGroupDescribeRequest, DescribeGroupsRequest, ListGroupsRequest,
        ShareGroupDescribeRequest, consumer_group_describe_response as consumer,
        describe_groups_response as classic, share_group_describe_response as share,
    },
    protocol::StrBytes,
};

use super::assignment;
use crate::wire::{self, Cluster, Code, CoordinatorKind, Place};

/// Groups in one request.
const AT_ONCE: usize = 500;
/// Kafka's state of a group that is not there.
const DEAD: &str = "Dead";

/// A group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) id: String,
    /// `classic`, `consumer` or `share`; else whatever the broker calls it.
    pub(super) kind: String,
    /// What a classic group is for: `consumer`, `connect`; empty where it only commits.
    pub(super) protocol: String,
    pub(super) state: String,
    pub(super) assignor: String,
    /// The broker that told.
    pub(super) coordinator: i32,
    /// `None` where it is a kind that this command does not know.
    pub(super) members: Option<Vec<Member>>,
}

/// A member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) client: String,
    pub(super) host: String,
    /// Of the consumer protocol.
    pub(super) epoch: Option<i32>,
    /// `None` where it is no assignment of partitions.
    pub(super) assigned: Option<BTreeSet<Place>>,
}

impl Group {
    /// Whether it keeps committed offsets; share groups keep other things.
    pub(super) fn commits(&self) -> bool {
        self.kind == "classic" || self.kind == "consumer"
    }

    pub(super) fn size(&self) -> usize {
        self.members.as_ref().map_or(0, Vec::len)
    }

    fn empty(id: &str, kind: &str, coordinator: i32) -> Self {
        Self {
            id: id.to_owned(),
            kind: kind.to_owned(),
            protocol: String::new(),
            state: String::new(),
            assignor: String::new(),
            coordinator,
            members: None,
        }
    }

    fn classic(told: &classic::DescribedGroup, coordinator: i32) -> Self {
        let members = told.members.iter().map(|member| Member {
            id: member.member_id.to_string(),
            instance: member.group_instance_id.as_ref().map(ToString::to_string),
            client: member.client_id.to_string(),
            host: host(&member.client_host),
            epoch: None,
            assigned: assignment::places(&member.member_assignment),
        });
        Self {
            protocol: told.protocol_type.to_string(),
            state: told.group_state.to_string(),
            assignor: told.protocol_data.to_string(),
            members: Some(members.collect()),
            ..Self::empty(&told.group_id, "classic", coordinator)
        }
    }

    fn consumer(told: &consumer::DescribedGroup, coordinator: i32) -> Self {
        let members = told.members.iter().map(|member| Member {
            id: member.member_id.to_string(),
            instance: member.instance_id.as_ref().map(ToString::to_string),
            client: member.client_id.to_string(),
            host: host(&member.client_host),
            epoch: Some(member.member_epoch),
            assigned: Some(places(
                member.assignment.topic_partitions.iter(),
                |topic| topic.topic_name.to_string(),
                |topic| &topic.partitions,
            )),
        });
        Self {
            protocol: "consumer".into(),
            state: told.group_state.to_string(),
            assignor: told.assignor_name.to_string(),
            members: Some(members.collect()),
            ..Self::empty(&told.group_id, "consumer", coordinator)
        }
    }

    fn share(told: &share::DescribedGroup, coordinator: i32) -> Self {
        let members = told.members.iter().map(|member| Member {
            id: member.member_id.to_string(),
            instance: None,
            client: member.client_id.to_string(),
            host: host(&member.client_host),
            epoch: Some(member.member_epoch),
            assigned: Some(places(
                member.assignment.topic_partitions.iter(),
                |topic| topic.topic_name.to_string(),
                |topic| &topic.partitions,
            )),
        });
        Self {
            protocol: "share".into(),
            state: told.group_state.to_string(),
            assignor: told.assignor_name.to_string(),
            members: Some(members.collect()),
            ..Self::empty(&told.group_id, "share", coordinator)
        }
    }
}

/// Java puts a slash before an address.
fn host(told: &StrBytes) -> String {
    told.trim_start_matches('/').to_owned()
}

fn places<'a, T: 'a>(
    topics: impl Iterator<Item = &'a T>,
    name: impl Fn(&T) -> String,
    partitions: impl Fn(&T) -> &Vec<i32>,
) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for told in topics {
        for partition in partitions(told) {
            places.insert(Place {
                topic: name(told),
                partition: *partition,
            });
        }
    }
    places
}

/// All groups of a cluster, described by the broker that coordinates each.
pub(super) async fn all(cluster: &mut Cluster) -> anyhow::Result<Vec<Group>> {
    let mut groups = Vec::new();
    for broker in cluster.brokers() {
        let connection = cluster.broker(broker).await?;
        let listed = connection.ask(&ListGroupsRequest::default()).await?;
        Code(listed.error_code).ok()?;
        let mut of_kind = std::collections::BTreeMap::<String, Vec<Group>>::new();
        for told in listed.groups {
            // Before version 5 there was one kind.
            let kind = match told.group_type.to_lowercase() {
                kind if kind.is_empty() => "classic".to_owned(),
                kind => kind,
            };
            let mut group = Group::empty(&told.group_id, &kind, broker);
            group.protocol = told.protocol_type.to_string();
            group.state = told.group_state.to_string();
            of_kind.entry(kind).or_default().push(group);
        }
        for (kind, listed) in of_kind {
            for some in listed.chunks(AT_ONCE) {
                groups.extend(described(cluster, broker, &kind, some).await?);
            }
        }
    }
    groups.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(groups)
}

/// Groups of one kind; one that went meanwhile is left out, one of a kind that is not known is as it was listed.
async fn described(
    cluster: &mut Cluster,
    broker: i32,
    kind: &str,
    listed: &[Group],
) -> anyhow::Result<Vec<Group>> {
    let ids: Vec<_> = listed.iter().map(|group| wire::group(&group.id)).collect();
    let connection = cluster.broker(broker).await?;
    Ok(match kind {
        "classic" => {
            let request = DescribeGroupsRequest::default().with_groups(ids);
            let answer = connection.ask(&request).await?;
            let there = answer
                .groups
                .iter()
                .filter(|group| *group.group_state != *DEAD);
            there.map(|told| Group::classic(told, broker)).collect()
        }
        "consumer" => {
            let request = ConsumerGroupDescribeRequest::default().with_group_ids(ids);
            let answer = connection.ask(&request).await?;
            let there = answer.groups.iter().filter(|group| group.error_code == 0);
            there.map(|told| Group::consumer(told, broker)).collect()
        }
        "share" => {
            let request = ShareGroupDescribeRequest::default().with_group_ids(ids);
            let answer = connection.ask(&request).await?;
            let there = answer.groups.iter().filter(|group| group.error_code == 0);
            there.map(|told| Group::share(told, broker)).collect()
        }
        _ => listed.to_vec(),
    })
}

/// One group; `None` where there is none. Asks for it as each kind that the broker knows.
pub(super) async fn one(cluster: &mut Cluster, id: &str) -> anyhow::Result<Option<Group>> {
    let key = (CoordinatorKind::Group, id);
    let coordinator = cluster.coordinator(key.0, id).await?;
    let ids = vec![wire::group(id)];
    let is_not_it = |code: Code| {
        let error = code.error();
        matches!(
            error,
            Some(Kafka::GroupIdNotFound | Kafka::UnsupportedVersion)
        )
    };
    if cluster
        .broker(coordinator)
        .await?
        .offers::<ConsumerGroupDescribeRequest>()
    {
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(ids.clone());
        let code = |answer: &kafka_protocol::messages::ConsumerGroupDescribeResponse| {
            Code(answer.groups.first().map_or(0, |group| group.error_code))
        };
        let answer = cluster
            .ask_coordinator(key, (&request, i16::MAX), code)
            .await?;
        if let Some(told) = answer.groups.first().filter(|_| !is_not_it(code(&answer))) {
            code(&answer).ok()?;
            return Ok(Some(Group::consumer(told, coordinator)));
        }
    }
    let request = DescribeGroupsRequest::default().with_groups(ids.clone());
    let code = |answer: &kafka_protocol::messages::DescribeGroupsResponse| {
        Code(answer.groups.first().map_or(0, |group| group.error_code))
    };
    let answer = cluster
        .ask_coordinator(key, (&request, i16::MAX), code)
        .await?;
    let told = answer.groups.first();
    if let Some(told) = told.filter(|told| !is_not_it(code(&answer)) && *told.group_state != *DEAD)
    {
        code(&answer).ok()?;
        return Ok(Some(Group::classic(told, coordinator)));
    }
    let connection = cluster.broker(coordinator).await?;
    if connection.offers::<ShareGroupDescribeRequest>() {
        let request = ShareGroupDescribeRequest::default().with_group_ids(ids);
        let answer = connection.ask(&request).await?;
        let told = answer.groups.first().filter(|told| told.error_code == 0);
        return Ok(told.map(|told| Group::share(told, coordinator)));
    }
    Ok(None)
}
