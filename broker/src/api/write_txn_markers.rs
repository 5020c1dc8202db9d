//! WriteTxnMarkers (key 27): versions 1 and 2. Ends producers' transactions in partitions, whatever the coordinator says: how an
//! operator aborts one that hangs (KIP-664).

use std::{collections::HashMap, sync::Arc};

use kafka_compat::{
    marker_request::{MarkerAsked, MarkerRequest},
    protocol::messages::{
        ProducerId, WriteTxnMarkersResponse,
        write_txn_markers_response::{
            WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
        },
    },
};
use storage::control::{Marker, MarkerKind};

use super::{Broker, error_code::Kafka, lookup};
use crate::{
    coordinator::Producer,
    transaction::markers::{self, Failed, Node},
};

pub(super) async fn handle(broker: Arc<Broker>, request: MarkerRequest) -> WriteTxnMarkersResponse {
    let mut results = Vec::with_capacity(request.markers.len());
    for asked in &request.markers {
        results.push(one(&broker, asked).await);
    }
    WriteTxnMarkersResponse::default().with_markers(results)
}

async fn one(broker: &Broker, asked: &MarkerAsked) -> WritableTxnMarkerResult {
    let marker = Marker {
        kind: if asked.commit {
            MarkerKind::Commit
        } else {
            MarkerKind::Abort
        },
        coordinator_epoch: asked.coordinator_epoch,
        transaction_version: asked.transaction_version,
    };
    let producer = Producer {
        id: asked.producer_id,
        epoch: asked.producer_epoch,
    };
    let node = Node {
        metadata: &broker.metadata,
        registry: &broker.registry,
        groups: &broker.groups,
        fire: &broker.fire,
    };
    let places = asked.topics.iter().flat_map(|(topic, indexes)| {
        let indexes = indexes.iter();
        indexes.map(|index| (topic.clone(), *index))
    });
    let written = markers::write_all(&node, producer, marker, places.collect()).await;
    let codes: HashMap<_, _> = written
        .into_iter()
        .map(|(place, result)| (place, result.err().map_or(0, |failed| code(&failed))))
        .collect();
    let topics = asked.topics.iter().map(|(topic, indexes)| {
        let partitions = indexes.iter().map(|index| {
            let code = codes.get(&(topic.clone(), *index));
            WritableTxnMarkerPartitionResult::default()
                .with_partition_index(*index)
                .with_error_code(code.copied().unwrap_or(0))
        });
        WritableTxnMarkerTopicResult::default()
            .with_name(lookup::name(topic))
            .with_partitions(partitions.collect())
    });
    WritableTxnMarkerResult::default()
        .with_producer_id(ProducerId(asked.producer_id))
        .with_topics(topics.collect())
}

fn code(failed: &Failed) -> i16 {
    match failed {
        Failed::NoSuchPartition => Kafka::UnknownTopicOrPartition.code(),
        Failed::Epoch(_) => Kafka::InvalidProducerEpoch.code(),
        Failed::Fenced(_) => Kafka::TransactionCoordinatorFenced.code(),
        Failed::NotNow(_) => Kafka::NotLeaderOrFollower.code(),
    }
}
