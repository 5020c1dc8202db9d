//! The connection to a node's gRPC API.

use std::time::Duration;

use anyhow::Context;
use tonic::transport::Channel;

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
