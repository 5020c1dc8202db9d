//! One connection: a reader that takes requests in order, and a writer that sends answers in that order.
//!
//! Between them is a bounded queue: a client that does not read its answers is not read from. The announced length of a frame
//! is never allocated up front; the buffer grows as bytes arrive.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse,
        api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey},
    },
    protocol::StrBytes,
};
use storage::log::{Chunk, FileSlice};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tracing::{debug, warn};

use crate::{
    api_table::{self, APIS},
    features::FEATURES,
    frame,
    header::RequestHeader,
    request::{Request, RequestBody},
    response::Response,
    server::Limits,
    service::{Reply, Service},
};

/// Requests of a connection that wait for their answers at once.
const IN_FLIGHT_MAX: usize = 64;
/// The buffer grows by at least this.
const READ_BYTES: usize = 64 * 1024;
/// After the last request, answers still under way have this long.
const DRAIN: Duration = Duration::from_secs(5);

/// An answer on its way.
struct Pending {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    received: Instant,
    reply: Reply,
}

pub(crate) async fn run<S: Service>(
    stream: TcpStream,
    peer: SocketAddr,
    service: Arc<S>,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (reader, writer) = stream.into_split();
    let (queue, pending) = mpsc::channel(IN_FLIGHT_MAX);
    let mut write = tokio::spawn(write_answers(
        writer,
        pending,
        Arc::clone(&service),
        limits.idle,
    ));
    tokio::select! {
        biased;
        _ = shutdown.wait_for(|stop| *stop) => {}
        why = read_requests(reader, peer, &*service, limits, &queue) => {
            if let Some(why) = why {
                debug!(%peer, why, "connection closed");
            }
        }
    }
    drop(queue);
    // What was asked is still answered, as far as the client listens; a parked fetch does not keep a dead connection.
    if timeout(DRAIN, &mut write).await.is_err() {
        write.abort();
    }
}

/// Returns why the connection ends; `None` where the client closed it.
async fn read_requests<S: Service>(
    mut reader: OwnedReadHalf,
    peer: SocketAddr,
    service: &S,
    limits: Limits,
    queue: &mpsc::Sender<Pending>,
) -> Option<String> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        match frame::take(&mut buffer, limits.request_bytes_max) {
            Err(error) => {
                warn!(%peer, %error, "connection closed");
                return None;
            }
            Ok(Some(frame)) => {
                service.on_bytes(frame.len() + frame::LENGTH_LEN, 0);
                match answer(frame, peer, service).await {
                    Ok(Some(pending)) => {
                        if queue.send(pending).await.is_err() {
                            return Some("the client reads no more".into());
                        }
                    }
                    Ok(None) => {}
                    Err(why) => {
                        warn!(%peer, why, "connection closed");
                        return None;
                    }
                }
            }
            Ok(None) => {
                buffer.reserve(READ_BYTES);
                match timeout(limits.idle, reader.read_buf(&mut buffer)).await {
                    Err(_idle) => return Some("idle for too long".into()),
                    Ok(Ok(0)) => return None,
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Some(error.to_string()),
                }
            }
        }
    }
}

/// Starts answering a request; an error closes the connection.
async fn answer<S: Service>(
    mut frame: Bytes,
    peer: SocketAddr,
    service: &S,
) -> Result<Option<Pending>, String> {
    let received = Instant::now();
    let header = RequestHeader::take(&mut frame).map_err(|e| e.to_string())?;
    let (version, correlation_id) = (header.version, header.correlation_id);
    let row = api_table::find(header.api_key)
        .ok_or_else(|| format!("API key {} is not answered", header.api_key))?;
    let pending = |version, reply| {
        Ok(Some(Pending {
            api: row.key,
            version,
            correlation_id,
            received,
            reply,
        }))
    };
    if !(row.min..=row.max).contains(&version) {
        return match row.key {
            ApiKey::ApiVersions => pending(0, Reply::Now(api_versions(UNSUPPORTED_VERSION).into())),
            // Produce 0 to 2, too: listed, but without an answer that such a client could read. Kafka 4 closes as well.
            _ => Err(format!("{:?} version {version} is not answered", row.key)),
        };
    }
    let body = RequestBody::decode(row.key, version, frame)
        .map_err(|e| format!("{:?} version {version}: {e}", row.key))?;
    if let RequestBody::ApiVersions(_) = body {
        let answer = api_versions(0);
        let answer = if version >= 3 {
            features(answer)
        } else {
            answer
        };
        return pending(version, Reply::Now(answer.into()));
    }
    let request = Request {
        api: row.key,
        version,
        header,
        body,
        peer,
    };
    match service.call(request).await {
        Reply::None => {
            service.on_request_done(row.key, received.elapsed(), None);
            Ok(None)
        }
        Reply::Close => Err(format!("{:?} without acks failed", row.key)),
        reply => pending(version, reply),
    }
}

const UNSUPPORTED_VERSION: i16 = 35;

/// Features go with what is understood only: an old client that asks in another way gets the list alone.
fn features(answer: ApiVersionsResponse) -> ApiVersionsResponse {
    let supported = FEATURES.iter().map(|f| {
        SupportedFeatureKey::default()
            .with_name(StrBytes::from_static_str(f.name))
            .with_min_version(f.min)
            .with_max_version(f.max)
    });
    let finalized = FEATURES.iter().map(|f| {
        FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str(f.name))
            .with_min_version_level(f.max)
            .with_max_version_level(f.max)
    });
    answer
        .with_supported_features(supported.collect())
        .with_finalized_features_epoch(0)
        .with_finalized_features(finalized.collect())
}

fn api_versions(error_code: i16) -> ApiVersionsResponse {
    let keys = APIS.iter().map(|api| {
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(api.listed_min)
            .with_max_version(api.max)
    });
    ApiVersionsResponse::default()
        .with_error_code(error_code)
        .with_api_keys(keys.collect())
}

async fn write_answers<S: Service>(
    mut writer: OwnedWriteHalf,
    mut pending: mpsc::Receiver<Pending>,
    service: Arc<S>,
    patience: Duration,
) {
    while let Some(next) = pending.recv().await {
        let response: Response = match next.reply {
            Reply::Now(response) => response,
            Reply::Later(response) => response.await,
            Reply::None | Reply::Close => continue,
        };
        let error = response.first_error();
        let chunks = match response.into_frame(next.api, next.version, next.correlation_id) {
            Ok(chunks) => chunks,
            Err(error) => {
                warn!(api = ?next.api, version = next.version, %error, "connection closed");
                return;
            }
        };
        let sent: usize = chunks.iter().map(Chunk::len).sum();
        match timeout(patience, send(&mut writer, chunks)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                debug!(%error, "connection closed while it was written to");
                return;
            }
            Err(_elapsed) => {
                debug!("connection closed: the client takes no answers");
                return;
            }
        }
        service.on_bytes(0, sent);
        service.on_request_done(next.api, next.received.elapsed(), error);
    }
}

async fn send(writer: &mut OwnedWriteHalf, chunks: Vec<Chunk>) -> io::Result<()> {
    for chunk in chunks {
        match chunk {
            Chunk::Bytes(bytes) => writer.write_all(&bytes).await?,
            Chunk::File(slice) => send_file(writer, &slice).await?,
        }
    }
    Ok(())
}

/// From the file to the socket inside the kernel, where the disk is a real one.
async fn send_file(writer: &mut OwnedWriteHalf, slice: &FileSlice) -> io::Result<()> {
    let Some(file) = slice.file.as_std() else {
        return writer.write_all(&slice.read()?).await;
    };
    let socket: &TcpStream = writer.as_ref();
    let end = slice.position + slice.len as u64;
    let mut at = slice.position;
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let sent = socket
            .async_io(Interest::WRITABLE, || {
                Ok(rustix::fs::sendfile(socket, file, Some(&mut at), left)?)
            })
            .await?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
