//! DescribeTransactions (key 65): version 0 (KIP-664). Who has transactional ids, and what takes part in their transactions.

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TransactionalId,
        describe_transactions_response::{TopicData, TransactionState},
    },
    protocol::StrBytes,
};

use super::{Broker, lookup};
use crate::transaction::Transaction;

pub(super) fn handle(
    broker: &Broker,
    request: &DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.iter().map(|id| {
        let described = describe(broker, id);
        let answer = TransactionState::default().with_transactional_id(id.clone());
        match described {
            Ok(transaction) => told(answer, &transaction),
            Err(code) => answer.with_error_code(code.code()),
        }
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn describe(broker: &Broker, id: &TransactionalId) -> Result<Transaction, Kafka> {
    if id.is_empty() {
        return Err(Kafka::InvalidRequest);
    }
    let known = broker.transactions.describe(id)?;
    known.ok_or(Kafka::TransactionalIdNotFound)
}

fn told(answer: TransactionState, transaction: &Transaction) -> TransactionState {
    let topics = transaction.partitions.iter().map(|(topic, indexes)| {
        TopicData::default()
            .with_partitions(indexes.iter().copied().collect())
            .with_topic(lookup::name(topic))
    });
    answer
        .with_transaction_state(StrBytes::from_static_str(transaction.state.name()))
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(transaction.started_ms)
        .with_producer_id(ProducerId(transaction.producer_id))
        .with_producer_epoch(transaction.epoch)
        .with_topics(topics.collect())
}
