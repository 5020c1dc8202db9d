//! WriteTxnMarkers (key 27): versions 1 and 2. Ends producers' transactions in partitions, whatever the coordinator says: how an
//! operator aborts one that hangs (KIP-664).

use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
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

/// What a batch without a producer has.
const NO_EPOCH: i16 = -1;

/// A partition, and the code of what became of the marker there.
type Codes = IndexMap<(String, i32), i16>;

pub(super) async fn handle(broker: Arc<Broker>, request: MarkerRequest) -> WriteTxnMarkersResponse {
    // Kafka answers by producer: of several markers of one, each partition has the last's code.
    let mut by_producer: IndexMap<i64, Codes> = IndexMap::new();
    for asked in &request.markers {
        // Without partitions Kafka says nothing of it.
        if asked.topics.iter().any(|(_, indexes)| !indexes.is_empty()) {
            let codes = one(&broker, asked).await;
            let known = by_producer.entry(asked.producer_id).or_default();
            known.extend(codes);
        }
    }
    let markers = by_producer.into_iter().map(told).collect();
    WriteTxnMarkersResponse::default().with_markers(markers)
}

async fn one(broker: &Broker, asked: &MarkerAsked) -> Codes {
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
    let places: IndexSet<_> = places.collect();
    let is_nobodys = producer.id < 0 || producer.epoch == NO_EPOCH || asked.transaction_version < 0;
    if is_nobodys {
        // There is no such batch; Kafka's handler fails where it would make one.
        let code = Kafka::UnknownServerError.code();
        return places.into_iter().map(|place| (place, code)).collect();
    }
    let places = places.into_iter().collect();
    let written = markers::write_all(&node, producer, marker, places).await;
    let codes = written.into_iter().map(|(place, result)| {
        let code = result.err().map_or(0, |failed| code(&failed));
        (place, code)
    });
    codes.collect()
}

/// What is said of a producer.
fn told((producer, codes): (i64, Codes)) -> WritableTxnMarkerResult {
    let mut by_topic: IndexMap<String, Vec<WritableTxnMarkerPartitionResult>> = IndexMap::new();
    for ((topic, index), code) in codes {
        let result = WritableTxnMarkerPartitionResult::default()
            .with_partition_index(index)
            .with_error_code(code);
        by_topic.entry(topic).or_default().push(result);
    }
    let topics = by_topic.into_iter().map(|(topic, partitions)| {
        WritableTxnMarkerTopicResult::default()
            .with_name(lookup::name(&topic))
            .with_partitions(partitions)
    });
    WritableTxnMarkerResult::default()
        .with_producer_id(ProducerId(producer))
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
