//! What consumers and their leader write into the classic protocol: `ConsumerProtocolSubscription`, `ConsumerProtocolAssignment`.
//!
//! ```text
//! subscription  version i16 | topics strings | user data | from 1: owned (topic string, partitions) | from 2: generation i32
//!               | from 3: rack nullable string
//! assignment    version i16 | topics (string, partitions) | user data
//! ```
//! Not the codec's to read: it allocates what a count announces.

use bytes::{Buf, Bytes};
use storage::units::TopicId;

use super::member::Target;
use crate::{
    coordinator::{Reader, Writer},
    metadata::Image,
};

/// The highest version of both; later ones add fields behind.
const VERSION_MAX: i16 = 3;

/// Partitions of topics, by name.
pub(crate) type Places = Vec<(String, Vec<i32>)>;

/// What a consumer wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) topics: Vec<String>,
    pub(super) owned: Places,
    pub(super) rack: Option<String>,
}

/// `None` where it cannot be read.
pub(super) fn read_subscription(bytes: Bytes) -> Option<Subscription> {
    let mut from = Reader::new(bytes);
    let version = from.i16()?;
    let count = from.i32()?;
    let mut read = Subscription {
        topics: (0..count).map(|_| from.string()).collect::<Option<_>>()?,
        ..Subscription::default()
    };
    let _user_data = nullable_bytes(&mut from)?;
    if version >= 1 {
        read.owned = places(&mut from)?;
    }
    if version >= 2 {
        from.i32()?;
    }
    if version >= 3 {
        read.rack = from.nullable_string()?.filter(|rack| !rack.is_empty());
    }
    Some(read)
}

/// What was assigned, and what the leader's assignor added of its own; `None` where it cannot be read.
pub(crate) fn read_assignment(bytes: Bytes) -> Option<(Places, Bytes)> {
    let mut from = Reader::new(bytes);
    let _version = from.i16()?;
    let topics = places(&mut from)?;
    Some((topics, nullable_bytes(&mut from)?))
}

/// As a member that wrote such a subscription reads it.
pub(super) fn write_assignment(target: &Target, subscription: &Bytes, image: &Image) -> Bytes {
    let topics = target.iter().filter_map(|(id, partitions)| {
        let topic = image.topic_by_id(*id)?;
        Some((topic, partitions))
    });
    let topics: Vec<_> = topics.collect();
    let mut out = Writer::default().i16(version_of(subscription));
    out = out.i32(count(topics.len()));
    for (topic, partitions) in topics {
        out = out.string(&topic.name).i32(count(partitions.len()));
        out = partitions.iter().fold(out, |out, p| out.i32(*p));
    }
    // No user data.
    out.i32(-1).finish()
}

/// Names to ids; topics that do not exist are left out.
pub(super) fn by_id(places: Places, image: &Image) -> Vec<(TopicId, Vec<i32>)> {
    let places = places.into_iter();
    places
        .filter_map(|(name, partitions)| Some((image.topics.get(&name)?.id, partitions)))
        .collect()
}

fn version_of(subscription: &Bytes) -> i16 {
    let version = subscription.clone().try_get_i16().unwrap_or(0);
    version.clamp(0, VERSION_MAX)
}

fn places(from: &mut Reader) -> Option<Places> {
    let count = from.i32()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let topic = from.string()?;
        let partitions = from.i32()?;
        let partitions: Option<Vec<i32>> = (0..partitions).map(|_| from.i32()).collect();
        topics.push((topic, partitions?));
    }
    Some(topics)
}

/// Null reads as empty.
fn nullable_bytes(from: &mut Reader) -> Option<Bytes> {
    let len = from.i32()?;
    if len < 0 {
        return Some(Bytes::new());
    }
    let bytes: Option<Vec<u8>> = (0..len).map(|_| from.u8()).collect();
    bytes.map(Bytes::from)
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
