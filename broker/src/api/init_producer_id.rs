//! InitProducerId (key 22): versions 0 to 5.
//!
//! Idempotent producers get an id of a block that the metadata log handed to this node (KIP-730), with epoch 0.
//! Not done yet: transactional ids are refused with `COORDINATOR_NOT_AVAILABLE`, as by a cluster whose coordinator is not up.

use kafka_compat::protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::{
    Broker,
    error_code::{self, Kafka},
};

pub(super) async fn handle(
    broker: &Broker,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let (code, id, epoch) = match give(broker, &request).await {
        Ok((id, epoch)) => (0, id, epoch),
        Err(code) => (code.code(), -1, -1),
    };
    InitProducerIdResponse::default()
        .with_error_code(code)
        .with_producer_id(ProducerId(id))
        .with_producer_epoch(epoch)
}

async fn give(broker: &Broker, request: &InitProducerIdRequest) -> Result<(i64, i16), Kafka> {
    // One without the other names no producer (KIP-360).
    if (request.producer_id.0 == -1) != (request.producer_epoch == -1) {
        return Err(Kafka::InvalidRequest);
    }
    match &request.transactional_id {
        Some(id) if id.0.is_empty() => return Err(Kafka::InvalidRequest),
        Some(_) => return Err(Kafka::CoordinatorNotAvailable),
        None => {}
    }
    // As Kafka does, an idempotent producer that asks again gets a new id with epoch 0: without a transactional id nobody
    // can say whether its old one is still in use.
    let id = broker.producer_ids.next(&broker.metadata).await;
    id.map(|id| (id, 0))
        .map_err(|e| error_code::of_metadata(&e))
}
