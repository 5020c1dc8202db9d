//! One connection: a reader that takes requests in order, and a writer that sends answers in that order.
//!
//! Between them is a queue bounded in requests and in bytes of answers: a client that does not read its answers is not read
//! from. The announced length of a frame is never allocated up front; the buffer grows as bytes arrive.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use storage::log::Chunk;
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, tcp::OwnedReadHalf},
    sync::{Semaphore, mpsc, watch},
    time::{Instant, timeout},
};
use tracing::debug;

use crate::{
    answers::{Answer, Pending, write_answers},
    api_table,
    api_versions::{api_versions, unsupported},
    frame,
    header::RequestHeader,
    request::{Request, RequestBody},
    server::Shared,
    service::{Reply, Service},
};

/// Requests of a connection that wait for their answers at once.
const IN_FLIGHT_MAX: usize = 64;
/// Bytes of encoded answers that wait for the client at once; a larger one waits alone.
const ANSWER_BYTES_MAX: u32 = 1 << 20;
/// The buffer has at least this much room for a read; an idle connection keeps no more.
const READ_BYTES_MIN: usize = 4 * 1024;
/// A busy one reads up to this at once.
const READ_BYTES_MAX: usize = 64 * 1024;
/// The rest of a large frame is made room for in steps of this.
const FRAME_STEP: usize = 1 << 20;
/// After the last request, answers still under way have this long.
const DRAIN: Duration = Duration::from_secs(5);

pub(crate) async fn run<S: Service>(
    stream: TcpStream,
    peer: SocketAddr,
    service: Arc<S>,
    shared: Shared,
    mut shutdown: watch::Receiver<bool>,
) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (reader, writer) = stream.into_split();
    let (queue, pending) = mpsc::channel(IN_FLIGHT_MAX);
    let mut write = tokio::spawn(write_answers(writer, pending, Arc::clone(&service)));
    tokio::select! {
        biased;
        _ = shutdown.wait_for(|stop| *stop) => {}
        why = read_requests(reader, peer, &*service, &shared, &queue) => {
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
    Shared { queued, complaints }: &Shared,
    queue: &mpsc::Sender<Pending>,
) -> Option<String> {
    let mut buffer = BytesMut::new();
    let mut read_bytes = READ_BYTES_MIN;
    let answers = Arc::new(Semaphore::new(ANSWER_BYTES_MAX as usize));
    let mut room = None;
    loop {
        let limits = service.limits();
        match frame::take(&mut buffer, limits.request_bytes_max) {
            Err(error) => {
                complaints.closed(peer, &error.to_string());
                return None;
            }
            Ok(Some(frame)) => {
                service.on_bytes(frame.len() + frame::LENGTH_LEN, 0);
                let answered = answer(frame, peer, service).await;
                // What the request took is free again, whether or not its answer has to wait.
                room = None;
                let pending = match answered.and_then(|p| p.map(Started::encode).transpose()) {
                    Ok(Some(pending)) => pending,
                    Ok(None) => continue,
                    Err(why) => {
                        complaints.closed(peer, &why);
                        return None;
                    }
                };
                let Some(pending) = wait_for_room(pending, &answers).await else {
                    return Some("the client reads no more".into());
                };
                if queue.send(pending).await.is_err() {
                    return Some("the client reads no more".into());
                }
            }
            Ok(None) => {
                let missing = frame::missing(&buffer);
                if let Some(queued) = queued
                    && room.is_none()
                    && missing > READ_BYTES_MAX
                {
                    room = queued.take(buffer.len() + missing).await;
                }
                buffer.reserve(missing.min(FRAME_STEP).max(read_bytes));
                let room_left = buffer.capacity() - buffer.len();
                match timeout(limits.idle, reader.read_buf(&mut buffer)).await {
                    Err(_idle) => return Some("idle for too long".into()),
                    Ok(Ok(0)) => return None,
                    Ok(Ok(n)) if n == room_left => {
                        read_bytes = (read_bytes * 2).min(READ_BYTES_MAX);
                    }
                    Ok(Ok(n)) if n < READ_BYTES_MIN => read_bytes = READ_BYTES_MIN,
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Some(error.to_string()),
                }
            }
        }
    }
}

/// Takes the answer's share of the bytes that may wait for this client.
async fn wait_for_room(mut pending: Pending, answers: &Arc<Semaphore>) -> Option<Pending> {
    if let Answer::Encoded(chunks, _, share) = &mut pending.answer {
        // What lies in files takes no memory.
        let bytes: usize = chunks
            .iter()
            .map(|chunk| match chunk {
                Chunk::Bytes(bytes) => bytes.len(),
                Chunk::File(_) => 0,
            })
            .sum();
        let bytes = u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .min(ANSWER_BYTES_MAX);
        *share = Some(Arc::clone(answers).acquire_many_owned(bytes).await.ok()?);
    }
    Some(pending)
}

/// A request whose answer is on its way, before it is encoded.
struct Started {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    received: Instant,
    reply: Reply,
}

impl Started {
    fn encode(self) -> Result<Pending, String> {
        let answer = match self.reply {
            Reply::Later(response) => Answer::Later(response),
            Reply::Now(response) => {
                let error = response.first_error();
                let chunks = response
                    .into_frame(self.api, self.version, self.correlation_id)
                    .map_err(|e| format!("{:?} version {}: {e}", self.api, self.version))?;
                Answer::Encoded(chunks, error, None)
            }
            Reply::None | Reply::Close => return Err("there is no answer".into()),
        };
        Ok(Pending {
            api: self.api,
            version: self.version,
            correlation_id: self.correlation_id,
            received: self.received,
            answer,
        })
    }
}

/// Starts answering a request; an error closes the connection.
async fn answer<S: Service>(
    mut frame: Bytes,
    peer: SocketAddr,
    service: &S,
) -> Result<Option<Started>, String> {
    let received = Instant::now();
    let header = RequestHeader::take(&mut frame).map_err(|e| e.to_string())?;
    let (version, correlation_id) = (header.version, header.correlation_id);
    let row = api_table::find(header.api_key)
        .ok_or_else(|| format!("API key {} is not answered", header.api_key))?;
    let started = |version, reply| {
        Ok(Some(Started {
            api: row.key,
            version,
            correlation_id,
            received,
            reply,
        }))
    };
    if !(row.min..=row.max).contains(&version) {
        return match row.key {
            ApiKey::ApiVersions => started(0, Reply::Now(unsupported().into())),
            // Produce 0 to 2, too: listed, but without an answer that such a client could read. Kafka 4 closes as well.
            _ => Err(format!("{:?} version {version} is not answered", row.key)),
        };
    }
    let body = RequestBody::decode(row.key, version, frame)
        .map_err(|e| format!("{:?} version {version}: {e}", row.key))?;
    if let RequestBody::ApiVersions(body) = body {
        return started(version, Reply::Now(api_versions(version, &body).into()));
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
        reply => started(version, reply),
    }
}
