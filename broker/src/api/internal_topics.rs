//! Topics that the node keeps its own state in: made when they are first needed, and closed to clients' writes.

use std::{collections::BTreeMap, future::Future, time::Duration};

use tokio::time::timeout;

use super::{
    Broker,
    auto_create::{self, Wish},
    error_code::Kafka,
};
use crate::{group, transaction};

/// So long a request waits for a coordinator that is new.
const LOAD_PATIENCE: Duration = Duration::from_secs(2);

/// Makes the topic of groups, if it is not there.
pub(crate) async fn ensure_offsets(broker: &Broker) -> Result<(), Kafka> {
    let config = broker.config.get().groups;
    let configs = vec![
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", config.topic_segment_bytes.to_string()),
    ];
    let made = ensure(broker, group::TOPIC, config.topic_partitions, configs).await?;
    wait_if(made, broker.groups.loaded()).await;
    Ok(())
}

/// Makes the topic of transactions, if it is not there.
pub(super) async fn ensure_transactions(broker: &Broker) -> Result<(), Kafka> {
    let config = broker.config.get().transactions;
    let configs = vec![
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "uncompressed".to_owned()),
        ("segment.bytes", config.topic_segment_bytes.to_string()),
    ];
    let made = ensure(broker, transaction::TOPIC, config.topic_partitions, configs).await?;
    wait_if(made, broker.transactions.loaded()).await;
    Ok(())
}

/// A client that asks the new coordinator too early waits longer than this takes.
async fn wait_if(made: bool, loaded: impl Future<Output = ()>) {
    if made && timeout(LOAD_PATIENCE, loaded).await.is_err() {
        tracing::warn!("a new coordinator takes long to load");
    }
}

/// Whether it was made.
async fn ensure(
    broker: &Broker,
    topic: &str,
    partitions: i32,
    configs: Vec<(&str, String)>,
) -> Result<bool, Kafka> {
    if broker.metadata.image().topics.contains_key(topic) {
        return Ok(false);
    }
    let wish = Wish {
        name: topic.to_owned(),
        partitions,
        replication_factor: 1,
        configs: configs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<BTreeMap<_, _>>(),
    };
    match auto_create::create(broker, wish).await {
        Ok(_) | Err((Kafka::TopicAlreadyExists, _)) => Ok(true),
        Err((code, why)) => {
            tracing::warn!(topic, ?code, why, "cannot be made");
            Err(Kafka::CoordinatorNotAvailable)
        }
    }
}
