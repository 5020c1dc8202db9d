//! AddOffsetsToTxn (key 25): versions 0 to 4. A transaction commits offsets of a group: the partition that the group is in takes part.

use std::sync::Arc;

use kafka_compat::protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::{Broker, transactional};
use crate::{
    coordinator::{Producer, partition_of},
    group,
    transaction::Partitions,
};

/// The first version that tells a fenced producer so.
const SAYS_FENCED: i16 = 2;
/// Of transactions: the client says itself what takes part.
const OF_CLIENT: i16 = 0;

pub(super) async fn handle(
    broker: Arc<Broker>,
    version: i16,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let producer = Producer {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    // Where the topic is not there yet, it will be made with so many.
    let partition = broker.groups.partition_of(&request.group_id);
    let partition = partition.unwrap_or_else(|_| {
        let partitions = broker.config.get().groups.topic_partitions;
        partition_of(&request.group_id, partitions)
    });
    let partitions: Partitions = [(group::TOPIC.to_owned(), [partition].into())].into();
    let id = &request.transactional_id;
    let adding = broker
        .transactions
        .add(id, producer, &partitions, OF_CLIENT);
    let code = adding.await.err().map_or(0, |code| {
        transactional::or_older(code, version >= SAYS_FENCED).code()
    });
    AddOffsetsToTxnResponse::default().with_error_code(code)
}
