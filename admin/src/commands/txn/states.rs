//! What coordinators know of transactional ids.

use std::collections::BTreeSet;

use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ListTransactionsRequest,
    ListTransactionsResponse,
};

use crate::wire::{self, Cluster, Code, CoordinatorKind, Place};

/// A transactional id, as it is listed.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) coordinator: i32,
    pub(super) producer_id: i64,
    pub(super) state: String,
}

/// What all brokers list; an error where one of them knows a state's name not at all.
pub(super) async fn list(
    cluster: &mut Cluster,
    request: &ListTransactionsRequest,
) -> anyhow::Result<Vec<Listed>> {
    let mut listed = Vec::new();
    for broker in cluster.brokers() {
        let answer: ListTransactionsResponse = cluster.broker(broker).await?.ask(request).await?;
        Code(answer.error_code).ok()?;
        anyhow::ensure!(
            answer.unknown_state_filters.is_empty(),
            "the broker knows no state {:?}",
            answer.unknown_state_filters
        );
        listed.extend(answer.transaction_states.iter().map(|told| Listed {
            id: told.transactional_id.to_string(),
            coordinator: broker,
            producer_id: told.producer_id.0,
            state: told.transaction_state.to_string(),
        }));
    }
    listed.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(listed)
}

/// A transactional id, as its coordinator describes it.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) coordinator: i32,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) state: String,
    pub(super) timeout_ms: i32,
    /// `None` where no transaction is open.
    pub(super) started_ms: Option<i64>,
    pub(super) places: BTreeSet<Place>,
}

/// One transactional id; the code says why it is not known.
pub(super) async fn describe(
    cluster: &mut Cluster,
    id: &str,
) -> anyhow::Result<Result<Described, Code>> {
    let key = (CoordinatorKind::Transaction, id);
    let request = DescribeTransactionsRequest::default()
        .with_transactional_ids(vec![wire::transactional(id)]);
    let code = |answer: &DescribeTransactionsResponse| {
        Code(
            answer
                .transaction_states
                .first()
                .map_or(0, |told| told.error_code),
        )
    };
    let coordinator = cluster.coordinator(key.0, id).await?;
    let answer = cluster
        .ask_coordinator(key, (&request, i16::MAX), code)
        .await?;
    let Some(told) = answer.transaction_states.first() else {
        anyhow::bail!("the coordinator of {id} told nothing");
    };
    if !code(&answer).is_ok() {
        return Ok(Err(code(&answer)));
    }
    let places = told.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| Place {
            topic: topic.topic.to_string(),
            partition: *partition,
        })
    });
    Ok(Ok(Described {
        coordinator,
        producer_id: told.producer_id.0,
        producer_epoch: told.producer_epoch,
        state: told.transaction_state.to_string(),
        timeout_ms: told.transaction_timeout_ms,
        started_ms: Some(told.transaction_start_time_ms).filter(|ms| *ms >= 0),
        places: places.collect(),
    }))
}
