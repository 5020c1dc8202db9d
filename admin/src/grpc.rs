//! The connection to a node's gRPC API.

use std::time::Duration;

use anyhow::Context;
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt;

const CONNECT: Duration = Duration::from_secs(5);

/// Connects; a call takes no longer than the patience, where there is one.
pub async fn connect(admin: &str, patience: Option<Duration>) -> anyhow::Result<Channel> {
    let mut endpoint = Channel::from_shared(format!("http://{admin}"))
        .with_context(|| format!("'{admin}' is no HOST:PORT"))?
        .connect_timeout(CONNECT);
    if let Some(patience) = patience {
        endpoint = endpoint.timeout(patience);
    }
    let connected = endpoint.connect().await;
    connected.with_context(|| format!("connecting to the admin API at {admin}"))
}

/// The node's own sentence, and its reason, without the transport's words around them.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn told(status: Status) -> anyhow::Error {
    let message = status.message();
    let details = status.get_error_details();
    match details.error_info() {
        Some(info) => anyhow::anyhow!("{message} ({:?}, {})", status.code(), info.reason),
        None if message.is_empty() => anyhow::anyhow!("the node answered {:?}", status.code()),
        None => anyhow::anyhow!("{message} ({:?})", status.code()),
    }
}
