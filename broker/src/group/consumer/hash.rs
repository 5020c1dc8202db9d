//! What a group's topics are like, as one number: where it differs, the group assigns anew (KIP-1101).
//!
//! Source: Apache Kafka, `Utils.computeTopicHash` and `computeGroupHash`, whose numbers these are: XXH3 over little-endian fields,
//! a string as its UTF-16 units and their count.

use twox_hash::XxHash3_64;

use crate::metadata::{Image, Topic};

/// Opens what is hashed of a topic.
const TOPIC_MAGIC: u8 = 0;

/// Of topics in the order of their names; those that do not exist do not count. None: 0.
pub(super) fn of_topics<'a>(names: impl Iterator<Item = &'a String>, image: &Image) -> i64 {
    let topics = names.filter_map(|name| image.topics.get(name));
    let hashes: Vec<u8> = topics
        .flat_map(|topic| of_topic(topic, image).to_le_bytes())
        .collect();
    if hashes.is_empty() {
        return 0;
    }
    XxHash3_64::oneshot(&hashes).cast_signed()
}

fn of_topic(topic: &Topic, image: &Image) -> u64 {
    let mut bytes = vec![TOPIC_MAGIC];
    let (high, low) = topic.id.as_u64_pair();
    bytes.extend(high.to_le_bytes());
    bytes.extend(low.to_le_bytes());
    put_string(&mut bytes, &topic.name);
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    bytes.extend(count.to_le_bytes());
    for (index, partition) in (0i32..).zip(&topic.partitions) {
        bytes.extend(index.to_le_bytes());
        let brokers = partition.replicas.iter();
        let brokers = brokers.filter_map(|id| image.brokers.get(id));
        let mut racks: Vec<_> = brokers.filter_map(|broker| broker.rack.as_ref()).collect();
        racks.sort();
        racks.dedup();
        for rack in racks {
            let len = i32::try_from(rack.encode_utf16().count()).unwrap_or(i32::MAX);
            bytes.extend(len.to_le_bytes());
            put_string(&mut bytes, rack);
        }
    }
    XxHash3_64::oneshot(&bytes)
}

fn put_string(bytes: &mut Vec<u8>, text: &str) {
    let mut len = 0i32;
    for unit in text.encode_utf16() {
        bytes.extend(unit.to_le_bytes());
        len += 1;
    }
    bytes.extend(len.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use storage::units::TopicId;

    use super::*;
    use crate::metadata::Command;

    fn image(partitions: usize, rack: Option<&str>) -> Image {
        let mut image = Image::default();
        image.apply(Command::RegisterBroker {
            id: 1,
            host: "h".into(),
            port: 1,
            rack: rack.map(str::to_owned),
        });
        image.apply(Command::CreateTopic {
            name: "topic-ü".into(),
            topic_id: TopicId::from_u64_pair(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210),
            assignments: vec![vec![1]; partitions],
            configs: BTreeMap::new(),
        });
        image
    }

    /// As hash4j, which Kafka uses, has them.
    #[test]
    fn the_numbers_are_kafkas() {
        let names = ["missing".to_owned(), "topic-ü".to_owned()];
        let hash = |image| of_topics(names.iter(), &image);
        assert_eq!(hash(image(3, None)), 4_132_145_734_166_742_120);
        assert_eq!(hash(image(2, Some("rack"))), 871_212_298_594_977_130);
        assert_eq!(hash(Image::default()), 0);
    }
}
