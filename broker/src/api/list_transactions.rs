//! ListTransactions (key 66): versions 0 to 2 (KIP-664). Filters: state, producer id, from v1 on how long it is open (KIP-994), from
//! v2 on a pattern of the id (KIP-1152).

use indexmap::IndexSet;
use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        ListTransactionsRequest, ListTransactionsResponse, ProducerId, TransactionalId,
        list_transactions_response::TransactionState,
    },
    protocol::StrBytes,
};

use super::Broker;
use crate::{
    re2,
    transaction::{Listed, STATES},
};

/// States that an id has for no longer than a step takes: nothing is ever found in them.
const PASSING: [&str; 2] = ["PrepareEpochFence", "Dead"];

pub(super) fn handle(
    broker: &Broker,
    request: &ListTransactionsRequest,
) -> ListTransactionsResponse {
    match list(broker, request) {
        Ok(answer) => answer,
        Err(code) => ListTransactionsResponse::default().with_error_code(code.code()),
    }
}

fn list(
    broker: &Broker,
    request: &ListTransactionsRequest,
) -> Result<ListTransactionsResponse, Kafka> {
    let pattern = request.transactional_id_pattern.as_deref();
    let pattern = pattern.filter(|pattern| !pattern.is_empty());
    let pattern = pattern.map(re2::whole).transpose();
    let pattern = pattern.map_err(|_| Kafka::InvalidRegularExpression)?;
    let is_known = |name: &StrBytes| {
        STATES.iter().any(|state| state.name() == name.as_str()) || PASSING.contains(&name.as_str())
    };
    let (known, unknown): (Vec<_>, Vec<_>) =
        request.state_filters.iter().cloned().partition(is_known);
    let unknown: IndexSet<StrBytes> = unknown.into_iter().collect();
    let now = broker.clock.wall().0;
    let is_wanted = |listed: &Listed| {
        let ids = &request.producer_id_filters;
        let open_ms = now.saturating_sub(listed.started_ms);
        (request.state_filters.is_empty()
            || known
                .iter()
                .any(|name| name.as_str() == listed.state.name()))
            && (ids.is_empty() || ids.iter().any(|id| id.0 == listed.producer_id))
            && (request.duration_filter < 0 || open_ms > request.duration_filter)
            && pattern.as_ref().is_none_or(|p| p.is_match(&listed.id))
    };
    let listed = broker.transactions.list()?.into_iter().filter(is_wanted);
    let states = listed.map(|listed| {
        TransactionState::default()
            .with_transactional_id(TransactionalId(StrBytes::from_string(listed.id)))
            .with_producer_id(ProducerId(listed.producer_id))
            .with_transaction_state(StrBytes::from_static_str(listed.state.name()))
    });
    Ok(ListTransactionsResponse::default()
        .with_unknown_state_filters(unknown.into_iter().collect())
        .with_transaction_states(states.collect()))
}
