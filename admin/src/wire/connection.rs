//! One connection: requests out, answers in, in order.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, bail, ensure};
use kafka_protocol::{
    messages::{ApiKey, ApiVersionsRequest, RequestHeader, ResponseHeader},
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes, VersionRange},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// The largest answer that is taken: who answers with more does not speak Kafka.
const FRAME_MAX: usize = 256 << 20;
/// How long an answer may take, besides what the request itself allows the broker.
const PATIENCE: Duration = Duration::from_mins(1);
const CONNECT: Duration = Duration::from_secs(10);

/// A connection that knows which versions its broker takes.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: BufReader<TcpStream>,
    client_id: StrBytes,
    /// Of the next request, and of the next answer.
    next_id: i32,
    next_answer: i32,
    versions: HashMap<i16, VersionRange>,
}

impl Connection {
    /// Opens one, and asks for versions.
    pub async fn open(address: &str, client_id: &str) -> anyhow::Result<Self> {
        let connecting = timeout(CONNECT, TcpStream::connect(address));
        let stream = connecting
            .await
            .map_err(|_| anyhow::anyhow!("no answer"))
            .and_then(|connected| Ok(connected?))
            .with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            address: address.to_owned(),
            stream: BufReader::with_capacity(64 << 10, stream),
            client_id: super::text(client_id),
            next_id: 0,
            next_answer: 0,
            versions: HashMap::new(),
        };
        let request = ApiVersionsRequest::default();
        // Version 0 is what every broker answers.
        connection.send(&request, 0).await?;
        let answer = connection.receive::<ApiVersionsRequest>(0).await?;
        super::Code(answer.error_code).ok()?;
        let versions = answer.api_keys.iter().map(|api| {
            let (min, max) = (api.min_version, api.max_version);
            (api.api_key, VersionRange { min, max })
        });
        connection.versions = versions.collect();
        Ok(connection)
    }

    /// Whether the broker answers a kind of request at all.
    pub fn offers<R: Request>(&self) -> bool {
        self.versions.contains_key(&R::KEY)
    }

    /// The newest version that broker and codec know, not above a limit.
    pub fn version<R: Request>(&self, at_most: i16) -> anyhow::Result<i16> {
        let name = name(R::KEY);
        let Some(theirs) = self.versions.get(&R::KEY) else {
            bail!("the broker at {} does not offer {name}", self.address);
        };
        let both = theirs.intersect(&R::VERSIONS);
        let version = both.max.min(at_most);
        ensure!(
            version >= both.min,
            "the broker at {} offers {name} in versions {theirs} only",
            self.address
        );
        Ok(version)
    }

    /// Asks, in the newest version.
    pub async fn ask<R: Request>(&mut self, request: &R) -> anyhow::Result<R::Response> {
        self.ask_up_to(request, i16::MAX).await
    }

    /// Asks, in a version not above a limit: what later versions say differently is not looked for.
    pub async fn ask_up_to<R: Request>(
        &mut self,
        request: &R,
        at_most: i16,
    ) -> anyhow::Result<R::Response> {
        let version = self.version::<R>(at_most)?;
        self.send(request, version).await?;
        self.receive::<R>(version).await
    }

    /// Sends a request without waiting for its answer.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<()> {
        let frame = frame(request, version, self.next_id, &self.client_id)?;
        self.next_id = self.next_id.wrapping_add(1);
        let sent = self.stream.get_mut().write_all(&frame).await;
        sent.with_context(|| format!("writing to {}", self.address))
    }

    /// Waits for the answer of the oldest request that has none yet.
    pub async fn receive<R: Request>(&mut self, version: i16) -> anyhow::Result<R::Response> {
        let name = name(R::KEY);
        let reading = timeout(PATIENCE, read_frame(&mut self.stream));
        let mut frame = reading
            .await
            .map_err(|_| anyhow::anyhow!("no answer after {PATIENCE:?}"))
            .and_then(|read| read)
            .with_context(|| format!("waiting for {} to answer {name}", self.address))?;
        let header = R::Response::header_version(version);
        let reading = || format!("reading what {} answered to {name}", self.address);
        let told = ResponseHeader::decode(&mut frame, header).with_context(reading)?;
        ensure!(
            told.correlation_id == self.next_answer,
            "{} answered out of turn",
            self.address
        );
        self.next_answer = self.next_answer.wrapping_add(1);
        R::Response::decode(&mut frame, version).with_context(reading)
    }
}

/// Whatever the codec calls it, or its number.
fn name(key: i16) -> String {
    ApiKey::try_from(key).map_or_else(|()| format!("API {key}"), |key| format!("{key:?}"))
}

fn frame<R: Request>(
    request: &R,
    version: i16,
    id: i32,
    client_id: &StrBytes,
) -> anyhow::Result<Vec<u8>> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(id)
        .with_client_id(Some(client_id.clone()));
    let mut body = bytes::BytesMut::new();
    header.encode(&mut body, R::header_version(version))?;
    request
        .encode(&mut body, version)
        .with_context(|| format!("{} of version {version} cannot say that", name(R::KEY)))?;
    let mut frame = u32::try_from(body.len())?.to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    Ok(frame)
}

async fn read_frame(stream: &mut BufReader<TcpStream>) -> anyhow::Result<bytes::Bytes> {
    let length = usize::try_from(stream.read_u32().await?)?;
    ensure!(
        length <= FRAME_MAX,
        "it announces {length} bytes: that is not Kafka"
    );
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(frame.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn who_does_not_speak_kafka_is_told_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad\r\n").await.unwrap();
        });
        let error = Connection::open(&address, "t").await.unwrap_err();
        assert!(format!("{error:#}").contains("not Kafka"), "{error:#}");
    }

    #[tokio::test]
    async fn what_a_broker_does_not_offer_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Correlation id, no error, one API: Metadata 0 to 2.
            let answer = [0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 2];
            stream.write_all(&answer).await.unwrap();
            std::future::pending::<()>().await;
        });
        let connection = Connection::open(&address, "t").await.unwrap();
        assert!(connection.offers::<kafka_protocol::messages::MetadataRequest>());
        let missing = connection.version::<kafka_protocol::messages::ListTransactionsRequest>(9);
        let missing = missing.unwrap_err().to_string();
        assert!(
            missing.contains("does not offer ListTransactions"),
            "{missing}"
        );
    }
}
