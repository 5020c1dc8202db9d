//! Answers leave a connection in the order of their requests.

use std::{future::Future, io, pin::Pin, sync::Arc};

use futures::FutureExt;
use kafka_protocol::messages::ApiKey;
use rustix::net::SendFlags;
use storage::log::{Chunk, FileSlice};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, timeout},
};
use tracing::{debug, warn};

use crate::{response::Response, service::Service};

/// Answers that are sent together at most.
const TOGETHER_MAX: usize = 64;
/// What is copied, so that one write sends it with its neighbours.
const SMALL_BYTES: usize = 1024;

/// An answer on its way.
pub(crate) struct Pending {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) received: Instant,
    pub(crate) answer: Answer,
}

pub(crate) enum Answer {
    /// Encoded, with its first error, and with its share of the bytes that may wait.
    Encoded(Vec<Chunk>, Option<i16>, Option<OwnedSemaphorePermit>),
    Later(Pin<Box<dyn Future<Output = Response> + Send>>),
}

/// An answer that can be sent, and what is told of it then.
struct Ready {
    api: ApiKey,
    received: Instant,
    error: Option<i16>,
    chunks: Vec<Chunk>,
    /// Freed when the answer is sent.
    _share: Option<OwnedSemaphorePermit>,
}

impl Pending {
    /// Waits for the answer; an error closes the connection.
    async fn ready(&mut self) -> Result<Ready, String> {
        let (chunks, error, share) = match &mut self.answer {
            Answer::Encoded(chunks, error, share) => (std::mem::take(chunks), *error, share.take()),
            Answer::Later(response) => {
                let response = response.await;
                let error = response.first_error();
                let chunks = response
                    .into_frame(self.api, self.version, self.correlation_id)
                    .map_err(|e| format!("{:?} version {}: {e}", self.api, self.version))?;
                (chunks, error, None)
            }
        };
        Ok(Ready {
            api: self.api,
            received: self.received,
            error,
            chunks,
            _share: share,
        })
    }
}

/// Sends answers in the order of their requests, those that are ready together in one write.
pub(crate) async fn write_answers<S: Service>(
    mut writer: OwnedWriteHalf,
    mut pending: mpsc::Receiver<Pending>,
    service: Arc<S>,
) {
    let mut head = None;
    let mut small = Vec::new();
    loop {
        let next = match head.take() {
            Some(next) => Some(next),
            None => pending.recv().await,
        };
        let Some(mut next) = next else { return };
        let mut answers = Vec::new();
        let mut outcome = next.ready().await;
        let mut failed = None;
        loop {
            match outcome {
                Ok(ready) => answers.push(ready),
                Err(why) => {
                    failed = Some(why);
                    break;
                }
            }
            if answers.len() == TOGETHER_MAX {
                break;
            }
            let Ok(mut next) = pending.try_recv() else {
                break;
            };
            // Polled without a waker: one that is not ready is waited for at the head of the next turn.
            if let Some(ready) = next.ready().now_or_never() {
                outcome = ready;
            } else {
                head = Some(next);
                break;
            }
        }
        let sending = send(&mut writer, &mut small, &mut answers);
        match timeout(service.limits().idle, sending).await {
            Ok(Ok(sent)) => service.on_bytes(0, sent),
            Ok(Err(error)) => {
                debug!(%error, "connection closed while it was written to");
                return;
            }
            Err(_elapsed) => {
                debug!("connection closed: the client takes no answers");
                return;
            }
        }
        for answer in answers {
            service.on_request_done(answer.api, answer.received.elapsed(), answer.error);
        }
        if let Some(why) = failed {
            warn!(why, "connection closed");
            return;
        }
    }
}

/// Returns the bytes that were sent. `small` is empty before and after.
async fn send(
    writer: &mut OwnedWriteHalf,
    small: &mut Vec<u8>,
    answers: &mut [Ready],
) -> io::Result<usize> {
    let mut sent = 0;
    for chunk in answers.iter_mut().flat_map(|a| a.chunks.drain(..)) {
        sent += chunk.len();
        match chunk {
            Chunk::Bytes(bytes) if bytes.len() <= SMALL_BYTES => small.extend_from_slice(&bytes),
            Chunk::Bytes(bytes) => {
                flush(writer, small).await?;
                writer.write_all(&bytes).await?;
            }
            Chunk::File(slice) => {
                flush_with_more(writer, small).await?;
                send_file(writer, &slice).await?;
            }
        }
    }
    flush(writer, small).await?;
    Ok(sent)
}

async fn flush(writer: &mut OwnedWriteHalf, small: &mut Vec<u8>) -> io::Result<()> {
    if !small.is_empty() {
        writer.write_all(small).await?;
        small.clear();
    }
    Ok(())
}

/// Sends what leads a slice of a file in the packets of that slice: alone it would wake the client for a few bytes.
async fn flush_with_more(writer: &mut OwnedWriteHalf, small: &mut Vec<u8>) -> io::Result<()> {
    let socket: &TcpStream = writer.as_ref();
    let mut left = small.as_slice();
    while !left.is_empty() {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        let send = || Ok(rustix::net::send(socket, left, flags)?);
        let sent = socket.async_io(Interest::WRITABLE, send).await?;
        left = left.get(sent..).unwrap_or_default();
    }
    small.clear();
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
