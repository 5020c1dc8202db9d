//! The metadata log in the key-value store, and the image that follows it.
//!
//! ```text
//! key "s"                 snapshot: an image, JSON
//! key "l" + version u64   the command that made that version, JSON
//! ```

use std::{path::Path, sync::Arc};

use storage::kv::{Kv, KvError, Writes};
use thiserror::Error;
use tokio::sync::{Mutex, watch};

use super::{
    command::{Command, Outcome},
    image::Image,
};

const SNAPSHOT: &[u8] = b"s";
const LOG: u8 = b'l';
/// Entries kept before a snapshot takes their place: bounds the log and the start.
const ENTRIES_MAX: u64 = 1_000;

/// Why metadata cannot be read or changed.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] KvError),
    /// An entry or snapshot that this release cannot read.
    #[error("metadata {what}: {why}; nothing was changed")]
    Unreadable {
        /// Which.
        what: String,
        /// Why.
        why: String,
    },
    /// An earlier write failed: what is durable is unknown.
    #[error("metadata cannot be changed after a failed write")]
    Failed,
    /// A change did something else than it should: a defect of ours.
    #[error("a metadata change ended as {0:?}")]
    Unexpected(Outcome),
}

/// What a node says of itself.
#[derive(Clone, Debug)]
pub struct MetadataOptions {
    /// Its id.
    pub node_id: i32,
    /// Where clients reach it.
    pub host: String,
    /// Where clients reach it.
    pub port: u16,
    /// Its rack.
    pub rack: Option<String>,
}

/// The metadata; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metadata(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    controller: Mutex<Controller>,
    image: watch::Sender<Arc<Image>>,
}

/// The one place that changes metadata.
#[derive(Debug)]
struct Controller {
    kv: Kv,
    /// First entry that is not in the snapshot.
    log_start: u64,
    failed: bool,
}

impl Metadata {
    /// Opens the store in `dir`, replays its log, and registers this node.
    pub async fn open(dir: &Path, options: MetadataOptions) -> Result<Self, MetadataError> {
        let kv = Kv::open(&dir.join("kv"))?;
        let mut image = match kv.get(SNAPSHOT)? {
            Some(json) => parse("snapshot", &json)?,
            None => Image::default(),
        };
        let log_start = image.version + 1;
        for (key, json) in kv.scan(&[LOG], &[LOG + 1])? {
            let expected = image.version + 1;
            if key != log_key(expected) {
                let why = format!("entry {expected} is missing");
                return Err(MetadataError::Unreadable { what: "log".into(), why });
            }
            image.apply(parse(&format!("entry {expected}"), &json)?);
        }
        let new = image.version == 0;
        let metadata = Self(Arc::new(Inner {
            controller: Mutex::new(Controller { kv, log_start, failed: false }),
            image: watch::Sender::new(Arc::new(image)),
        }));
        if new {
            metadata.propose(Command::InitCluster { cluster_id: new_cluster_id() }).await?;
        }
        let MetadataOptions { node_id: id, host, port, rack } = options;
        metadata.propose(Command::RegisterBroker { id, host, port, rack }).await?;
        Ok(metadata)
    }

    /// The metadata now.
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(&self.0.image.borrow())
    }

    /// Hears each new image.
    pub fn watch(&self) -> watch::Receiver<Arc<Image>> {
        self.0.image.subscribe()
    }

    /// Changes the metadata. It is durable and in the image when this returns.
    pub async fn propose(&self, command: Command) -> Result<Outcome, MetadataError> {
        let mut controller = self.0.controller.lock().await;
        let mut image = Image::clone(&self.image());
        let json = to_json(&command)?;
        let outcome = image.apply(command);
        controller.log(&image, &json)?;
        self.0.image.send_replace(Arc::new(image));
        Ok(outcome)
    }
}

impl MetadataError {
    /// An outcome that the proposer cannot use.
    pub fn unexpected(outcome: &Outcome) -> Self {
        Self::Unexpected(outcome.clone())
    }
}

impl Controller {
    /// Writes the entry that made `image`; now and then, the image itself instead of all entries.
    fn log(&mut self, image: &Image, entry: &[u8]) -> Result<(), MetadataError> {
        if self.failed {
            return Err(MetadataError::Failed);
        }
        let mut writes = Writes::default();
        let snapshot = image.version >= self.log_start + ENTRIES_MAX;
        if snapshot {
            writes.put(SNAPSHOT, &to_json(image)?);
            writes.delete_range(&[LOG], &[LOG + 1]);
        } else {
            writes.put(&log_key(image.version), entry);
        }
        self.kv.write(writes).inspect_err(|_| self.failed = true)?;
        if snapshot {
            self.log_start = image.version + 1;
        }
        Ok(())
    }
}

fn log_key(version: u64) -> Vec<u8> {
    let mut key = vec![LOG];
    key.extend_from_slice(&version.to_be_bytes());
    key
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>, MetadataError> {
    serde_json::to_vec(value)
        .map_err(|e| MetadataError::Unreadable { what: "entry".into(), why: e.to_string() })
}

fn parse<T: for<'de> serde::Deserialize<'de>>(what: &str, json: &[u8]) -> Result<T, MetadataError> {
    serde_json::from_slice(json)
        .map_err(|e| MetadataError::Unreadable { what: what.into(), why: e.to_string() })
}

/// As Kafka's: a random UUID in url-safe base64 without padding, 22 characters.
fn new_cluster_id() -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = uuid::Uuid::new_v4().as_u128();
    // 128 bits are 21 digits of 6 bits and one of 2, which base64 pads with zeros on the right.
    let digit = |i: u32| {
        let six = if i < 21 { (number >> (122 - 6 * i)) & 63 } else { (number << 4) & 63 };
        usize::try_from(six).ok().and_then(|at| DIGITS.get(at)).map_or('A', |d| char::from(*d))
    };
    (0..22).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use storage::units::TopicId;

    fn options() -> MetadataOptions {
        MetadataOptions { node_id: 1, host: "127.0.0.1".into(), port: 9092, rack: None }
    }

    #[tokio::test]
    async fn what_was_agreed_is_there_after_opening_again_also_across_snapshots() {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster_id = String::new();
        for round in 0..4u32 {
            let metadata = Metadata::open(dir.path(), options()).await.unwrap();
            let image = metadata.image();
            assert_eq!(image.topics.len(), usize::try_from(round).unwrap());
            assert!(round == 0 || image.cluster_id == cluster_id);
            cluster_id.clone_from(&image.cluster_id);
            assert_eq!(cluster_id.len(), 22);
            let create = Command::CreateTopic {
                name: format!("t{round}"),
                topic_id: TopicId::from_u128(u128::from(round)),
                assignments: vec![vec![1]],
                configs: BTreeMap::new(),
            };
            assert_eq!(metadata.propose(create).await.unwrap(), Outcome::Done);
            for _ in 0..400 {
                metadata.propose(Command::AllocateProducerIds { count: 1 }).await.unwrap();
            }
            assert_eq!(metadata.image().next_producer_id, i64::from(round + 1) * 400);
        }
    }
}
