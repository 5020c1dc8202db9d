//! `chronosctl group delete`.

use std::process::ExitCode;

use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use serde::Serialize;

use crate::{
    output::{self, Format},
    wire::{self, Cluster, Code, CoordinatorKind},
};

#[derive(Serialize)]
struct Outcome {
    group: String,
    done: bool,
    error: Option<String>,
}

/// Each group's outcome; the exit code is 1 where one failed.
pub(super) async fn run(
    cluster: &mut Cluster,
    format: Format,
    groups: &[String],
) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    for group in groups {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![wire::group(group)]);
        let code = |answer: &DeleteGroupsResponse| {
            Code(answer.results.first().map_or(0, |result| result.error_code))
        };
        let key = (CoordinatorKind::Group, group.as_str());
        let answer = cluster
            .ask_coordinator(key, (&request, i16::MAX), code)
            .await?;
        let code = code(&answer);
        rows.push(Outcome {
            group: group.clone(),
            done: code.is_ok(),
            error: (!code.is_ok()).then(|| code.to_string()),
        });
    }
    output::rows(format, &rows)?;
    Ok(if rows.iter().all(|row| row.done) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
