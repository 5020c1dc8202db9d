//! `chronosctl version`: which release runs here, and which on the node.

use std::{process::ExitCode, time::Duration};

use proto::admin::v1::{self as pb, maintenance_service_client::MaintenanceServiceClient};
use serde::Serialize;

use crate::{
    grpc,
    output::{self, Format},
};

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Row {
    program: &'static str,
    version: String,
    commit: Option<String>,
    rustc: Option<String>,
    profile: Option<String>,
    data_format: Option<i32>,
    kafka: Option<String>,
}

/// A node that does not answer is told of; this program's release is shown all the same.
pub(super) async fn run(admin: &str, format: Format) -> anyhow::Result<ExitCode> {
    let own = Row {
        program: "chronosctl",
        version: env!("CARGO_PKG_VERSION").into(),
        commit: None,
        rustc: None,
        profile: None,
        data_format: None,
        kafka: None,
    };
    match node(admin).await {
        Ok(node) => {
            let node = Row {
                program: "chronosdb",
                version: node.version,
                commit: Some(node.commit),
                rustc: Some(node.rustc),
                profile: Some(node.profile),
                data_format: Some(node.data_format),
                kafka: Some(node.kafka_version),
            };
            output::rows(format, &[own, node])?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            output::rows(format, &[own])?;
            Err(error)
        }
    }
}

async fn node(admin: &str) -> anyhow::Result<pb::GetVersionResponse> {
    let mut client = MaintenanceServiceClient::new(grpc::connect(admin, Some(PATIENCE)).await?);
    let answer = client.get_version(pb::GetVersionRequest {}).await;
    Ok(answer.map_err(grpc::told)?.into_inner())
}
