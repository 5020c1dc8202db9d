//! `TopicService`. What Kafka's requests do is asked of their handlers ([`crate::api`]).

use std::sync::Arc;

use kafka_compat::protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    IncrementalAlterConfigsRequest, ListOffsetsRequest, TopicName,
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    delete_topics_request::DeleteTopicState,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};
use prost::Message;
use proto::admin::v1::{self as pb, topic_service_server::TopicService};
use storage::units::TopicId;
use tonic::{Code, Request, Response, Status};

use super::{
    errors::{invalid, status},
    kafka::{self, only, text},
    moments,
    once::OnceEach,
    pages, places, settings,
};
use crate::{
    api::{self, Broker, error_code::Kafka},
    metadata::Topic,
    partition::{PartitionKey, Slot},
    topic_config,
};

/// The last versions of the requests that are asked.
const CREATE_TOPICS: i16 = 7;
const DELETE_TOPICS: i16 = 6;
const LIST_OFFSETS: i16 = 10;
/// Kafka's number of the kind of resource, and of what is done to a setting.
const TOPIC: i8 = 2;
const SET: i8 = 0;
const RESET: i8 = 1;

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    broker: Arc<Broker>,
    created: Arc<OnceEach<pb::CreateTopicResponse>>,
    deleted: Arc<OnceEach<pb::DeleteTopicResponse>>,
}

impl Service {
    pub(super) fn new(broker: Arc<Broker>) -> Self {
        Self {
            broker,
            created: Arc::default(),
            deleted: Arc::default(),
        }
    }

    fn find(&self, name: &str) -> Result<Arc<Topic>, Status> {
        let image = self.broker.metadata.image();
        let topic = image.topics.get(name).cloned();
        topic.ok_or_else(|| {
            let why = format!("there is no topic '{name}'");
            status(Code::NotFound, "TOPIC_NOT_FOUND", why)
        })
    }

    /// With all its settings.
    fn told(&self, topic: &Topic) -> pb::Topic {
        self.with(topic, |_| true)
    }

    /// With those that are its own.
    fn listed(&self, topic: &Topic) -> pb::Topic {
        self.with(topic, |name| topic.configs.contains_key(name))
    }

    fn with(&self, topic: &Topic, is_told: impl Fn(&str) -> bool) -> pb::Topic {
        let config = self.broker.config.get();
        let all = topic_config::describe(&topic.configs, &config).into_iter();
        let all = all.filter(|entry| is_told(&entry.name));
        let mut told = pb::Topic {
            name: topic.name.clone(),
            topic_id: topic.id.to_string(),
            partition_count: count(topic),
            replication_factor: factor(topic),
            internal: topic.internal,
            settings: all.map(settings::of_topic).collect(),
            ..pb::Topic::default()
        };
        for index in 0..count(topic) {
            match self.slot(topic, index) {
                Some(Slot::Online(partition)) => {
                    told.unavailable_partitions +=
                        i32::from(partition.log().is_poisoned().is_some());
                    told.bytes += moments::counted(partition.log().size_bytes());
                    told.held += moments::counted(partition.pending_size().records);
                }
                Some(Slot::Offline { .. }) | None => told.unavailable_partitions += 1,
            }
        }
        told
    }

    fn slot(&self, topic: &Topic, index: i32) -> Option<Slot> {
        let key = PartitionKey {
            topic: topic.id,
            index,
        };
        self.broker.registry.get(key)
    }

    fn partition(&self, topic: &Topic, index: i32) -> Option<pb::Partition> {
        let state = topic.partitions.get(usize::try_from(index).ok()?)?;
        let told = pb::Partition {
            topic: topic.name.clone(),
            partition: index,
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            replicas: state.replicas.clone(),
            in_sync_replicas: state.isr.clone(),
            ..pb::Partition::default()
        };
        Some(match self.slot(topic, index) {
            Some(Slot::Online(partition)) => {
                let log = partition.log();
                let poisoned = log.is_poisoned();
                let offsets = partition.offsets();
                pb::Partition {
                    online: poisoned.is_none(),
                    offline_reason: poisoned.unwrap_or_default(),
                    log_start_offset: offsets.log_start.0,
                    end_offset: offsets.visible_end.0,
                    high_watermark: offsets.high_watermark.0,
                    last_stable_offset: offsets.last_stable.0,
                    log_end_offset: offsets.log_end.0,
                    bytes: moments::counted(log.size_bytes()),
                    held: moments::counted(partition.pending_size().records),
                    ..told
                }
            }
            Some(Slot::Offline { why, .. }) => pb::Partition {
                offline_reason: why.to_string(),
                ..told
            },
            None => pb::Partition {
                offline_reason: "it is being opened".into(),
                ..told
            },
        })
    }

    async fn create(
        self,
        request: pb::CreateTopicRequest,
    ) -> Result<pb::CreateTopicResponse, Status> {
        let factor = match request.replication_factor {
            None => -1,
            Some(factor) => i16::try_from(factor)
                .ok()
                .filter(|factor| *factor >= 0)
                .ok_or_else(|| invalid("replication_factor", "it is not in 0 to 32767"))?,
        };
        if request.partition_count.is_some_and(|count| count < 0) {
            return Err(invalid("partition_count", "it is negative"));
        }
        let settings = request.settings.iter().map(|(name, value)| {
            CreatableTopicConfig::default()
                .with_name(text(name))
                .with_value(Some(text(value)))
        });
        let asked = CreatableTopic::default()
            .with_name(TopicName(text(&request.topic)))
            .with_num_partitions(request.partition_count.unwrap_or(-1))
            .with_replication_factor(factor)
            .with_configs(settings.collect());
        let asked = CreateTopicsRequest::default()
            .with_topics(vec![asked])
            .with_validate_only(request.validate_only);
        let answer = api::create_topics::handle(&self.broker, CREATE_TOPICS, asked).await;
        let made = only(answer.topics)?;
        kafka::done(made.error_code, made.error_message.as_ref())?;
        let topic = if request.validate_only {
            pb::Topic {
                name: request.topic.clone(),
                partition_count: made.num_partitions,
                replication_factor: i32::from(made.replication_factor),
                ..pb::Topic::default()
            }
        } else {
            self.told(&*self.find(&request.topic)?)
        };
        Ok(pb::CreateTopicResponse { topic: Some(topic) })
    }

    async fn delete(
        self,
        request: pb::DeleteTopicRequest,
    ) -> Result<pb::DeleteTopicResponse, Status> {
        let topic = self.find(&request.topic)?;
        let id = request.topic_id.as_str();
        let wanted = if id.is_empty() {
            topic.id
        } else {
            let wanted = id.parse::<TopicId>();
            wanted.map_err(|_| invalid("topic_id", "it is no UUID"))?
        };
        if wanted != topic.id {
            let why = format!("topic '{}' has the id {}, not {id}", topic.name, topic.id);
            return Err(status(Code::Aborted, "TOPIC_ID_DIFFERS", why));
        }
        if topic.internal {
            return Err(invalid("topic", "the node keeps its own state in it"));
        }
        if !self.broker.config.get().delete_topic_enable {
            return Err(kafka::refused(Kafka::TopicDeletionDisabled, None));
        }
        let told = self.told(&topic);
        if !request.validate_only {
            let doomed = DeleteTopicState::default()
                .with_name(None)
                .with_topic_id(topic.id);
            let asked = DeleteTopicsRequest::default().with_topics(vec![doomed]);
            let answer = api::delete_topics::handle(&self.broker, DELETE_TOPICS, asked).await;
            let gone = only(answer.responses)?;
            kafka::done(gone.error_code, gone.error_message.as_ref())?;
        }
        Ok(pb::DeleteTopicResponse { topic: Some(told) })
    }
}

fn count(topic: &Topic) -> i32 {
    i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)
}

fn factor(topic: &Topic) -> i32 {
    let first = topic.partitions.first();
    first.map_or(0, |p| i32::try_from(p.replicas.len()).unwrap_or(i32::MAX))
}

#[tonic::async_trait]
impl TopicService for Service {
    async fn create_topic(
        &self,
        request: Request<pb::CreateTopicRequest>,
    ) -> Result<Response<pb::CreateTopicResponse>, Status> {
        let request = request.into_inner();
        let (id, made) = (&request.request_id, self.clone().create(request.clone()));
        self.created
            .answer(id, &request, made)
            .await
            .map(Response::new)
    }

    async fn get_topic(
        &self,
        request: Request<pb::GetTopicRequest>,
    ) -> Result<Response<pb::GetTopicResponse>, Status> {
        let topic = self.find(&request.into_inner().topic)?;
        let topic = Some(self.told(&topic));
        Ok(Response::new(pb::GetTopicResponse { topic }))
    }

    async fn list_topics(
        &self,
        request: Request<pb::ListTopicsRequest>,
    ) -> Result<Response<pb::ListTopicsResponse>, Status> {
        let request = request.into_inner();
        let image = self.broker.metadata.image();
        let topics = image.topics.values().filter(|topic| {
            topic.name.starts_with(&request.prefix) && (request.include_internal || !topic.internal)
        });
        let asked = pb::ListTopicsRequest {
            page_size: 0,
            page_token: String::new(),
            ..request.clone()
        };
        let (topics, next_page_token) = pages::page(
            topics,
            |topic| topic.name.clone(),
            (request.page_size, &request.page_token),
            &asked.encode_to_vec(),
        )?;
        let topics = topics.into_iter().map(|topic| self.listed(topic));
        Ok(Response::new(pb::ListTopicsResponse {
            topics: topics.collect(),
            next_page_token,
        }))
    }

    async fn update_topic_config(
        &self,
        request: Request<pb::UpdateTopicConfigRequest>,
    ) -> Result<Response<pb::UpdateTopicConfigResponse>, Status> {
        let request = request.into_inner();
        let change = |name: &String, operation: i8, value: Option<&String>| {
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(operation)
                .with_value(value.map(|value| text(value)))
        };
        let set = request.set.iter();
        let set = set.map(|(name, value)| change(name, SET, Some(value)));
        let reset = request.reset.iter().map(|name| change(name, RESET, None));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(&request.topic))
            .with_configs(set.chain(reset).collect());
        let asked = IncrementalAlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(request.validate_only);
        let answer = api::incremental_alter_configs::handle(&self.broker, asked).await;
        let changed = only(answer.responses)?;
        kafka::done(changed.error_code, changed.error_message.as_ref())?;
        let topic = Some(self.told(&*self.find(&request.topic)?));
        Ok(Response::new(pb::UpdateTopicConfigResponse { topic }))
    }

    async fn add_partitions(
        &self,
        request: Request<pb::AddPartitionsRequest>,
    ) -> Result<Response<pb::AddPartitionsResponse>, Status> {
        let request = request.into_inner();
        let topic = CreatePartitionsTopic::default()
            .with_name(TopicName(text(&request.topic)))
            .with_count(request.partition_count)
            .with_assignments(None);
        let asked = CreatePartitionsRequest::default()
            .with_topics(vec![topic])
            .with_validate_only(request.validate_only);
        let answer = api::create_partitions::handle(&self.broker, asked).await;
        let grown = only(answer.results)?;
        kafka::done(grown.error_code, grown.error_message.as_ref())?;
        let topic = Some(self.told(&*self.find(&request.topic)?));
        Ok(Response::new(pb::AddPartitionsResponse { topic }))
    }

    async fn delete_topic(
        &self,
        request: Request<pb::DeleteTopicRequest>,
    ) -> Result<Response<pb::DeleteTopicResponse>, Status> {
        let request = request.into_inner();
        let (id, gone) = (&request.request_id, self.clone().delete(request.clone()));
        self.deleted
            .answer(id, &request, gone)
            .await
            .map(Response::new)
    }

    async fn list_partitions(
        &self,
        request: Request<pb::ListPartitionsRequest>,
    ) -> Result<Response<pb::ListPartitionsResponse>, Status> {
        let request = request.into_inner();
        let topic = self.find(&request.topic)?;
        let (partitions, next_page_token) = pages::page(
            0..count(&topic),
            |index| *index,
            (request.page_size, &request.page_token),
            topic.name.as_bytes(),
        )?;
        let partitions = partitions.into_iter();
        Ok(Response::new(pb::ListPartitionsResponse {
            partitions: partitions
                .filter_map(|index| self.partition(&topic, index))
                .collect(),
            next_page_token,
        }))
    }

    async fn get_partition(
        &self,
        request: Request<pb::GetPartitionRequest>,
    ) -> Result<Response<pb::GetPartitionResponse>, Status> {
        let request = request.into_inner();
        let topic = self.find(&request.topic)?;
        let partition = self.partition(&topic, request.partition);
        let partition = partition.ok_or_else(|| {
            let why = format!(
                "topic '{}' has no partition {}",
                topic.name, request.partition
            );
            status(Code::NotFound, "TOPIC_NOT_FOUND", why)
        })?;
        let partition = Some(partition);
        Ok(Response::new(pb::GetPartitionResponse { partition }))
    }

    async fn list_offsets_for_times(
        &self,
        request: Request<pb::ListOffsetsForTimesRequest>,
    ) -> Result<Response<pb::ListOffsetsForTimesResponse>, Status> {
        let request = request.into_inner();
        let time = request.time.as_ref();
        let time = time.ok_or_else(|| invalid("time", "it is missing"))?;
        let time = moments::ms_of("time", time)?;
        let partitions = places::partitions(&self.broker, &request.topic, &request.partitions)?;
        let asked = partitions.iter().map(|partition| {
            ListOffsetsPartition::default()
                .with_partition_index(partition.key.index)
                .with_current_leader_epoch(-1)
                .with_timestamp(time)
        });
        let topic = ListOffsetsTopic::default()
            .with_name(TopicName(text(&request.topic)))
            .with_partitions(asked.collect());
        let asked = ListOffsetsRequest::default().with_topics(vec![topic]);
        let broker = Arc::clone(&self.broker);
        let find = move || api::list_offsets::handle(&broker, LIST_OFFSETS, &asked);
        let found = places::blocking(find).await?;
        let mut offsets = Vec::with_capacity(partitions.len());
        for partition in only(found.topics)?.partitions {
            kafka::done(partition.error_code, None)?;
            let is_there = partition.offset >= 0;
            offsets.push(pb::OffsetForTime {
                partition: partition.partition_index,
                offset: is_there.then_some(partition.offset),
                timestamp: is_there.then(|| moments::timestamp(partition.timestamp)),
            });
        }
        Ok(Response::new(pb::ListOffsetsForTimesResponse { offsets }))
    }

    async fn truncate_partition(
        &self,
        request: Request<pb::TruncatePartitionRequest>,
    ) -> Result<Response<pb::TruncatePartitionResponse>, Status> {
        let request = request.into_inner();
        let checked =
            api::delete_records::deletable(&self.broker, &request.topic, request.partition);
        let partition = checked.map_err(|error| kafka::refused(error, None))?;
        let offsets = partition.offsets();
        let (before, end) = (offsets.log_start.0, offsets.visible_end.0);
        let first = request.before_offset.unwrap_or(end);
        if first < 0 {
            return Err(invalid("before_offset", "it is negative"));
        }
        if request.dry_run {
            if first > offsets.high_watermark.0 {
                let why = format!(
                    "{first} is behind the high watermark {}",
                    offsets.high_watermark.0
                );
                return Err(status(Code::OutOfRange, "OFFSET_OUT_OF_RANGE", why));
            }
            return Ok(Response::new(pb::TruncatePartitionResponse {
                previous_start_offset: before,
                log_start_offset: first.max(before),
            }));
        }
        let asked = DeleteRecordsPartition::default()
            .with_partition_index(request.partition)
            .with_offset(first);
        let topic = DeleteRecordsTopic::default()
            .with_name(TopicName(text(&request.topic)))
            .with_partitions(vec![asked]);
        let asked = DeleteRecordsRequest::default().with_topics(vec![topic]);
        let answer = api::delete_records::handle(&self.broker, asked).await;
        let gone = only(only(answer.topics)?.partitions)?;
        kafka::done(gone.error_code, None)?;
        Ok(Response::new(pb::TruncatePartitionResponse {
            previous_start_offset: before,
            log_start_offset: gone.low_watermark,
        }))
    }
}
