//! Raw bytes to a broker: what no client library would send.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// How a broker reacted to bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// It closed the connection without a word.
    Closed,
    /// It answered with this frame, length taken off.
    Answered(Vec<u8>),
    /// Nothing yet.
    Silent,
}

/// Sends bytes as they are on a new connection, and waits up to a second for an answer.
pub fn send(address: &str, bytes: &[u8]) -> std::io::Result<Reaction> {
    send_within(address, bytes, Duration::from_secs(1))
}

/// The same, with other patience.
pub fn send_within(address: &str, bytes: &[u8], patience: Duration) -> std::io::Result<Reaction> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(bytes)?;
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {
            let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap_or(0)];
            stream.read_exact(&mut frame)?;
            Ok(Reaction::Answered(frame))
        }
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ) =>
        {
            Ok(Reaction::Silent)
        }
        Err(_closed) => Ok(Reaction::Closed),
    }
}

/// A frame: length, header v1 with client id "raw", body.
pub fn frame(api_key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut inner = Vec::new();
    inner.extend_from_slice(&api_key.to_be_bytes());
    inner.extend_from_slice(&version.to_be_bytes());
    inner.extend_from_slice(&7i32.to_be_bytes());
    inner.extend_from_slice(&3i16.to_be_bytes());
    inner.extend_from_slice(b"raw");
    inner.extend_from_slice(body);
    let mut frame = u32::try_from(inner.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    frame.extend_from_slice(&inner);
    frame
}

/// A Produce v7 body of one partition's records to partition 0 of `topic`, acks all.
pub fn produce_body(topic: &str, records: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&(-1i16).to_be_bytes());
    body.extend_from_slice(&(-1i16).to_be_bytes());
    body.extend_from_slice(&5_000i32.to_be_bytes());
    body.extend_from_slice(&1i32.to_be_bytes());
    body.extend_from_slice(&i16::try_from(topic.len()).unwrap_or(0).to_be_bytes());
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(&1i32.to_be_bytes());
    body.extend_from_slice(&0i32.to_be_bytes());
    body.extend_from_slice(&i32::try_from(records.len()).unwrap_or(0).to_be_bytes());
    body.extend_from_slice(records);
    body
}

/// The error code of the one partition in a Produce v7 answer for `topic`.
pub fn produce_error(topic: &str, answer: &[u8]) -> Option<i16> {
    produce_answer(topic, answer).map(|(code, _)| code)
}

/// The error code and the base offset of such an answer.
pub fn produce_answer(topic: &str, answer: &[u8]) -> Option<(i16, i64)> {
    // correlation id 4, topic count 4, name 2 + n, partition count 4, index 4
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    let code = answer.get(at..at + 2)?;
    let base = answer.get(at + 2..at + 10)?;
    Some((
        i16::from_be_bytes(code.try_into().ok()?),
        i64::from_be_bytes(base.try_into().ok()?),
    ))
}
