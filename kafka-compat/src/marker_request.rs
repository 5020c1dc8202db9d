//! WriteTxnMarkers requests: the codec stops at version 1, and version 2 says which version of transactions a marker is of
//! (KIP-1228).

use bytes::Bytes;

use crate::flexible::Fields;

/// The first version that says of which version of transactions a marker is.
const VERSIONED: i16 = 2;

/// Markers to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkerRequest {
    /// Of producers.
    pub markers: Vec<MarkerAsked>,
}

/// A marker to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerAsked {
    /// Whose transaction ends.
    pub producer_id: i64,
    /// And its epoch.
    pub producer_epoch: i16,
    /// It is committed, or aborted.
    pub commit: bool,
    /// Topics, and partitions of them.
    pub topics: Vec<(String, Vec<i32>)>,
    /// Of who asks.
    pub coordinator_epoch: i32,
    /// Of transactions; 0 where the request does not say.
    pub transaction_version: i16,
}

/// `None` where the request is cut off.
pub(crate) fn decode(version: i16, body: Bytes) -> Option<MarkerRequest> {
    let mut from = Fields::new(body);
    let markers = from.array(|from| {
        let (producer_id, producer_epoch) = (from.i64()?, from.i16()?);
        let commit = from.u8()? != 0;
        let topics = from.array(|from| {
            let topic = (from.string()?.to_string(), from.array(Fields::i32)??);
            from.tags()?;
            Some(topic)
        })??;
        let coordinator_epoch = from.i32()?;
        let transaction_version = if version >= VERSIONED {
            i16::from(from.u8()?.cast_signed())
        } else {
            0
        };
        from.tags()?;
        Some(MarkerAsked {
            producer_id,
            producer_epoch,
            commit,
            topics,
            coordinator_epoch,
            transaction_version,
        })
    })??;
    from.tags()?;
    Some(MarkerRequest { markers })
}
