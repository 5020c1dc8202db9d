//! Partitions that messages name.

use std::sync::Arc;

use tonic::{Code, Status};

use super::errors::{self, status};
use crate::{
    api::Broker,
    partition::{Partition, PartitionKey, Slot},
};

/// Does what blocks on the disk where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(task).await;
    done.map_err(|_stopping| errors::again_soon("PARTITION_OFFLINE", "the node stops"))
}

/// One of a topic's partitions.
pub(super) fn partition(
    broker: &Broker,
    topic: &str,
    index: i32,
) -> Result<Arc<Partition>, Status> {
    let found = partitions(broker, topic, &[index])?;
    found.into_iter().next().ok_or_else(|| {
        let why = format!("there is no partition {topic}-{index}");
        status(Code::NotFound, "TOPIC_NOT_FOUND", why)
    })
}

/// Partitions of one topic; or of all, then with the number of those that are offline and cannot be told of.
pub(super) fn partitions_or_all(
    broker: &Broker,
    topic: &str,
) -> Result<(Vec<Arc<Partition>>, i32), Status> {
    if topic.is_empty() {
        let offline = broker.registry.offline().len();
        let offline = i32::try_from(offline).unwrap_or(i32::MAX);
        Ok((broker.registry.online(), offline))
    } else {
        Ok((partitions(broker, topic, &[])?, 0))
    }
}

/// The topic's partitions, all or some, in order.
pub(super) fn partitions(
    broker: &Broker,
    topic: &str,
    only: &[i32],
) -> Result<Vec<Arc<Partition>>, Status> {
    let image = broker.metadata.image();
    let Some(found) = image.topics.get(topic) else {
        let why = format!("there is no topic '{topic}'");
        return Err(status(Code::NotFound, "TOPIC_NOT_FOUND", why));
    };
    let count = i32::try_from(found.partitions.len()).unwrap_or(i32::MAX);
    let mut wanted = if only.is_empty() {
        (0..count).collect()
    } else {
        only.to_vec()
    };
    wanted.sort_unstable();
    wanted.dedup();
    let open = |index: i32| {
        let key = PartitionKey {
            topic: found.id,
            index,
        };
        match broker.registry.get(key) {
            Some(Slot::Online(partition)) => Ok(partition),
            Some(Slot::Offline { why, .. }) => {
                let why = format!("{topic}-{index}: {why}");
                Err(status(Code::Unavailable, "PARTITION_OFFLINE", why))
            }
            None if (0..count).contains(&index) => {
                let why = format!("{topic}-{index} is being opened");
                Err(errors::again_soon("PARTITION_OFFLINE", why))
            }
            None => {
                let why = format!("topic '{topic}' has no partition {index}");
                Err(status(Code::NotFound, "TOPIC_NOT_FOUND", why))
            }
        }
    };
    wanted.into_iter().map(open).collect()
}
