//! `chronosctl group list`.

use std::{collections::BTreeMap, process::ExitCode};

use serde::Serialize;

use super::{described, lag};
use crate::{
    output::{self, Format},
    wire::Cluster,
};

#[derive(Serialize)]
struct Row {
    group: String,
    r#type: String,
    protocol: Option<String>,
    state: String,
    members: Option<usize>,
    /// Of all partitions that it committed an offset of.
    lag: Option<i64>,
}

pub(super) async fn run(
    cluster: &mut Cluster,
    format: Format,
    states: &[String],
) -> anyhow::Result<ExitCode> {
    let mut groups = described::all(cluster).await?;
    groups.retain(|group| {
        states.is_empty() || states.iter().any(|s| s.eq_ignore_ascii_case(&group.state))
    });
    let mut committed = BTreeMap::new();
    for group in groups.iter().filter(|group| group.commits()) {
        committed.insert(&group.id, lag::committed(cluster, &group.id).await?);
    }
    let ends = lag::ends(cluster, committed.values().flat_map(BTreeMap::keys)).await?;
    let rows: Vec<Row> = groups
        .iter()
        .map(|group| Row {
            group: group.id.clone(),
            r#type: group.kind.clone(),
            protocol: Some(group.protocol.clone()).filter(|protocol| !protocol.is_empty()),
            state: group.state.clone(),
            members: group.members.as_ref().map(Vec::len),
            lag: committed
                .get(&group.id)
                .and_then(|committed| lag::of_group(committed, &ends)),
        })
        .collect();
    output::rows(format, &rows)?;
    Ok(ExitCode::SUCCESS)
}
