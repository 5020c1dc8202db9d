//! `chronosctl txn describe`.

use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;

use super::states;
use crate::{
    output::{self, Format},
    time,
    wire::Cluster,
};

#[derive(Serialize)]
struct Row {
    transactional_id: String,
    coordinator: String,
    producer_id: i64,
    producer_epoch: i16,
    state: String,
    timeout_ms: i32,
    started: Option<String>,
    started_ms: Option<i64>,
    open_for: Option<String>,
    partitions: Vec<String>,
}

pub(super) async fn run(
    cluster: &mut Cluster,
    format: Format,
    ids: &[String],
) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    for id in ids {
        let told = match states::describe(cluster, id).await? {
            Ok(told) => told,
            Err(code) => bail!("{id}: {code}"),
        };
        let age = |ms: i64| time::spoken(time::now_ms().saturating_sub(ms).max(0));
        rows.push(Row {
            transactional_id: id.clone(),
            coordinator: cluster.address(told.coordinator),
            producer_id: told.producer_id,
            producer_epoch: told.producer_epoch,
            state: told.state,
            timeout_ms: told.timeout_ms,
            started: told.started_ms.map(time::local),
            started_ms: told.started_ms,
            open_for: told.started_ms.map(age),
            partitions: told.places.iter().map(ToString::to_string).collect(),
        });
    }
    output::rows(format, &rows)?;
    Ok(ExitCode::SUCCESS)
}
