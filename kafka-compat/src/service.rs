//! The seam between the wire and the broker.

use std::{future::Future, net::IpAddr, pin::Pin, time::Duration};

use kafka_protocol::messages::ApiKey;

use crate::{request::Request, response::Response, server::Limits};

/// How a request is answered.
pub enum Reply {
    /// Here it is.
    Now(Response),
    /// When this is done; answers still leave in the order of their requests.
    Later(Pin<Box<dyn Future<Output = Response> + Send>>),
    /// Not at all (acks 0).
    None,
    /// By closing the connection.
    Close,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Now",
            Self::Later(_) => "Later",
            Self::None => "None",
            Self::Close => "Close",
        })
    }
}

/// Who answers requests.
pub trait Service: Send + Sync + 'static {
    /// Takes a request. Calls of one connection follow each other, so what this does before it returns happens in order.
    fn call(&self, request: Request) -> impl Future<Output = Reply> + Send;
    /// The bounds of connections, as they are now.
    fn limits(&self) -> Limits;
    /// How many connections from one address may be open at once.
    fn connections_max_of(&self, ip: IpAddr) -> usize;
    /// A request was answered.
    fn on_request_done(&self, api: ApiKey, took: Duration, error: Option<i16>);
    /// Bytes of frames went over the wire.
    fn on_bytes(&self, received: usize, sent: usize);
    /// So many connections are open.
    fn on_connections(&self, open: usize);
}
