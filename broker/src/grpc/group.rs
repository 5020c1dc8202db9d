//! `GroupService`. What Kafka's requests do is asked of their handlers ([`crate::api`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kafka_compat::protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, GroupId,
    ListOffsetsRequest, OffsetCommitRequest, TopicName,
    consumer_group_describe_response::{self as new},
    describe_groups_response::{self as classic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
};
use prost::Message;
use proto::admin::v1::{
    self as pb, group_service_server::GroupService, reset_group_offsets_request::Target,
};
use tonic::{Code, Request, Response, Status};

use super::{
    errors::{invalid, status},
    kafka::{self, only, text},
    moments,
    once::OnceEach,
    pages, places,
};
use crate::{
    api::{self, Broker, error_code::Kafka},
    group::{self, Committed, Listed, read_assignment},
};

/// The last versions of the requests that are asked, or the last that name topics.
const DESCRIBE_GROUPS: i16 = 6;
const OFFSET_COMMIT: i16 = 9;
const LIST_OFFSETS: i16 = 10;
/// Kafka's name of KIP-848's groups, and of the state in which nobody is in one.
const CONSUMER: &str = "consumer";
const EMPTY: &str = "Empty";
/// A longer id does not fit a record of `__consumer_offsets`.
const GROUP_ID_MAX: usize = 32_767;
/// Nobody's generation: of a commit by no member.
const NO_GENERATION: i32 = -1;

/// A topic and a partition's number.
type Place = (String, i32);

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    broker: Arc<Broker>,
    reset: Arc<OnceEach<pb::ResetGroupOffsetsResponse>>,
    deleted: Arc<OnceEach<pb::DeleteGroupResponse>>,
}

/// The first and the end offset of a partition.
#[derive(Clone, Copy)]
struct Bounds {
    first: i64,
    end: i64,
}

impl Service {
    pub(super) fn new(broker: Arc<Broker>) -> Self {
        Self {
            broker,
            reset: Arc::default(),
            deleted: Arc::default(),
        }
    }

    fn all(&self) -> Result<Vec<Listed>, Status> {
        let mut groups = self
            .broker
            .groups
            .list()
            .map_err(|e| kafka::refused(e, None))?;
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(groups)
    }

    fn find(&self, id: &str) -> Result<Listed, Status> {
        if id.is_empty() {
            return Err(invalid("group_id", "it is missing"));
        }
        let found = self.all()?.into_iter().find(|group| group.group == id);
        found.ok_or_else(|| kafka::refused(Kafka::GroupIdNotFound, None))
    }

    /// What a group committed; nothing where no group ever did.
    fn committed(&self, id: &str) -> Result<BTreeMap<Place, Committed>, Status> {
        if !self
            .broker
            .metadata
            .image()
            .topics
            .contains_key(group::TOPIC)
        {
            return Ok(BTreeMap::new());
        }
        let all = self.broker.groups.all_committed(id);
        let all = all.map_err(|e| kafka::refused(e, None))?.into_iter();
        let places = all.flat_map(|(topic, partitions)| {
            let partitions = partitions.into_iter();
            partitions.map(move |(partition, committed)| ((topic.clone(), partition), committed))
        });
        Ok(places.collect())
    }

    fn bounds(&self, (topic, index): &Place) -> Option<Bounds> {
        let partition = places::partition(&self.broker, topic, *index).ok()?;
        let offsets = partition.offsets();
        Some(Bounds {
            first: offsets.log_start.0,
            end: offsets.visible_end.0,
        })
    }

    fn offsets(&self, id: &str) -> Result<Vec<pb::GroupOffset>, Status> {
        let committed = self.committed(id)?.into_iter();
        let told = committed.map(|(place, committed)| {
            let end = self.bounds(&place).map(|bounds| bounds.end);
            pb::GroupOffset {
                topic: place.0,
                partition: place.1,
                committed_offset: committed.offset,
                end_offset: end,
                lag: end.map(|end| (end - committed.offset).max(0)),
                metadata: committed.metadata,
            }
        });
        Ok(told.collect())
    }

    fn described(&self, group: &Listed) -> Result<pb::Group, Status> {
        let id = GroupId(text(&group.group));
        let described = if group.kind == CONSUMER {
            let asked = ConsumerGroupDescribeRequest::default().with_group_ids(vec![id]);
            let answer = api::consumer_group_describe::handle(&self.broker, &asked);
            let found = only(answer.groups)?;
            kafka::done(found.error_code, found.error_message.as_ref())?;
            of_consumers(found)
        } else {
            let asked = DescribeGroupsRequest::default().with_groups(vec![id]);
            let answer = api::describe_groups::handle(&self.broker, DESCRIBE_GROUPS, &asked);
            let found = only(answer.groups)?;
            kafka::done(found.error_code, found.error_message.as_ref())?;
            of_classic(found)
        };
        let offsets = self.offsets(&group.group)?;
        Ok(pb::Group {
            summary: Some(summary(group)),
            coordinator: self.broker.node_id,
            lag: offsets.iter().filter_map(|offset| offset.lag).sum(),
            offsets,
            ..described
        })
    }

    /// Which partitions a reset is about.
    fn places(
        &self,
        request: &pb::ResetGroupOffsetsRequest,
        committed: &BTreeMap<Place, Committed>,
    ) -> Result<BTreeSet<Place>, Status> {
        if !request.partitions.is_empty() && request.topics.len() != 1 {
            return Err(invalid(
                "partitions",
                "they are of one topic, which is to be named",
            ));
        }
        if request.topics.is_empty() {
            if committed.is_empty() {
                let why = format!(
                    "the group '{}' has committed nothing: name the topics",
                    request.group_id
                );
                return Err(status(Code::FailedPrecondition, "NOTHING_COMMITTED", why));
            }
            return Ok(committed.keys().cloned().collect());
        }
        let mut found = BTreeSet::new();
        for topic in &request.topics {
            let partitions = places::partitions(&self.broker, topic, &request.partitions)?;
            found.extend(partitions.iter().map(|p| (topic.clone(), p.key.index)));
        }
        Ok(found)
    }

    /// The first offset of that time or later in each of the places; what has none is left out.
    async fn at_time(
        &self,
        places: &BTreeSet<Place>,
        ms: i64,
    ) -> Result<BTreeMap<Place, i64>, Status> {
        let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for (topic, partition) in places {
            let asked = ListOffsetsPartition::default()
                .with_partition_index(*partition)
                .with_current_leader_epoch(-1)
                .with_timestamp(ms);
            topics.entry(topic).or_default().push(asked);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            ListOffsetsTopic::default()
                .with_name(TopicName(text(topic)))
                .with_partitions(partitions)
        });
        let asked = ListOffsetsRequest::default().with_topics(topics.collect());
        let broker = Arc::clone(&self.broker);
        let find = move || api::list_offsets::handle(&broker, LIST_OFFSETS, &asked);
        let mut found = BTreeMap::new();
        for topic in places::blocking(find).await?.topics {
            for partition in topic.partitions {
                kafka::done(partition.error_code, None)?;
                if partition.offset >= 0 {
                    let place = (topic.name.0.to_string(), partition.partition_index);
                    found.insert(place, partition.offset);
                }
            }
        }
        Ok(found)
    }

    async fn reset(
        self,
        request: pb::ResetGroupOffsetsRequest,
    ) -> Result<pb::ResetGroupOffsetsResponse, Status> {
        if !(1..=GROUP_ID_MAX).contains(&request.group_id.len()) {
            let why = format!("it does not have 1 to {GROUP_ID_MAX} bytes");
            return Err(invalid("group_id", why));
        }
        if !request.dry_run {
            let ready = api::internal_topics::ensure_offsets(&self.broker).await;
            ready.map_err(|error| kafka::refused(error, None))?;
        }
        let target = request.target.as_ref();
        let target = target.ok_or_else(|| invalid("target", "it is missing"))?;
        if self
            .all()?
            .iter()
            .any(|g| g.group == request.group_id && g.state != EMPTY)
        {
            return Err(kafka::refused(Kafka::NonEmptyGroup, None));
        }
        let committed = self.committed(&request.group_id)?;
        let places = self.places(&request, &committed)?;
        let at_time = match target {
            Target::Time(at) => self.at_time(&places, moments::ms_of("time", at)?).await?,
            _ => BTreeMap::new(),
        };
        let mut resets = Vec::with_capacity(places.len());
        for place in places {
            let bounds = self.bounds(&place).ok_or_else(|| {
                let why = format!("{}-{} cannot be asked for its offsets", place.0, place.1);
                status(Code::Unavailable, "PARTITION_OFFLINE", why)
            })?;
            let previous = committed.get(&place).map(|committed| committed.offset);
            let wanted = match target {
                Target::Place(place) => match pb::GroupPlace::try_from(*place) {
                    Ok(pb::GroupPlace::Start) => bounds.first,
                    Ok(pb::GroupPlace::End) => bounds.end,
                    _ => return Err(invalid("place", "it is neither start nor end")),
                },
                Target::Offset(offset) => *offset,
                Target::Time(_) => at_time.get(&place).copied().unwrap_or(bounds.end),
                Target::Shift(by) => match previous {
                    Some(offset) => offset.saturating_add(*by),
                    None => continue,
                },
            };
            resets.push(pb::OffsetReset {
                topic: place.0,
                partition: place.1,
                previous_offset: previous,
                offset: wanted.clamp(bounds.first, bounds.end),
            });
        }
        if !request.dry_run {
            self.commit(&request.group_id, &resets).await?;
        }
        Ok(pb::ResetGroupOffsetsResponse { resets })
    }

    async fn commit(&self, group: &str, resets: &[pb::OffsetReset]) -> Result<(), Status> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for reset in resets {
            let commit = OffsetCommitRequestPartition::default()
                .with_partition_index(reset.partition)
                .with_committed_offset(reset.offset)
                .with_committed_leader_epoch(-1);
            topics.entry(&reset.topic).or_default().push(commit);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            OffsetCommitRequestTopic::default()
                .with_name(TopicName(text(topic)))
                .with_partitions(partitions)
        });
        let asked = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(group)))
            .with_generation_id_or_member_epoch(NO_GENERATION)
            .with_topics(topics.collect());
        let broker = Arc::clone(&self.broker);
        let answer = api::offset_commit::handle(broker, OFFSET_COMMIT, asked).await;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        for partition in partitions {
            kafka::done(partition.error_code, None)?;
        }
        Ok(())
    }

    async fn delete(
        self,
        request: pb::DeleteGroupRequest,
    ) -> Result<pb::DeleteGroupResponse, Status> {
        let group = self.find(&request.group_id)?;
        if request.validate_only {
            return if group.state == EMPTY {
                Ok(pb::DeleteGroupResponse {})
            } else {
                Err(kafka::refused(Kafka::NonEmptyGroup, None))
            };
        }
        let asked = DeleteGroupsRequest::default()
            .with_groups_names(vec![GroupId(text(&request.group_id))]);
        let answer = api::delete_groups::handle(Arc::clone(&self.broker), asked).await;
        kafka::done(only(answer.results)?.error_code, None)?;
        Ok(pb::DeleteGroupResponse {})
    }
}

fn summary(group: &Listed) -> pb::GroupSummary {
    pb::GroupSummary {
        group_id: group.group.clone(),
        state: group.state.to_owned(),
        r#type: group.kind.to_owned(),
        protocol_type: group.protocol_type.clone(),
    }
}

fn of_classic(group: classic::DescribedGroup) -> pb::Group {
    let members = group.members.into_iter().map(|member| {
        let assigned = read_assignment(member.member_assignment);
        let assigned = assigned
            .map_or_else(Vec::new, |(places, _)| places)
            .into_iter();
        pb::GroupMember {
            member_id: member.member_id.to_string(),
            instance_id: member.group_instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            client_host: member.client_host.to_string(),
            assignment: assigned
                .map(|(topic, partitions)| pb::AssignedPartitions { topic, partitions })
                .collect(),
        }
    });
    pb::Group {
        assignor: group.protocol_data.to_string(),
        members: members.collect(),
        ..pb::Group::default()
    }
}

fn of_consumers(group: new::DescribedGroup) -> pb::Group {
    let members = group.members.into_iter().map(|member| {
        let assigned = member.assignment.topic_partitions.into_iter();
        pb::GroupMember {
            member_id: member.member_id.to_string(),
            instance_id: member.instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            client_host: member.client_host.to_string(),
            assignment: assigned
                .map(|topic| pb::AssignedPartitions {
                    topic: topic.topic_name.0.to_string(),
                    partitions: topic.partitions,
                })
                .collect(),
        }
    });
    pb::Group {
        assignor: group.assignor_name.to_string(),
        epoch: group.group_epoch,
        members: members.collect(),
        ..pb::Group::default()
    }
}

#[tonic::async_trait]
impl GroupService for Service {
    async fn list_groups(
        &self,
        request: Request<pb::ListGroupsRequest>,
    ) -> Result<Response<pb::ListGroupsResponse>, Status> {
        let request = request.into_inner();
        let fits = |wanted: &[String], is: &str| {
            wanted.is_empty() || wanted.iter().any(|w| w.eq_ignore_ascii_case(is))
        };
        let groups = self.all()?;
        let groups = groups
            .iter()
            .filter(|g| fits(&request.states, g.state) && fits(&request.types, g.kind));
        let asked = pb::ListGroupsRequest {
            page_size: 0,
            page_token: String::new(),
            ..request.clone()
        };
        let (groups, next_page_token) = pages::page(
            groups,
            |group| group.group.clone(),
            (request.page_size, &request.page_token),
            &asked.encode_to_vec(),
        )?;
        Ok(Response::new(pb::ListGroupsResponse {
            groups: groups.into_iter().map(summary).collect(),
            next_page_token,
        }))
    }

    async fn get_group(
        &self,
        request: Request<pb::GetGroupRequest>,
    ) -> Result<Response<pb::GetGroupResponse>, Status> {
        let group = self.find(&request.into_inner().group_id)?;
        let group = Some(self.described(&group)?);
        Ok(Response::new(pb::GetGroupResponse { group }))
    }

    async fn reset_group_offsets(
        &self,
        request: Request<pb::ResetGroupOffsetsRequest>,
    ) -> Result<Response<pb::ResetGroupOffsetsResponse>, Status> {
        let request = request.into_inner();
        let (id, reset) = (&request.request_id, self.clone().reset(request.clone()));
        self.reset
            .answer(id, &request, reset)
            .await
            .map(Response::new)
    }

    async fn delete_group(
        &self,
        request: Request<pb::DeleteGroupRequest>,
    ) -> Result<Response<pb::DeleteGroupResponse>, Status> {
        let request = request.into_inner();
        let (id, gone) = (&request.request_id, self.clone().delete(request.clone()));
        self.deleted
            .answer(id, &request, gone)
            .await
            .map(Response::new)
    }
}
