//! Producer ids: blocks come from the metadata log, ids from the block in hand.

use tokio::sync::Mutex;

use crate::metadata::{Command, Metadata, MetadataError, Outcome};

/// Ids in a block. A node that stops loses what is left of its block, as in Kafka (KIP-730).
const BLOCK: i64 = 1_000;

/// The block in hand.
#[derive(Debug, Default)]
pub struct ProducerIds(Mutex<Block>);

#[derive(Debug, Default)]
struct Block {
    next: i64,
    end: i64,
}

impl ProducerIds {
    /// An id that no producer of this cluster ever had.
    pub async fn next(&self, metadata: &Metadata) -> Result<i64, MetadataError> {
        let mut block = self.0.lock().await;
        if block.next == block.end {
            match metadata
                .propose(Command::AllocateProducerIds { count: BLOCK })
                .await?
            {
                Outcome::ProducerIds { first, count } => {
                    *block = Block {
                        next: first,
                        end: first + count,
                    };
                }
                other => return Err(MetadataError::unexpected(&other)),
            }
        }
        let id = block.next;
        block.next += 1;
        Ok(id)
    }
}
