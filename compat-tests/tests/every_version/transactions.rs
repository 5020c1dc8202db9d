//! Transactions.

use compat_tests::cluster::Broker;
use kafka_compat::protocol::{
    messages::{
        add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
        txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
        *,
    },
    protocol::StrBytes,
};

use super::{Raw, ask, compact, name, versions};

const ID: &str = "every-version";
/// `INVALID_PRODUCER_ID_MAPPING`: nobody has that id.
const NOBODY: i16 = 49;

fn id() -> TransactionalId {
    TransactionalId(StrBytes::from_static_str(ID))
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

/// Waits for the coordinator, too.
fn find_coordinator(broker: &Broker) {
    let body = FindCoordinatorRequest::default()
        .with_key_type(1)
        .with_coordinator_keys(vec![text(ID)]);
    let answer: FindCoordinatorResponse = ask(broker, ApiKey::FindCoordinator, 6, &body);
    assert_eq!(answer.coordinators.first().unwrap().error_code, 0);
}

/// The answers to who is not known: the APIs that a transaction is made of.
pub(super) fn of_transactions(broker: &Broker) -> i16 {
    find_coordinator(broker);
    let mut asked = 0;
    for v in versions(ApiKey::AddPartitionsToTxn) {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(name())
            .with_partitions(vec![0]);
        let body = if v < 4 {
            AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(id())
                .with_v3_and_below_topics(vec![topic])
        } else {
            let transaction = AddPartitionsToTxnTransaction::default()
                .with_transactional_id(id())
                .with_topics(vec![topic]);
            AddPartitionsToTxnRequest::default().with_transactions(vec![transaction])
        };
        let answer: AddPartitionsToTxnResponse = ask(broker, ApiKey::AddPartitionsToTxn, v, &body);
        let of_transactions = answer.results_by_transaction.iter();
        let mut topics = of_transactions
            .flat_map(|t| &t.topic_results)
            .chain(&answer.results_by_topic_v3_and_below);
        let partition = topics.next().unwrap().results_by_partition.first().unwrap();
        assert_eq!(
            partition.partition_error_code, NOBODY,
            "AddPartitionsToTxn {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::AddOffsetsToTxn) {
        let body = AddOffsetsToTxnRequest::default()
            .with_transactional_id(id())
            .with_group_id(GroupId(text("g")));
        let answer: AddOffsetsToTxnResponse = ask(broker, ApiKey::AddOffsetsToTxn, v, &body);
        assert_eq!(answer.error_code, NOBODY, "AddOffsetsToTxn {v}");
        asked += 1;
    }
    for v in versions(ApiKey::TxnOffsetCommit) {
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(name())
            .with_partitions(vec![TxnOffsetCommitRequestPartition::default()]);
        let body = TxnOffsetCommitRequest::default()
            .with_transactional_id(id())
            .with_group_id(GroupId(text("g")))
            .with_topics(vec![topic]);
        let answer: TxnOffsetCommitResponse = ask(broker, ApiKey::TxnOffsetCommit, v, &body);
        let partition = answer.topics.first().unwrap().partitions.first().unwrap();
        assert_eq!(partition.error_code, NOBODY, "TxnOffsetCommit {v}");
        asked += 1;
    }
    for v in versions(ApiKey::EndTxn) {
        let body = EndTxnRequest::default().with_transactional_id(id());
        let answer: EndTxnResponse = ask(broker, ApiKey::EndTxn, v, &body);
        assert_eq!(answer.error_code, NOBODY, "EndTxn {v}");
        asked += 1;
    }
    asked + of_operators(broker)
}

/// What `kafka-transactions` asks.
fn of_operators(broker: &Broker) -> i16 {
    let mut asked = 0;
    for v in versions(ApiKey::WriteTxnMarkers) {
        // One marker of producer 1, an abort; one topic that is not there, one partition; coordinator epoch 0.
        let mut body = [
            vec![2],
            1i64.to_be_bytes().to_vec(),
            vec![0, 0, 0, 2],
            compact("missing"),
            vec![2],
            0i32.to_be_bytes().to_vec(),
            vec![0],
            0i32.to_be_bytes().to_vec(),
        ]
        .concat();
        if v >= 2 {
            body.push(2);
        }
        body.extend([0, 0]);
        let answer: WriteTxnMarkersResponse = ask(broker, ApiKey::WriteTxnMarkers, v, &Raw(body));
        let topic = answer.markers.first().unwrap().topics.first().unwrap();
        assert_eq!(
            topic.partitions.first().unwrap().error_code,
            3,
            "WriteTxnMarkers {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::DescribeTransactions) {
        let body = DescribeTransactionsRequest::default().with_transactional_ids(vec![id()]);
        let answer: DescribeTransactionsResponse =
            ask(broker, ApiKey::DescribeTransactions, v, &body);
        let state = answer.transaction_states.first().unwrap();
        assert_eq!(state.error_code, 105, "DescribeTransactions {v}");
        asked += 1;
    }
    for v in versions(ApiKey::ListTransactions) {
        let body = ListTransactionsRequest::default().with_state_filters(vec![text("Nowhere")]);
        let answer: ListTransactionsResponse = ask(broker, ApiKey::ListTransactions, v, &body);
        assert_eq!(
            answer.unknown_state_filters.len(),
            1,
            "ListTransactions {v}"
        );
        asked += 1;
    }
    asked
}
