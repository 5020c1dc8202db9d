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
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    loop {
        let mut round = Round::read(&broker, version, &request);
        let enough = round.bytes >= min_bytes || round.failed || round.waits.is_empty();
        if enough || Instant::now() >= deadline {
            return round.answer();
        }
        // A partition that is deleted meanwhile must not live on in a waiting fetch.
        round.sent.clear();
        // Only what a consumer may see wakes it: a partition that gets nothing but held records does not.
        let mut news: FuturesUnordered<_> = round
            .waits
            .iter_mut()
            .map(|(offsets, seen)| offsets.wait_for(|now| now.visible_end > *seen))
            .collect();
        if timeout_at(deadline, news.next()).await.is_err() {
            return Round::read(&broker, version, &request).answer();
        }
    }
}

/// One pass over the partitions asked for.
struct Round {
    body: FetchBody,
    bytes: usize,
    failed: bool,
    /// Partitions that were read, each with the visible end before that.
    waits: Vec<(Receiver<Offsets>, Offset)>,
    /// Partitions that have records in the body, and how many bytes.
    sent: Vec<(Arc<Partition>, usize)>,
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
            waits: Vec::new(),
            sent: Vec::new(),
        };
        for asked in &request.topics {
            let topic = lookup::topic(&image, &asked.topic, asked.topic_id, version >= 13);
            let mut partitions = Vec::with_capacity(asked.partitions.len());
            for p in &asked.partitions {
                let body = match topic.and_then(|topic| round.partition(broker, topic, p, left)) {
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

    fn partition(
        &mut self,
        broker: &Broker,
        topic: &Topic,
        asked: &FetchPartition,
        left: usize,
    ) -> Result<FetchPartitionBody, Kafka> {
        let epoch = asked.current_leader_epoch;
        let partition = lookup::partition(broker, topic, asked.partition, epoch)?;
        // Subscribed before reading: what is committed meanwhile wakes the wait that follows.
        let offsets = partition.log().watch();
        let seen = offsets.borrow().visible_end;
        let body = read_partition(&partition, topic, asked, left, self.bytes == 0)?;
        self.waits.push((offsets, seen));
        if body.records_len() > 0 {
            self.sent.push((partition, body.records_len()));
        }
        Ok(body)
    }

    fn answer(self) -> FetchBody {
        for (partition, bytes) in &self.sent {
            partition.metrics.fetched(*bytes);
        }
        self.body
    }
}

fn read_partition(
    partition: &Partition,
    topic: &Topic,
    asked: &FetchPartition,
    left: usize,
    first: bool,
) -> Result<FetchPartitionBody, Kafka> {
    let mut body = FetchPartitionBody {
        index: asked.partition,
        ..FetchPartitionBody::default()
    };
    if let Some((epoch, end)) = diverging(partition, asked)? {
        body.diverging_epoch = Some((epoch.0, end.0));
    } else {
        let max_bytes = left.min(usize::try_from(asked.partition_max_bytes).unwrap_or(0));
        let from = Offset(asked.fetch_offset);
        let log = partition.log();
        match log.read(from, max_bytes, ReadUpTo::Visible, first) {
            Ok(read) => body.chunks = read.chunks,
            Err(error) => {
                if !matches!(error, ReadError::OutOfRange { .. }) {
                    tracing::error!(topic = topic.name, partition = asked.partition,
                                    offset = asked.fetch_offset, %error, "a fetch failed");
                }
                return Err(error_code::of_read(&error));
            }
        }
    }
    // Told as it is after the read: an answer never has records above the end it tells.
    let offsets = partition.offsets();
    body.high_watermark = offsets.visible_end.0;
    body.last_stable_offset = offsets.visible_end.0;
    body.log_start_offset = offsets.log_start.0;
    Ok(body)
}

/// Where the client's log and ours part (KIP-595), if the last epoch it saw ends earlier here.
fn diverging(
    partition: &Partition,
    asked: &FetchPartition,
) -> Result<Option<(LeaderEpoch, Offset)>, Kafka> {
    if asked.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let asked_epoch = LeaderEpoch(asked.last_fetched_epoch);
    let (epoch, end) = partition.log().end_offset_for_epoch(asked_epoch);
    if epoch.0 < 0 {
        return Err(Kafka::OffsetOutOfRange);
    }
    Ok((epoch < asked_epoch || end.0 < asked.fetch_offset).then_some((epoch, end)))
}
