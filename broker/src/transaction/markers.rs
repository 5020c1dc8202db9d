//! Markers into partitions of this node: those of topics, and those where groups are.

use std::sync::Arc;

use storage::{control::Marker, log::AppendError};

use crate::{
    coordinator::{CoordinatorError, Producer},
    group::{self, Groups},
    metadata::Metadata,
    partition::{Partition, PartitionKey, Registry, Slot},
    schedule::fire_loop::FireHandle,
};

/// Why a marker was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// There is no such topic, or no such partition of it.
    NoSuchPartition,
    /// The producer had a later epoch there.
    Epoch(String),
    /// A later coordinator wrote there.
    Fenced(String),
    /// It may be later.
    NotNow(String),
}

/// What writing markers takes.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Topics.
    pub metadata: &'a Metadata,
    /// Partitions of them.
    pub registry: &'a Registry,
    /// Where offsets are.
    pub groups: &'a Groups,
    /// Who fires what a commit arms.
    pub fire: &'a FireHandle,
}

/// A partition, by its topic's name.
pub type Place = (String, i32);

/// Writes a marker into each partition; durable where it succeeds. All wait for their commit together.
pub async fn write_all(
    node: &Node<'_>,
    producer: Producer,
    marker: Marker,
    places: Vec<Place>,
) -> Vec<(Place, Result<(), Failed>)> {
    let mut written = Vec::with_capacity(places.len());
    let mut waits = Vec::new();
    for place in places {
        let appended = find(node, &place).and_then(|partition| {
            if place.0 == group::TOPIC {
                let appended = node.groups.append_marker(place.1, producer, marker);
                return appended.map_err(|e| failed(&e));
            }
            let appended = partition.append_marker(producer, marker, node.registry.now());
            let appended = appended.map_err(|e| refused(&e))?;
            if appended.arms {
                node.fire.watch(&partition);
            }
            Ok((partition, appended.committed_at))
        });
        match appended {
            Ok((partition, end)) => waits.push((place, partition, end)),
            Err(failed) => written.push((place, Err(failed))),
        }
    }
    for (place, partition, end) in waits {
        let result = if partition.committed(end).await {
            Ok(())
        } else {
            Err(Failed::NotNow("it was not committed".into()))
        };
        written.push((place, result));
    }
    written
}

fn find(node: &Node<'_>, (topic, index): &Place) -> Result<Arc<Partition>, Failed> {
    let image = node.metadata.image();
    let topic = image.topics.get(topic.as_str());
    let topic = topic.ok_or(Failed::NoSuchPartition)?;
    let has = usize::try_from(*index).is_ok_and(|index| index < topic.partitions.len());
    if !has {
        return Err(Failed::NoSuchPartition);
    }
    let key = PartitionKey {
        topic: topic.id,
        index: *index,
    };
    match node.registry.get(key) {
        Some(Slot::Online(partition)) => Ok(partition),
        _ => Err(Failed::NotNow("the partition is not open".into())),
    }
}

fn refused(error: &AppendError) -> Failed {
    match error {
        AppendError::InvalidProducerEpoch { .. } => Failed::Epoch(error.to_string()),
        AppendError::CoordinatorFenced { .. } => Failed::Fenced(error.to_string()),
        _ => Failed::NotNow(error.to_string()),
    }
}

fn failed(error: &CoordinatorError) -> Failed {
    match error {
        CoordinatorError::Append(error) => refused(error),
        error => Failed::NotNow(error.to_string()),
    }
}
