//! Message ids (`chronos-message-id`): what they are remembered as, and those of a stored batch.

use std::hash::Hasher;

use memchr::memmem;
use siphasher::sip128::{Hasher128, SipHasher13};
use storage::{batch::BatchView, record::RecordRef};

use crate::{
    record_headers::MESSAGE_ID,
    records::{self, Unreadable},
};

/// What a message id is remembered as: a hash of so many bits, with a key that nobody outside knows, that two ids have the same one
/// in no log that will ever be written.
pub type MessageId = u128;

/// The key of that hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageIdHash {
    /// 16 bytes, drawn once for a node.
    pub key: [u8; 16],
}

impl MessageIdHash {
    /// Of an id as its header has it.
    pub fn of(&self, id: &[u8]) -> MessageId {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(id);
        hasher.finish128().as_u128()
    }

    /// Those of a stored batch, each with its record's offset delta.
    pub fn of_batch(&self, batch: &BatchView) -> Result<Vec<(i32, MessageId)>, Unreadable> {
        let header = &batch.header;
        let plain = records::plain(batch)?;
        let mut found = Vec::new();
        if memmem::find(&plain, MESSAGE_ID.as_bytes()).is_none() {
            return Ok(found);
        }
        let unreadable = |_| Unreadable(header.base_offset);
        let mut left = &plain[..];
        for _ in 0..header.records_count {
            let record = RecordRef::read(left).map_err(unreadable)?;
            left = left.get(record.encoded.len()..).unwrap_or_default();
            let mut id = None;
            for field in record.headers() {
                let field = field.map_err(unreadable)?;
                if field.name == MESSAGE_ID.as_bytes() {
                    id = field.value;
                }
            }
            found.extend(id.map(|id| (record.offset_delta, self.of(id))));
        }
        Ok(found)
    }
}
