//! Fetch (key 1): versions 4 to 18.
//!
//! - Answers when `min_bytes` visible bytes are there, when `max_wait_ms` is over, or at once on any error; woken by the high
//!   watermark. Sessions (KIP-227) are not kept: session id 0 is Kafka's legal sessionless mode.
//! - The first batch is given whole however large (KIP-74); later partitions get what is left of `max_bytes`.
//! - Hidden frames are skipped, and the high watermark told is the visible end; positions are checked against the true ends
//!   (see DESIGN: consumers see holes, never fillers).
//! - v12: a fetch whose last epoch diverges gets the diverging epoch (KIP-595). v13 names topics by id (KIP-516).

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use kafka_compat::{
    fetch_response::{FetchBody, FetchPartitionBody, FetchTopicBody},
    protocol::messages::{FetchRequest, fetch_request::FetchPartition},
};
use storage::{
    log::{Offsets, ReadError, ReadUpTo},
    units::{LeaderEpoch, Offset},
};
use tokio::{
    sync::watch::Receiver,
    time::{Instant, timeout_at},
};

use super::{
    Broker,
    error_code::{self, Kafka},
    lookup,
};
use crate::{metadata::Topic, partition::Partition};

pub(super) async fn handle(broker: Arc<Broker>, version: i16, request: FetchRequest) -> FetchBody {
    if request.session_id != 0 && request.session_epoch > 0 {
        return FetchBody::error(Kafka::FetchSessionIdNotFound.code());
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + wait;
    loop {
        // Subscribed before reading: what is committed while we read wakes the wait below.
        let mut watches = watches(&broker, version, &request);
        let round = Round::read(&broker, version, &request);
        let enough = round.bytes >= usize::try_from(request.min_bytes).unwrap_or(0);
        if enough || round.failed || Instant::now() >= deadline || watches.is_empty() {
            if round.bytes > 0 {
                round.count(&broker);
            }
            return round.body;
        }
        let mut changed: FuturesUnordered<_> = watches.iter_mut().map(Receiver::changed).collect();
        if timeout_at(deadline, changed.next()).await.is_err() {
            let round = Round::read(&broker, version, &request);
            round.count(&broker);
            return round.body;
        }
    }
}

fn watches(broker: &Broker, version: i16, request: &FetchRequest) -> Vec<Receiver<Offsets>> {
    let image = broker.metadata.image();
    let mut watches = Vec::new();
    for asked in &request.topics {
        let Ok(topic) = lookup::topic(&image, &asked.topic, asked.topic_id, version >= 13) else {
            continue;
        };
        for p in &asked.partitions {
            if let Ok(partition) = lookup::partition(broker, topic, p.partition, -1) {
                let mut watch = partition.log().watch();
                watch.mark_unchanged();
                watches.push(watch);
            }
        }
    }
    watches
}

/// One pass over the partitions asked for.
struct Round {
    body: FetchBody,
    bytes: usize,
    failed: bool,
}

impl Round {
    fn read(broker: &Broker, version: i16, request: &FetchRequest) -> Self {
        let image = broker.metadata.image();
        let mut left = usize::try_from(request.max_bytes)
            .unwrap_or(0)
            .min(broker.config.fetch_max_bytes);
        let mut round = Self {
            body: FetchBody::default(),
            bytes: 0,
            failed: false,
        };
        for asked in &request.topics {
            let topic = lookup::topic(&image, &asked.topic, asked.topic_id, version >= 13);
            let mut partitions = Vec::with_capacity(asked.partitions.len());
            for p in &asked.partitions {
                let read = topic.and_then(|topic| {
                    let first = round.bytes == 0;
                    read_partition(broker, topic, p, left, first)
                });
                let body = match read {
                    Ok(body) => body,
                    Err(code) => FetchPartitionBody::error(p.partition, code.code()),
                };
                round.failed |= body.error_code != 0 || body.diverging_epoch.is_some();
                let bytes = body.records_len();
                round.bytes += bytes;
                left = left.saturating_sub(bytes);
                partitions.push(body);
            }
            round.body.topics.push(FetchTopicBody {
                name: asked.topic.clone(),
                topic_id: asked.topic_id,
                partitions,
            });
        }
        round
    }

    fn count(&self, broker: &Broker) {
        let image = broker.metadata.image();
        for topic in &self.body.topics {
            let bytes: usize = topic
                .partitions
                .iter()
                .map(FetchPartitionBody::records_len)
                .sum();
            if bytes > 0 {
                let by_id = image.topic_by_id(topic.topic_id).map(|t| t.name.as_str());
                broker
                    .metrics
                    .fetched(by_id.unwrap_or(topic.name.0.as_str()), bytes);
            }
        }
    }
}

fn read_partition(
    broker: &Broker,
    topic: &Topic,
    asked: &FetchPartition,
    left: usize,
    first: bool,
) -> Result<FetchPartitionBody, Kafka> {
    let partition = lookup::partition(broker, topic, asked.partition, asked.current_leader_epoch)?;
    let offsets = partition.offsets();
    let mut body = FetchPartitionBody {
        index: asked.partition,
        high_watermark: offsets.visible_end.0,
        last_stable_offset: offsets.visible_end.0,
        log_start_offset: offsets.log_start.0,
        ..FetchPartitionBody::default()
    };
    if let Some((epoch, end)) = diverging(&partition, asked) {
        body.diverging_epoch = Some((epoch.0, end.0));
        return Ok(body);
    }
    let max_bytes = left.min(usize::try_from(asked.partition_max_bytes).unwrap_or(0));
    let log = partition.log();
    match log.read(
        Offset(asked.fetch_offset),
        max_bytes,
        ReadUpTo::Visible,
        first,
    ) {
        Ok(read) => {
            body.chunks = read.chunks;
            Ok(body)
        }
        Err(error) => {
            if !matches!(error, ReadError::OutOfRange { .. }) {
                tracing::error!(topic = topic.name, partition = asked.partition,
                                offset = asked.fetch_offset, %error, "a fetch failed");
            }
            Err(error_code::of_read(&error))
        }
    }
}

/// Where the client's log and ours part (KIP-595), if the last epoch it saw ends earlier here.
fn diverging(partition: &Partition, asked: &FetchPartition) -> Option<(LeaderEpoch, Offset)> {
    if asked.last_fetched_epoch < 0 {
        return None;
    }
    let asked_epoch = LeaderEpoch(asked.last_fetched_epoch);
    let (epoch, end) = partition.log().end_offset_for_epoch(asked_epoch);
    (epoch < asked_epoch || end.0 < asked.fetch_offset).then_some((epoch, end))
}
