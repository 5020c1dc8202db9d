//! InitProducerId (key 22): versions 0 to 5.
//!
//! Idempotent producers get an id of a block that the metadata log handed to this node (KIP-730), with epoch 0. A transactional id
//! keeps its producer's id and raises the epoch, which fences whoever had it (KIP-98, KIP-360).

use std::sync::Arc;

use kafka_compat::protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::{
    Broker,
    error_code::{self, Kafka},
    transactional,
};
use crate::coordinator::Producer;

/// The first version that tells a fenced producer so.
const SAYS_FENCED: i16 = 4;

pub(super) async fn handle(
    broker: Arc<Broker>,
    version: i16,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let (code, Producer { id, epoch }) = match give(&broker, &request).await {
        Ok(producer) => (0, producer),
        Err(code) => {
            let code = transactional::or_older(code, version >= SAYS_FENCED);
            (code.code(), Producer { id: -1, epoch: -1 })
        }
    };
    InitProducerIdResponse::default()
        .with_error_code(code)
        .with_producer_id(ProducerId(id))
        .with_producer_epoch(epoch)
}

async fn give(broker: &Broker, request: &InitProducerIdRequest) -> Result<Producer, Kafka> {
    let (id, epoch) = (request.producer_id.0, request.producer_epoch);
    // One without the other names no producer (KIP-360).
    if (id == -1) != (epoch == -1) {
        return Err(Kafka::InvalidRequest);
    }
    if let Some(name) = &request.transactional_id {
        let expected = (id != -1).then_some(Producer { id, epoch });
        let timeout_ms = request.transaction_timeout_ms;
        return broker.transactions.init(name, timeout_ms, expected).await;
    }
    // As Kafka does, an idempotent producer that asks again gets a new id with epoch 0: without a transactional id nobody
    // can say whether its old one is still in use.
    let id = broker.producer_ids.next(&broker.metadata).await;
    let id = id.map_err(|e| error_code::of_metadata(&e))?;
    Ok(Producer { id, epoch: 0 })
}
