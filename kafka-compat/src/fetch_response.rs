//! Fetch answers, versions 4 to 18, written without touching the records: small buffers between slices of segment files.
//!
//! Tagged fields are left out where they have their defaults: librdkafka before 2.2 mistakes the length of each tag it skips.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::TopicName;
use storage::{log::Chunk, units::TopicId};

const FLEXIBLE: i16 = 12;
const TOPIC_IDS: i16 = 13;
const NODE_ENDPOINTS: i16 = 16;

/// A Fetch answer.
#[derive(Debug, Default)]
pub struct FetchBody {
    /// An error of the whole request (v7).
    pub error_code: i16,
    /// The session that the client may go on with; 0 none.
    pub session_id: i32,
    /// Per topic.
    pub topics: Vec<FetchTopicBody>,
    /// Where the leaders named in it are (v16).
    pub nodes: Vec<NodeEndpoint>,
}

/// A broker's address.
#[derive(Clone, Debug)]
pub struct NodeEndpoint {
    /// Its id.
    pub id: i32,
    /// Where clients reach it.
    pub host: String,
    /// Where clients reach it.
    pub port: i32,
    /// Its rack.
    pub rack: Option<String>,
}

/// A topic's part.
#[derive(Debug, Default)]
pub struct FetchTopicBody {
    /// Up to v12.
    pub name: TopicName,
    /// From v13 on.
    pub topic_id: TopicId,
    /// Per partition.
    pub partitions: Vec<FetchPartitionBody>,
}

/// A partition's part.
#[derive(Debug)]
pub struct FetchPartitionBody {
    /// Its number.
    pub index: i32,
    /// Kafka's code.
    pub error_code: i16,
    /// The end that consumers are told.
    pub high_watermark: i64,
    /// The end for `read_committed`.
    pub last_stable_offset: i64,
    /// The first offset.
    pub log_start_offset: i64,
    /// Where the client's log and ours part: epoch and its end (v12).
    pub diverging_epoch: Option<(i32, i64)>,
    /// Who leads and its epoch, where the client asked the wrong one (v12).
    pub current_leader: Option<(i32, i32)>,
    /// Aborted transactions with something in the records, each with its producer's id and its first offset, in the order in which
    /// they ended. A list is told to who asks for committed records only and gets some, and of partitions that are not known.
    pub aborted: Option<Vec<(i64, i64)>>,
    /// The partition is not known.
    pub unknown: bool,
    /// The records.
    pub chunks: Vec<Chunk>,
}

impl Default for FetchPartitionBody {
    fn default() -> Self {
        Self {
            index: 0,
            error_code: 0,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            current_leader: None,
            aborted: None,
            unknown: false,
            chunks: Vec::new(),
        }
    }
}

impl FetchBody {
    /// An error of the whole request.
    pub fn error(code: i16) -> Self {
        Self {
            error_code: code,
            ..Self::default()
        }
    }

    pub(crate) fn first_error(&self) -> Option<i16> {
        let partitions = self
            .topics
            .iter()
            .flat_map(|t| &t.partitions)
            .map(|p| p.error_code);
        std::iter::once(self.error_code)
            .chain(partitions)
            .find(|code| *code != 0)
    }

    /// Writes the answer behind what `head` has.
    pub(crate) fn encode(self, head: BytesMut, version: i16, out: &mut Vec<Chunk>) {
        let mut w = Writer {
            buffer: head,
            flexible: version >= FLEXIBLE,
            out,
        };
        w.buffer.put_i32(0);
        if version >= 7 {
            w.buffer.put_i16(self.error_code);
            w.buffer.put_i32(self.session_id);
        }
        w.length(self.topics.len(), 4);
        for topic in self.topics {
            if version >= TOPIC_IDS {
                w.buffer.put_slice(topic.topic_id.as_bytes());
            } else {
                w.length(topic.name.0.len(), 2);
                w.buffer.put_slice(topic.name.0.as_bytes());
            }
            w.length(topic.partitions.len(), 4);
            for partition in topic.partitions {
                w.partition(partition, version);
            }
            w.no_tags();
        }
        if version >= NODE_ENDPOINTS && !self.nodes.is_empty() {
            w.nodes(&self.nodes);
        } else {
            w.no_tags();
        }
        w.flush();
    }
}

impl FetchPartitionBody {
    /// An error.
    pub fn error(index: i32, code: i16) -> Self {
        Self {
            index,
            error_code: code,
            ..Self::default()
        }
    }

    /// Names a partition that is not known.
    pub fn unknown(index: i32, code: i16) -> Self {
        Self {
            aborted: Some(Vec::new()),
            unknown: true,
            ..Self::error(index, code)
        }
    }

    /// Bytes of its records.
    pub fn records_len(&self) -> usize {
        self.chunks.iter().map(Chunk::len).sum()
    }
}

struct Writer<'a> {
    buffer: BytesMut,
    flexible: bool,
    out: &'a mut Vec<Chunk>,
}

impl Writer<'_> {
    fn partition(&mut self, p: FetchPartitionBody, version: i16) {
        self.buffer.put_i32(p.index);
        self.buffer.put_i16(p.error_code);
        self.buffer.put_i64(p.high_watermark);
        self.buffer.put_i64(p.last_stable_offset);
        if version >= 5 {
            self.buffer.put_i64(p.log_start_offset);
        }
        if let Some(aborted) = &p.aborted {
            self.length(aborted.len(), 4);
            for (producer_id, first_offset) in aborted {
                self.buffer.put_i64(*producer_id);
                self.buffer.put_i64(*first_offset);
                if self.flexible {
                    self.buffer.put_u8(0);
                }
            }
        } else if self.flexible {
            self.buffer.put_u8(0);
        } else {
            self.buffer.put_i32(-1);
        }
        if version >= 11 {
            self.buffer.put_i32(-1);
        }
        // Empty, never null: librdkafka takes null for a broken answer.
        self.length(p.records_len(), 4);
        if !p.chunks.is_empty() {
            self.flush();
            self.out.extend(p.chunks);
        }
        if !self.flexible {
            return;
        }
        let tags =
            usize::from(p.diverging_epoch.is_some()) + usize::from(p.current_leader.is_some());
        self.varint(tags);
        if let Some((epoch, end)) = p.diverging_epoch {
            self.buffer.put_slice(&[0, 13]);
            self.buffer.put_i32(epoch);
            self.buffer.put_i64(end);
            self.buffer.put_u8(0);
        }
        if let Some((leader, epoch)) = p.current_leader {
            self.buffer.put_slice(&[1, 9]);
            self.buffer.put_i32(leader);
            self.buffer.put_i32(epoch);
            self.buffer.put_u8(0);
        }
    }

    /// The one tag of the answer itself.
    fn nodes(&mut self, nodes: &[NodeEndpoint]) {
        let mut list = Writer {
            buffer: BytesMut::new(),
            flexible: true,
            out: &mut Vec::new(),
        };
        list.length(nodes.len(), 4);
        for node in nodes {
            list.buffer.put_i32(node.id);
            list.length(node.host.len(), 2);
            list.buffer.put_slice(node.host.as_bytes());
            list.buffer.put_i32(node.port);
            match &node.rack {
                None => list.buffer.put_u8(0),
                Some(rack) => {
                    list.length(rack.len(), 2);
                    list.buffer.put_slice(rack.as_bytes());
                }
            }
            list.no_tags();
        }
        let list = list.buffer;
        self.buffer.put_slice(&[1, 0]);
        self.varint(list.len());
        self.buffer.put_slice(&list);
    }

    /// A length: as an unsigned varint of length + 1 where flexible, else of `fixed` bytes.
    fn length(&mut self, len: usize, fixed: usize) {
        if self.flexible {
            self.varint(len + 1);
        } else if fixed == 2 {
            self.buffer.put_i16(i16::try_from(len).unwrap_or(i16::MAX));
        } else {
            self.buffer.put_i32(i32::try_from(len).unwrap_or(i32::MAX));
        }
    }

    fn varint(&mut self, mut n: usize) {
        while n >= 0x80 {
            self.buffer
                .put_u8(u8::try_from(n & 0x7f).unwrap_or(0) | 0x80);
            n >>= 7;
        }
        self.buffer.put_u8(u8::try_from(n).unwrap_or(0));
    }

    fn no_tags(&mut self) {
        if self.flexible {
            self.buffer.put_u8(0);
        }
    }

    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.out.push(Chunk::Bytes(self.buffer.split().freeze()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Buf, Bytes};
    use kafka_protocol::{messages::FetchResponse, protocol::Decodable};

    fn partition(chunks: Vec<Chunk>, is_committed: bool) -> FetchPartitionBody {
        FetchPartitionBody {
            index: 3,
            high_watermark: 40,
            last_stable_offset: 40,
            log_start_offset: 1,
            diverging_epoch: Some((2, 7)),
            current_leader: Some((1, 4)),
            aborted: is_committed.then(|| vec![(9, 12), (8, 20)]),
            chunks,
            ..FetchPartitionBody::default()
        }
    }

    #[test]
    fn every_version_is_what_the_codec_reads() {
        let id = TopicId::from_u128(5);
        for version in 4..=18 {
            let records = vec![
                Chunk::Bytes(Bytes::from(vec![1; 200])),
                Chunk::Bytes(Bytes::from("x")),
            ];
            let topic = FetchTopicBody {
                name: TopicName("topic".into()),
                topic_id: id,
                partitions: vec![
                    partition(records, version % 2 == 0),
                    FetchPartitionBody::error(4, 6),
                ],
            };
            let body = FetchBody {
                session_id: 77,
                topics: vec![topic],
                nodes: vec![NodeEndpoint {
                    id: 1,
                    host: "here".into(),
                    port: 9092,
                    rack: Some("r".into()),
                }],
                ..FetchBody::default()
            };
            let mut chunks = Vec::new();
            body.encode(BytesMut::new(), version, &mut chunks);
            let mut wire = BytesMut::new();
            for chunk in chunks {
                let Chunk::Bytes(bytes) = chunk else { continue };
                wire.put_slice(&bytes);
            }
            let mut wire = wire.freeze();
            let read = FetchResponse::decode(&mut wire, version).unwrap();
            assert_eq!(wire.remaining(), 0, "version {version}");
            let topic = &read.responses[0];
            assert_eq!(topic.topic_id == id, version >= 13, "version {version}");
            assert_eq!(topic.topic.0.is_empty(), version >= 13);
            let p = &topic.partitions[0];
            assert_eq!(
                (p.partition_index, p.high_watermark, p.error_code),
                (3, 40, 0)
            );
            assert_eq!(p.records.as_ref().unwrap().len(), 201);
            assert_eq!(
                p.diverging_epoch.end_offset,
                if version >= 12 { 7 } else { -1 }
            );
            assert_eq!(
                p.current_leader.leader_epoch,
                if version >= 12 { 4 } else { -1 }
            );
            let aborted = p.aborted_transactions.as_ref().map(|all| {
                let all = all.iter().map(|a| (a.producer_id.0, a.first_offset));
                all.collect::<Vec<_>>()
            });
            let told = (version % 2 == 0).then(|| vec![(9, 12), (8, 20)]);
            assert_eq!(aborted, told);
            assert_eq!(read.session_id, if version >= 7 { 77 } else { 0 });
            assert_eq!(read.node_endpoints.len(), usize::from(version >= 16));
            assert_eq!(topic.partitions[1].error_code, 6);
            assert_eq!(topic.partitions[1].records.as_ref().unwrap().len(), 0);
        }
    }
}
