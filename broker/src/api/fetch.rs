//! Fetch (key 1): versions 4 to 18.
//!
//! - Answers when `min_bytes` visible bytes are there, when `max_wait_ms` is over, or at once on an error of a log; woken by the
//!   high watermark. Sessions (KIP-227) are kept in [`super::fetch_session`].
//! - The first batch is given whole however large (KIP-74); later partitions get what is left of `max_bytes`.
//! - Hidden frames are skipped, and the high watermark told is the visible end; positions are checked against the true ends
//!   (see DESIGN: consumers see holes, never fillers).
//! - v12: a fetch whose last epoch diverges gets the diverging epoch (KIP-595). v13 names topics by id (KIP-516). v16 tells the
//!   leader where this node is not it (KIP-951).

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use kafka_compat::{
    fetch_response::{FetchBody, FetchPartitionBody, FetchTopicBody, NodeEndpoint},
    protocol::messages::FetchRequest,
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
    fetch_session::{Asked, Context},
    lookup::{self, NO_EPOCH},
};
use crate::{
    metadata::{Image, Topic},
    partition::Partition,
};

const READ_COMMITTED: i8 = 1;
const TOPIC_IDS: i16 = 13;
const LEADER_HINTS: i16 = 16;

pub(super) async fn handle(broker: Arc<Broker>, version: i16, request: FetchRequest) -> FetchBody {
    let context = match broker
        .fetch_sessions
        .begin(version, &request, Instant::now())
    {
        Ok(context) => context,
        Err(code) => return FetchBody::error(code.code()),
    };
    let ask = Ask {
        version,
        max_bytes: usize::try_from(request.max_bytes).unwrap_or(0),
        // Only brokers say who they are, and there is no other one.
        from_replica: request.replica_id.0 >= 0 || request.replica_state.replica_id.0 >= 0,
        upto: if request.isolation_level == READ_COMMITTED {
            ReadUpTo::Stable
        } else {
            ReadUpTo::Visible
        },
    };
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    // A waiting fetch keeps no frame in memory.
    drop(request);
    let deadline = Instant::now() + wait;
    loop {
        let mut round = Round::read(&broker, &ask, &context);
        let enough = round.bytes >= min_bytes || round.failed || round.waits.is_empty();
        if enough || Instant::now() >= deadline {
            return round.answer(&broker, &ask, &context);
        }
        // A partition that is deleted meanwhile must not live on in a waiting fetch.
        round.sent.clear();
        // Only what a consumer may see wakes it: a partition that gets nothing but held records does not.
        let mut news: FuturesUnordered<_> = round
            .waits
            .iter_mut()
            .map(|(offsets, seen)| offsets.wait_for(|now| end(now, ask.upto) > *seen))
            .collect();
        if timeout_at(deadline, news.next()).await.is_err() {
            return Round::read(&broker, &ask, &context).answer(&broker, &ask, &context);
        }
    }
}

/// The end of what a client may see.
fn end(offsets: &Offsets, upto: ReadUpTo) -> Offset {
    match upto {
        ReadUpTo::Stable => offsets.visible_stable,
        ReadUpTo::Visible | ReadUpTo::All => offsets.visible_end,
    }
}

/// What holds for all partitions of a request.
struct Ask {
    version: i16,
    max_bytes: usize,
    from_replica: bool,
    upto: ReadUpTo,
}

/// One pass over the partitions asked for.
struct Round {
    answers: Vec<(Asked, FetchPartitionBody)>,
    /// What names no partition that there is; answered behind the others, and nobody waits less for it.
    unknown: Vec<(Asked, FetchPartitionBody)>,
    bytes: usize,
    failed: bool,
    /// Partitions that were read, each with the visible end before that.
    waits: Vec<(Receiver<Offsets>, Offset)>,
    /// Partitions that have records in the body, and how many bytes.
    sent: Vec<(Arc<Partition>, usize)>,
}

impl Round {
    fn read(broker: &Broker, ask: &Ask, context: &Context) -> Self {
        let image = broker.metadata.image();
        let mut left = ask.max_bytes.min(broker.config.get().fetch_max_bytes);
        let mut round = Self {
            answers: Vec::with_capacity(context.partitions.len()),
            unknown: Vec::new(),
            bytes: 0,
            failed: false,
            waits: Vec::with_capacity(context.partitions.len()),
            sent: Vec::new(),
        };
        for asked in &context.partitions {
            let topic = lookup::topic(
                &image,
                &asked.topic,
                asked.topic_id,
                ask.version >= TOPIC_IDS,
            );
            let topic = match topic.and_then(|t| lookup::is_there(t, asked.index).map(|()| t)) {
                Ok(topic) => topic,
                Err(code) => {
                    // A session's topic that was there once is looked for by its name.
                    let code = if asked.was_there {
                        Kafka::UnknownTopicOrPartition
                    } else {
                        code
                    };
                    let body = FetchPartitionBody::unknown(asked.index, code.code());
                    round.unknown.push((asked.clone(), body));
                    continue;
                }
            };
            let body = match round.partition(broker, ask, topic, asked, left) {
                Ok(body) => body,
                Err(code) => failed(topic, asked, code, ask.version),
            };
            round.failed |= body.error_code != 0 || body.diverging_epoch.is_some();
            let bytes = body.records_len();
            round.bytes += bytes;
            left = left.saturating_sub(bytes);
            round.answers.push((asked.clone(), body));
        }
        round
    }

    fn partition(
        &mut self,
        broker: &Broker,
        ask: &Ask,
        topic: &Topic,
        asked: &Asked,
        left: usize,
    ) -> Result<FetchPartitionBody, Kafka> {
        if ask.from_replica {
            return Err(Kafka::NotLeaderOrFollower);
        }
        // Here, unlike in other APIs, every negative epoch is none.
        let epoch = asked.leader_epoch.max(NO_EPOCH);
        let partition = lookup::partition(broker, topic, asked.index, epoch)?;
        // Subscribed before reading: what is committed meanwhile wakes the wait that follows.
        let offsets = partition.log().watch();
        let seen = end(&offsets.borrow(), ask.upto);
        let body = read_partition(&partition, topic, asked, left, ask.upto, self.bytes == 0)?;
        self.waits.push((offsets, seen));
        if body.records_len() > 0 {
            self.sent.push((partition, body.records_len()));
        }
        Ok(body)
    }

    fn answer(self, broker: &Broker, ask: &Ask, context: &Context) -> FetchBody {
        for (partition, bytes) in &self.sent {
            partition.metrics.fetched(*bytes);
        }
        let mut answers = self.answers;
        answers.extend(self.unknown);
        let slots = broker.config.get().fetch_session_slots;
        let now = Instant::now();
        let session_id = broker
            .fetch_sessions
            .finish(context, &mut answers, slots, now);
        let hinted = answers
            .iter()
            .any(|(_, body)| body.current_leader.is_some());
        let mut body = FetchBody {
            session_id,
            nodes: if hinted && !ask.from_replica {
                nodes(&broker.metadata.image())
            } else {
                Vec::new()
            },
            ..FetchBody::default()
        };
        for (asked, answer) in answers {
            match body.topics.last_mut() {
                Some(t) if t.topic_id == asked.topic_id && t.name == asked.topic => {
                    t.partitions.push(answer);
                }
                _ => body.topics.push(FetchTopicBody {
                    name: asked.topic,
                    topic_id: asked.topic_id,
                    partitions: vec![answer],
                }),
            }
        }
        body
    }
}

/// An error, with who leads where that is what the client got wrong (KIP-951).
fn failed(topic: &Topic, asked: &Asked, code: Kafka, version: i16) -> FetchPartitionBody {
    let mut body = FetchPartitionBody::error(asked.index, code.code());
    let hint = matches!(code, Kafka::NotLeaderOrFollower | Kafka::FencedLeaderEpoch);
    if hint && version >= LEADER_HINTS {
        let index = usize::try_from(asked.index).ok();
        let known = index.and_then(|i| topic.partitions.get(i));
        body.current_leader = known.map(|p| (p.leader, p.leader_epoch));
    }
    body
}

fn nodes(image: &Image) -> Vec<NodeEndpoint> {
    let brokers = image.brokers.iter();
    brokers
        .map(|(id, b)| NodeEndpoint {
            id: *id,
            host: b.host.clone(),
            port: b.port.into(),
            rack: b.rack.clone(),
        })
        .collect()
}

fn read_partition(
    partition: &Partition,
    topic: &Topic,
    asked: &Asked,
    left: usize,
    upto: ReadUpTo,
    first: bool,
) -> Result<FetchPartitionBody, Kafka> {
    let mut body = FetchPartitionBody {
        index: asked.index,
        ..FetchPartitionBody::default()
    };
    if let Some((epoch, end)) = diverging(partition, asked)? {
        body.diverging_epoch = Some((epoch.0, end.0));
    } else {
        let max_bytes = left.min(usize::try_from(asked.max_bytes).unwrap_or(0));
        let from = Offset(asked.offset);
        let log = partition.log();
        match log.read(from, max_bytes, upto, first) {
            Ok(read) => {
                if upto == ReadUpTo::Stable {
                    let aborted = match read.bytes {
                        0 => Vec::new(),
                        _ => log.aborted_transactions(from, read.end),
                    };
                    let aborted = aborted.into_iter();
                    let aborted = aborted.map(|a| (a.producer_id, a.first_offset.0));
                    body.aborted = Some(aborted.collect());
                }
                body.chunks = read.chunks;
            }
            Err(error) => {
                if !matches!(error, ReadError::OutOfRange { .. }) {
                    tracing::error!(topic = topic.name, partition = asked.index,
                                    offset = asked.offset, %error, "a fetch failed");
                }
                return Err(error_code::of_read(&error));
            }
        }
    }
    // Told as it is after the read: an answer never has records above the end it tells.
    let offsets = partition.offsets();
    body.high_watermark = offsets.visible_end.0;
    body.last_stable_offset = offsets.visible_stable.0;
    body.log_start_offset = offsets.log_start.0;
    Ok(body)
}

/// Where the client's log and ours part (KIP-595), if the last epoch it saw ends earlier here.
fn diverging(partition: &Partition, asked: &Asked) -> Result<Option<(LeaderEpoch, Offset)>, Kafka> {
    if asked.last_epoch < 0 {
        return Ok(None);
    }
    let asked_epoch = LeaderEpoch(asked.last_epoch);
    let (epoch, end) = partition.log().end_offset_for_epoch(asked_epoch);
    if end.0 < 0 || asked_epoch > partition.leader_epoch() {
        return Err(Kafka::OffsetOutOfRange);
    }
    Ok((epoch < asked_epoch || end.0 < asked.offset).then_some((epoch, end)))
}
