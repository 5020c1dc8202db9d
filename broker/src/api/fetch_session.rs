//! Fetch sessions (KIP-227): a consumer names its partitions once, then only what changed; answers leave out what did not.
//!
//! The cache is bounded by `max.incremental.fetch.session.cache.slots`. A full one makes room as Kafka's does: for anybody by a
//! session that was silent for two minutes; else by the smallest session older than that, if the new one is not smaller.
//! Without room the answer has session id 0, and the client goes on sessionless. Source: Apache Kafka, `FetchSession`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use kafka_compat::{
    fetch_response::FetchPartitionBody,
    protocol::{
        messages::{FetchRequest, TopicName},
        protocol::StrBytes,
    },
};
use parking_lot::Mutex;
use storage::units::TopicId;
use tokio::time::Instant;

use super::error_code::Kafka;

/// A session silent for so long makes way for any other; one older than this, for a larger one.
const EVICT_AFTER: Duration = Duration::from_mins(2);
const NO_SESSION: i32 = 0;
const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;
const TOPIC_IDS: i16 = 13;

/// A partition as a client asks for it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) topic: TopicName,
    pub(super) topic_id: TopicId,
    pub(super) index: i32,
    pub(super) leader_epoch: i32,
    pub(super) offset: i64,
    pub(super) last_epoch: i32,
    pub(super) max_bytes: i32,
    /// It is of a session, and the topic was found before.
    pub(super) was_there: bool,
}

/// Names a partition in a session: by the topic's id from v13 on, else by its name.
type Key = (TopicId, TopicName, i32);

/// What a session remembers of a partition.
#[derive(Debug)]
struct Cached {
    asked: Asked,
    /// Its place among the session's partitions; one that was answered with records goes to the end.
    turn: u64,
    /// As told last; -1 makes the next answer tell it.
    high_watermark: i64,
    log_start: i64,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    created: Instant,
    used: Instant,
    partitions: HashMap<Key, Cached>,
    order: BTreeMap<u64, Key>,
    next_turn: u64,
}

/// How a fetch belongs to sessions.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Sessionless,
    /// May begin a session.
    Full {
        by_id: bool,
    },
    Incremental {
        session: i32,
    },
}

/// A fetch that began: the partitions it is about, in their order.
#[derive(Debug)]
pub(super) struct Context {
    kind: Kind,
    pub(super) partitions: Vec<Asked>,
}

/// The sessions of this node.
#[derive(Debug, Default)]
pub struct FetchSessions(Mutex<HashMap<i32, Session>>);

impl FetchSessions {
    /// Takes in what a request says of its session.
    pub(super) fn begin(
        &self,
        version: i16,
        request: &FetchRequest,
        now: Instant,
    ) -> Result<Context, Kafka> {
        let by_id = version >= TOPIC_IDS;
        let (id, epoch) = (request.session_id, request.session_epoch);
        let asked = asked(request);
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH || version < 7 {
            if id != NO_SESSION {
                self.0.lock().remove(&id);
            }
            let kind = if epoch == FINAL_EPOCH || version < 7 {
                Kind::Sessionless
            } else {
                Kind::Full { by_id }
            };
            return Ok(Context {
                kind,
                partitions: asked,
            });
        }
        let mut sessions = self.0.lock();
        let session = sessions.get_mut(&id).ok_or(Kafka::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(Kafka::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(Kafka::FetchSessionTopicIdError);
        }
        session.update(asked.clone(), request);
        if session.partitions.is_empty() {
            sessions.remove(&id);
            return Ok(Context {
                kind: Kind::Sessionless,
                partitions: asked,
            });
        }
        session.used = now;
        session.epoch = epoch.checked_add(1).unwrap_or(1);
        let all = session.order.values();
        let partitions = all.filter_map(|key| session.partitions.get(key));
        Ok(Context {
            kind: Kind::Incremental { session: id },
            partitions: partitions.map(|cached| cached.asked.clone()).collect(),
        })
    }

    /// Takes in what is about to be answered: leaves out what did not change, and gives the session id to answer.
    pub(super) fn finish(
        &self,
        context: &Context,
        answers: &mut Vec<(Asked, FetchPartitionBody)>,
        slots: usize,
        now: Instant,
    ) -> i32 {
        match context.kind {
            Kind::Sessionless => NO_SESSION,
            Kind::Full { by_id } => {
                let mut sessions = self.0.lock();
                if !has_room(&mut sessions, answers.len(), slots, now) {
                    return NO_SESSION;
                }
                let mut session = Session::new(by_id, now);
                for (asked, body) in &*answers {
                    session.add(asked.clone());
                    session.told(asked, body);
                }
                let id = new_id(&sessions);
                sessions.insert(id, session);
                id
            }
            Kind::Incremental { session: id } => {
                if let Some(session) = self.0.lock().get_mut(&id) {
                    answers.retain(|(asked, body)| session.told(asked, body));
                }
                id
            }
        }
    }

    /// Sessions kept now.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The partitions of a request; of one named twice the last counts.
fn asked(request: &FetchRequest) -> Vec<Asked> {
    let count = request.topics.iter().map(|t| t.partitions.len()).sum();
    let mut asked = Vec::with_capacity(count);
    for topic in &request.topics {
        for p in &topic.partitions {
            asked.push(Asked {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                index: p.partition,
                leader_epoch: p.current_leader_epoch,
                offset: p.fetch_offset,
                last_epoch: p.last_fetched_epoch,
                max_bytes: p.partition_max_bytes,
                was_there: false,
            });
        }
    }
    if asked.len() > 1 {
        let mut seen = HashSet::with_capacity(asked.len());
        let mut kept: Vec<Asked> = asked
            .iter()
            .rev()
            .filter(|a| seen.insert((a.topic_id, &a.topic, a.index)))
            .cloned()
            .collect();
        if kept.len() < asked.len() {
            kept.reverse();
            return kept;
        }
    }
    asked
}

impl Asked {
    fn key(&self) -> Key {
        (self.topic_id, self.topic.clone(), self.index)
    }

    /// A copy that does not keep the request's frame in memory.
    fn detached(mut self) -> Self {
        self.topic = TopicName(StrBytes::from_string(self.topic.0.to_string()));
        self
    }
}

impl Session {
    fn new(by_id: bool, now: Instant) -> Self {
        Self {
            epoch: 1,
            by_id,
            created: now,
            used: now,
            partitions: HashMap::new(),
            order: BTreeMap::new(),
            next_turn: 0,
        }
    }

    fn update(&mut self, asked: Vec<Asked>, request: &FetchRequest) {
        for asked in asked {
            match self.partitions.get_mut(&asked.key()) {
                Some(cached) => {
                    let was_there = cached.asked.was_there;
                    cached.asked = Asked {
                        was_there,
                        ..asked.detached()
                    };
                }
                None => self.add(asked),
            }
        }
        for topic in &request.forgotten_topics_data {
            for index in &topic.partitions {
                let key = (topic.topic_id, topic.topic.clone(), *index);
                if let Some(cached) = self.partitions.remove(&key) {
                    self.order.remove(&cached.turn);
                }
            }
        }
    }

    fn add(&mut self, asked: Asked) {
        let asked = asked.detached();
        let (key, turn) = (asked.key(), self.next_turn);
        self.next_turn += 1;
        self.order.insert(turn, key.clone());
        let cached = Cached {
            asked,
            turn,
            high_watermark: -1,
            log_start: -1,
        };
        self.partitions.insert(key, cached);
    }

    /// Whether the answer tells something new of the partition. One with records goes to the end of the order: the next
    /// answer begins with others.
    fn told(&mut self, asked: &Asked, body: &FetchPartitionBody) -> bool {
        let Some(cached) = self.partitions.get_mut(&asked.key()) else {
            return true;
        };
        let has_records = body.records_len() > 0;
        let must_tell_again = body.error_code != 0 || body.diverging_epoch.is_some();
        let news = has_records
            || must_tell_again
            || cached.high_watermark != body.high_watermark
            || cached.log_start != body.log_start_offset;
        cached.asked.was_there |= !body.unknown;
        cached.log_start = body.log_start_offset;
        cached.high_watermark = if must_tell_again {
            -1
        } else {
            body.high_watermark
        };
        if has_records && let Some(key) = self.order.remove(&cached.turn) {
            cached.turn = self.next_turn;
            self.order.insert(self.next_turn, key);
            self.next_turn += 1;
        }
        news
    }
}

/// Whether a session of `size` partitions may be added; makes room where it may.
fn has_room(sessions: &mut HashMap<i32, Session>, size: usize, slots: usize, now: Instant) -> bool {
    if sessions.len() < slots {
        return true;
    }
    let silent = sessions.iter().min_by_key(|(_, s)| s.used);
    if let Some((id, _)) = silent.filter(|(_, s)| now.duration_since(s.used) > EVICT_AFTER) {
        let id = *id;
        sessions.remove(&id);
        return true;
    }
    let old = sessions
        .iter()
        .filter(|(_, s)| now.duration_since(s.created) > EVICT_AFTER)
        .min_by_key(|(id, s)| (s.partitions.len(), **id));
    match old.filter(|(_, s)| s.partitions.len() <= size) {
        Some((id, _)) => {
            let id = *id;
            sessions.remove(&id);
            true
        }
        None => false,
    }
}

fn new_id(sessions: &HashMap<i32, Session>) -> i32 {
    loop {
        // Random, so that a client does not take over a session of before a restart.
        let id = uuid::Uuid::new_v4().as_fields().0.cast_signed() & i32::MAX;
        if id != NO_SESSION && !sessions.contains_key(&id) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_compat::protocol::messages::fetch_request::{
        FetchPartition, FetchTopic, ForgottenTopic,
    };

    fn request(session: i32, epoch: i32, partitions: &[i32]) -> FetchRequest {
        let partitions = partitions
            .iter()
            .map(|i| FetchPartition::default().with_partition(*i));
        let topic = FetchTopic::default()
            .with_topic(TopicName("t".into()))
            .with_partitions(partitions.collect());
        FetchRequest::default()
            .with_session_id(session)
            .with_session_epoch(epoch)
            .with_topics(vec![topic])
    }

    fn answer(context: &Context, records: &[i32]) -> Vec<(Asked, FetchPartitionBody)> {
        let body = |index: i32| FetchPartitionBody {
            high_watermark: 5,
            log_start_offset: 0,
            chunks: if records.contains(&index) {
                vec![storage::log::Chunk::Bytes("x".into())]
            } else {
                Vec::new()
            },
            ..FetchPartitionBody::default()
        };
        let all = context.partitions.iter();
        all.map(|asked| (asked.clone(), body(asked.index)))
            .collect()
    }

    fn indexes(answers: &[(Asked, FetchPartitionBody)]) -> Vec<i32> {
        answers.iter().map(|(asked, _)| asked.index).collect()
    }

    #[test]
    fn only_changes_are_told_and_who_got_records_waits_for_the_others() {
        let sessions = FetchSessions::default();
        let now = Instant::now();
        let full = sessions.begin(12, &request(0, 0, &[0, 1, 2]), now).unwrap();
        let mut answers = answer(&full, &[]);
        let id = sessions.finish(&full, &mut answers, 10, now);
        assert!(id != 0 && answers.len() == 3);
        let next = sessions.begin(12, &request(id, 1, &[]), now).unwrap();
        assert_eq!(next.partitions.len(), 3);
        let mut answers = answer(&next, &[0]);
        assert_eq!(sessions.finish(&next, &mut answers, 10, now), id);
        assert_eq!(indexes(&answers), [0]);
        let mut forget = request(id, 2, &[3]);
        forget.forgotten_topics_data = vec![
            ForgottenTopic::default()
                .with_topic(TopicName("t".into()))
                .with_partitions(vec![2]),
        ];
        let next = sessions.begin(12, &forget, now).unwrap();
        assert_eq!(indexes(&answer(&next, &[])), [1, 0, 3]);
        let refused = |epoch| {
            sessions
                .begin(12, &request(id, epoch, &[]), now)
                .unwrap_err()
        };
        assert_eq!(refused(2), Kafka::InvalidFetchSessionEpoch);
        let by_id = sessions.begin(13, &request(id, 3, &[]), now).unwrap_err();
        assert_eq!(by_id, Kafka::FetchSessionTopicIdError);
        let closed = sessions.begin(12, &request(id, -1, &[1]), now).unwrap();
        assert_eq!(
            sessions.finish(&closed, &mut answer(&closed, &[]), 10, now),
            0
        );
        assert_eq!(refused(3), Kafka::FetchSessionIdNotFound);
    }

    #[test]
    fn a_full_cache_gives_way_to_larger_sessions_when_its_own_are_old_or_silent() {
        let sessions = FetchSessions::default();
        let start = Instant::now();
        let open = |partitions: &[i32], now| {
            let full = sessions.begin(12, &request(0, 0, partitions), now).unwrap();
            sessions.finish(&full, &mut answer(&full, &[]), 2, now)
        };
        let small = open(&[0], start);
        let large = open(&[0, 1, 2], start);
        assert_eq!(open(&[0, 1], start), 0, "both are young");
        let later = start + EVICT_AFTER;
        for id in [small, large] {
            sessions.begin(12, &request(id, 1, &[]), later).unwrap();
        }
        let later = later + Duration::from_secs(1);
        assert_ne!(open(&[0, 1], later), 0, "the small one is old");
        assert!(sessions.begin(12, &request(small, 2, &[]), later).is_err());
        let silent = later + EVICT_AFTER;
        sessions.begin(12, &request(large, 2, &[]), silent).unwrap();
        let after = silent + Duration::from_secs(1);
        assert_ne!(open(&[0], after), 0, "one was silent");
        assert_eq!(sessions.len(), 2);
    }

    #[test]
    fn a_partition_named_twice_is_asked_for_once_as_it_was_said_last() {
        let mut twice = request(0, 0, &[0, 1, 0]);
        twice.topics[0].partitions[2].fetch_offset = 9;
        let asked = asked(&twice);
        let seen: Vec<_> = asked.iter().map(|a| (a.index, a.offset)).collect();
        assert_eq!(seen, [(1, 0), (0, 9)]);
    }
}
