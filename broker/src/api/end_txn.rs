//! EndTxn (key 26): versions 0 to 5. From v5 on the end raises the producer's epoch, and the answer says who it is then (KIP-890).
//!
//! Answered when the end is decided on the disk, and mostly when its markers are there too.

use std::sync::Arc;

use kafka_compat::protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId};
use storage::control::MarkerKind;

use super::{Broker, transactional};
use crate::coordinator::Producer;

/// The first version that tells a fenced producer so.
const SAYS_FENCED: i16 = 2;
/// The first whose client takes over a raised epoch.
const RAISES: i16 = 5;

pub(super) async fn handle(
    broker: Arc<Broker>,
    version: i16,
    request: EndTxnRequest,
) -> EndTxnResponse {
    let producer = Producer {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let kind = if request.committed {
        MarkerKind::Commit
    } else {
        MarkerKind::Abort
    };
    let of_transactions = if version >= RAISES { 2 } else { 0 };
    let id = &request.transactional_id;
    let ending = broker.transactions.end(id, producer, kind, of_transactions);
    let (code, next) = match ending.await {
        Ok(next) => (0, next),
        Err(code) => {
            let code = transactional::or_older(code, version >= SAYS_FENCED);
            (code.code(), Producer { id: -1, epoch: -1 })
        }
    };
    let answer = EndTxnResponse::default().with_error_code(code);
    if version < RAISES {
        return answer;
    }
    answer
        .with_producer_id(ProducerId(next.id))
        .with_producer_epoch(next.epoch)
}
