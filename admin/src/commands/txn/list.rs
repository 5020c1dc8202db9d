//! `chronosctl txn list`.

use std::process::ExitCode;

use kafka_protocol::messages::ListTransactionsRequest;
use serde::Serialize;

use super::states;
use crate::{
    output::{self, Format},
    time,
    wire::{self, Cluster},
};

#[derive(Serialize)]
struct Row {
    transactional_id: String,
    coordinator: String,
    producer_id: i64,
    state: String,
}

pub(super) async fn run(
    cluster: &mut Cluster,
    format: Format,
    of_states: &[String],
    older_than: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let older_ms = match older_than {
        Some(span) => i64::try_from(time::span(span)?.as_millis())?,
        None => -1,
    };
    let request = ListTransactionsRequest::default()
        .with_state_filters(of_states.iter().map(|state| wire::text(state)).collect())
        .with_duration_filter(older_ms);
    let listed = states::list(cluster, &request).await?;
    let rows: Vec<Row> = listed
        .into_iter()
        .map(|listed| Row {
            transactional_id: listed.id,
            coordinator: cluster.address(listed.coordinator),
            producer_id: listed.producer_id,
            state: listed.state,
        })
        .collect();
    output::rows(format, &rows)?;
    Ok(ExitCode::SUCCESS)
}
