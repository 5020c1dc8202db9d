//! What the transaction APIs share.

use std::time::Duration;

use super::{Broker, error_code::Kafka};
use crate::{coordinator::Producer, transaction::Partitions};

/// A producer that was fenced is told so from some version on; before, that its epoch is invalid.
pub(super) fn or_older(code: Kafka, says_fenced: bool) -> Kafka {
    match code {
        Kafka::ProducerFenced if !says_fenced => Kafka::InvalidProducerEpoch,
        code => code,
    }
}

/// What a request that writes in a transaction, by its version, expects of the broker. Source: Apache Kafka,
/// `TransactionSupportedOperation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Support {
    /// The client said before what takes part; it knows no error for when that is not so.
    Verified,
    /// It knows one.
    VerifiedOrAbortable,
    /// The broker sees to it that the partition takes part (KIP-890).
    Added,
}

impl Support {
    /// By the versions from which on the client knows the error, and leaves it to the broker.
    pub(super) fn of(version: i16, abortable: i16, added: i16) -> Self {
        if version >= added {
            Self::Added
        } else if version >= abortable {
            Self::VerifiedOrAbortable
        } else {
            Self::Verified
        }
    }
}

/// While the transaction before is being ended, this is asked again after a while, and given up after some. Source: Apache Kafka,
/// `add.partitions.to.txn.retry.backoff.ms`, `.max.ms`.
const RETRY_AFTER: Duration = Duration::from_millis(20);
const RETRIES: u32 = 5;
/// The version of transactions of a client that leaves it to the broker.
const ADDED_VERSION: i16 = 2;

/// Sees to it that partitions take part in a transaction: [`Kafka::InvalidProducerEpoch`] of one that was fenced.
pub(super) async fn take_part(
    broker: &Broker,
    id: &str,
    producer: Producer,
    partitions: Vec<(String, i32)>,
    support: Support,
) -> Vec<((String, i32), Result<(), Kafka>)> {
    let told = |code: Kafka| match code {
        Kafka::ProducerFenced => Kafka::InvalidProducerEpoch,
        Kafka::TransactionAbortable if support == Support::Verified => Kafka::InvalidTxnState,
        code => code,
    };
    if support != Support::Added {
        if !broker.transactions.verifies() {
            return partitions.into_iter().map(|p| (p, Ok(()))).collect();
        }
        return match broker.transactions.verify(id, producer, &partitions) {
            Ok(each) => {
                let each = each.into_iter().map(|verified| verified.map_err(told));
                partitions.into_iter().zip(each).collect()
            }
            Err(code) => {
                let refused = partitions.into_iter();
                refused.map(|p| (p, Err(told(code)))).collect()
            }
        };
    }
    let mut all = Partitions::new();
    for (topic, index) in &partitions {
        all.entry(topic.clone()).or_default().insert(*index);
    }
    let mut left = RETRIES;
    let added = loop {
        let adding = broker.transactions.add(id, producer, &all, ADDED_VERSION);
        match adding.await {
            Err(Kafka::ConcurrentTransactions) if left > 0 => {
                left -= 1;
                tokio::time::sleep(RETRY_AFTER).await;
            }
            added => break added.map_err(told),
        }
    };
    partitions.into_iter().map(|p| (p, added)).collect()
}
