//! Which partitions are open on this node: the folders follow the metadata image.
//!
//! A folder is made when the image has the partition, and removed only when the image says that its topic was deleted. A
//! folder that the image does not know is left alone, with a warning: metadata that was lost must not take the data along.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use scheduler::{Clock, StoreOptions};
use serde::{Deserialize, Serialize};
use storage::{
    checkpoint,
    data_dir::DataDir,
    disk::{Disk, OpenMode},
    log::{Log, LogOptions, OpenError, SEGMENT_HEADER_LEN, SegmentHeader, Syncer},
    units::{LeaderEpoch, TimestampMs, TopicId},
};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{
    deduplicated::DedupState,
    made::Made,
    partition::{Derived, Partition, PartitionKey},
};
use crate::{
    config::{Config, LiveConfig},
    dedup::{self, DedupIndex, ReplayError},
    metadata::{Image, Topic},
    schedule::{
        accept::PendingSize,
        fire_loop::FireHandle,
        key_index::KeyIndex,
        pending::{self, KeysOf, PendingError},
    },
    telemetry::Metrics,
    topic_config::TopicConfig,
};

/// A start that replayed more timers than that writes a checkpoint of them at once.
const REPLAYED_MAX: u64 = 4 * 1024;

/// What opening partitions takes.
#[derive(Debug)]
pub struct RegistryOptions {
    /// Where the folders are.
    pub data_dir: Arc<DataDir>,
    /// This node's id.
    pub node_id: i32,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The group commit that all logs share.
    pub syncer: Syncer,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Broker settings, the defaults of topic settings.
    pub config: LiveConfig,
    /// Who fires.
    pub fire: FireHandle,
    /// Gauges.
    pub metrics: Arc<Metrics>,
    /// Schedule keys.
    pub keys: Arc<KeyIndex>,
    /// Message ids.
    pub dedup: Arc<DedupIndex>,
}

/// A partition as this node has it.
#[derive(Clone, Debug)]
pub enum Slot {
    /// Open.
    Online(Arc<Partition>),
    /// It could not be opened; the reason is in the log and in `/readyz`.
    Offline {
        /// The topic's name.
        topic: Arc<str>,
        /// The reason.
        why: Arc<str>,
        /// It may go by itself: the next reconcile tries again.
        passing: bool,
    },
}

/// The open partitions. Handlers look up; only [`Registry::reconcile`] changes, and one task calls it.
#[derive(Debug)]
pub struct Registry {
    options: RegistryOptions,
    made: Made,
    slots: RwLock<HashMap<PartitionKey, Slot>>,
    /// What the folders follow already; a topic that did not change since is not looked at again.
    followed: Mutex<Followed>,
    /// The last reconcile could not remove a deleted topic's folders.
    removal_failed: AtomicBool,
    reconciled: watch::Sender<u64>,
}

/// A partition that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offline {
    /// As "orders-3".
    pub partition: String,
    /// Why.
    pub why: String,
}

/// Threads that open partitions side by side.
const OPEN_THREADS: usize = 8;

/// A partition that is to be opened.
struct Missing<'a> {
    topic: &'a Topic,
    key: PartitionKey,
    epoch: LeaderEpoch,
    config: Arc<TopicConfig>,
}

#[derive(Debug, Default)]
struct Followed {
    topics: HashMap<TopicId, Arc<Topic>>,
    config: Option<Arc<Config>>,
}

/// Why a partition is offline.
#[derive(Debug, Error)]
enum OpenFailed {
    #[error(transparent)]
    Log(#[from] OpenError),
    #[error("writing partition.json: {0}")]
    Claim(#[from] io::Error),
    #[error("{0} is missing, though it was made; restore it, nothing was changed")]
    Missing(PathBuf),
    #[error(transparent)]
    Pending(#[from] PendingError),
    #[error(transparent)]
    Dedup(#[from] ReplayError),
}

impl OpenFailed {
    /// Room on the disk, a free file descriptor, or a folder of an older topic that is still to be removed may mend it.
    fn is_passing(&self) -> bool {
        match self {
            Self::Log(error) => {
                matches!(error, OpenError::Io { .. } | OpenError::WrongTopicId { .. })
            }
            Self::Claim(_) => true,
            // Somebody may put it back.
            Self::Missing(_) => false,
            Self::Pending(error) => error.is_passing(),
            Self::Dedup(error) => error.is_passing(),
        }
    }
}

/// `meta/partition.json`: whose folder it is.
#[derive(Debug, Serialize, Deserialize)]
struct FolderOwner {
    version: u32,
    topic: String,
    topic_id: TopicId,
    partition: i32,
}

impl Registry {
    /// Nothing is open yet.
    pub fn new(options: RegistryOptions) -> Self {
        let topics = options.data_dir.path().join("topics");
        Self {
            made: Made::new(topics, Arc::clone(&options.disk)),
            options,
            slots: RwLock::default(),
            followed: Mutex::default(),
            removal_failed: AtomicBool::new(false),
            reconciled: watch::Sender::new(0),
        }
    }

    /// The partition, if this node has it.
    pub fn get(&self, key: PartitionKey) -> Option<Slot> {
        self.slots.read().get(&key).cloned()
    }

    /// How much waits in the topic's partitions here.
    pub fn pending_size(&self, topic: TopicId) -> PendingSize {
        let slots = self.slots.read();
        slots
            .iter()
            .filter(|(key, _)| key.topic == topic)
            .map(|(_, slot)| match slot {
                Slot::Online(partition) => partition.pending_size(),
                Slot::Offline { .. } => PendingSize::default(),
            })
            .fold(PendingSize::default(), |sum, size| sum + size)
    }

    /// All partitions that are open.
    pub fn online(&self) -> Vec<Arc<Partition>> {
        let slots = self.slots.read();
        slots
            .values()
            .filter_map(|slot| match slot {
                Slot::Online(partition) => Some(Arc::clone(partition)),
                Slot::Offline { .. } => None,
            })
            .collect()
    }

    /// Partitions that could not be opened, or that failed since, each with the reason.
    pub fn offline(&self) -> Vec<Offline> {
        let slots = self.slots.read();
        slots
            .iter()
            .filter_map(|(key, slot)| match slot {
                Slot::Offline { topic, why, .. } => Some(Offline {
                    partition: format!("{topic}-{}", key.index),
                    why: why.to_string(),
                }),
                Slot::Online(p) => p.log().is_poisoned().map(|why| Offline {
                    partition: format!("{}-{}", p.topic, p.key.index),
                    why,
                }),
            })
            .collect()
    }

    /// Returns when the folders have followed the image of that version.
    pub async fn reconciled_to(&self, version: u64) {
        // An error means that the node stops: the caller's answer reaches nobody.
        let _ = self
            .reconciled
            .subscribe()
            .wait_for(|v| *v >= version)
            .await;
    }

    /// Makes the folders follow `image`. Returns the deleted topics whose folders are gone. Blocks on the disk.
    pub fn reconcile(&self, image: &Image) -> Vec<TopicId> {
        self.removal_failed.store(false, Ordering::Relaxed);
        let removed: Vec<TopicId> = image
            .deleting
            .values()
            .filter(|topic| match self.remove_topic(topic) {
                Ok(()) => true,
                Err(error) => {
                    error!(topic = topic.name, %error, "a deleted topic's folders cannot be removed yet");
                    self.removal_failed.store(true, Ordering::Relaxed);
                    false
                }
            })
            .map(|topic| topic.id)
            .collect();
        self.options.config.follow(&image.broker_configs);
        self.open_topics(image);
        self.count_states();
        self.reconciled.send_replace(image.version);
        removed
    }

    /// Whether the next [`Registry::reconcile`] may do what the last one could not.
    pub fn wants_retry(&self) -> bool {
        let passing = |slot: &Slot| matches!(slot, Slot::Offline { passing: true, .. });
        self.removal_failed.load(Ordering::Relaxed) || self.slots.read().values().any(passing)
    }

    /// Removes what a removal left half done, and names folders that no topic of the image owns. Called once at start.
    pub fn sweep(&self, image: &Image) {
        let bin = self.bin();
        if bin.exists()
            && let Err(error) = std::fs::remove_dir_all(&bin)
        {
            warn!(folder = %bin.display(), %error, "folders of deleted topics are still there");
        }
        let Ok(folders) = self
            .options
            .disk
            .list(&self.options.data_dir.partitions_dir())
        else {
            return;
        };
        for (name, is_dir) in folders {
            let known = name.rsplit_once('-').is_some_and(|(topic, index)| {
                let partitions = image.topics.get(topic).map_or(0, |t| t.partitions.len());
                index.parse::<usize>().is_ok_and(|i| i < partitions)
            });
            if is_dir && !known && !name.starts_with('.') {
                warn!(
                    folder = name,
                    "no topic owns this partition folder; it is left as it is"
                );
            }
        }
    }

    /// Syncs and checkpoints every log, so that the next start need not scan.
    pub fn close(&self) {
        let now = self.options.clock.wall();
        self.checkpoint_timers(1);
        dedup::flush_all(&self.options.dedup, &self.online());
        for partition in self.online() {
            if let Err(error) = partition.log().close(now.0) {
                error!(topic = %partition.topic, partition = partition.key.index, %error,
                       "closing the log failed; the next start recovers it");
            }
        }
    }

    /// Writes the checkpoint of each log that has this many bytes since its last one: bounds what the next start scans after a
    /// crash.
    pub fn checkpoint_where(&self, bytes: u64) {
        let now = self.options.clock.wall();
        for partition in self.online() {
            if let Err(error) = partition.log().checkpoint_if_long(bytes, now.0) {
                warn!(topic = %partition.topic, partition = partition.key.index, %error, "checkpoint failed");
            }
        }
    }

    /// Writes the checkpoint of each timer store that has this many changes since its last one.
    pub fn checkpoint_timers(&self, changes: u64) {
        let now = self.options.clock.wall();
        for partition in self.online() {
            if let Err(error) = partition.checkpoint_timers(changes, now) {
                warn!(topic = %partition.topic, partition = partition.key.index, %error,
                      "the timers' checkpoint failed; the next start replays more of the log");
            }
        }
    }

    /// Wall time.
    pub fn now(&self) -> TimestampMs {
        self.options.clock.wall()
    }

    /// Removes what retention does not keep, of every log.
    pub fn retain(&self) {
        for partition in self.online() {
            let now = self.options.clock.wall();
            if let Err(error) = partition.retain_or_carry(now) {
                warn!(topic = %partition.topic, partition = partition.key.index, %error, "retention failed");
            }
        }
    }

    /// Unlinks removed files whose delay is over.
    pub fn reap(&self) {
        let now = self.options.clock.wall();
        for partition in self.online() {
            partition.log().reap(now.0);
        }
    }

    /// The file system's bytes, and those of them that can be used.
    pub fn disk_bytes(&self) -> Option<(i64, i64)> {
        let stat = rustix::fs::statvfs(self.options.data_dir.path()).ok()?;
        let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).ok();
        Some((bytes(stat.f_blocks)?, bytes(stat.f_bavail)?))
    }

    fn open_topics(&self, image: &Image) {
        let retry = self.wants_retry();
        let config = self.options.config.get();
        let mut followed = self.followed.lock();
        let same_config = followed
            .config
            .as_deref()
            .is_some_and(|c| c.is_same_as(&config));
        followed
            .topics
            .retain(|id, _| image.topic_by_id(*id).is_some());
        let mut work = Vec::new();
        for topic in image.topics.values() {
            let before = followed.topics.insert(topic.id, Arc::clone(topic));
            let unchanged = before.is_some_and(|before| Arc::ptr_eq(&before, topic));
            if retry || !same_config || !unchanged {
                self.follow_topic(topic, &config, &mut work);
            }
        }
        followed.config = Some(config);
        // Opening waits for the disk, partition by partition: side by side, syncs share their commits.
        let next = AtomicUsize::new(0);
        let open = || {
            while let Some(missing) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.open_missing(missing);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..OPEN_THREADS.min(work.len()) {
                scope.spawn(open);
            }
            open();
        });
        for topic in work.iter().map(|missing| missing.topic) {
            self.record_made(topic);
        }
    }

    /// Gives open partitions the topic's settings; those that are not open go to `work`.
    fn follow_topic<'a>(&self, topic: &'a Topic, broker: &Config, work: &mut Vec<Missing<'a>>) {
        let config = Arc::new(TopicConfig::resolve(&topic.configs, broker));
        for (index, replica) in (0i32..).zip(&topic.partitions) {
            if !replica.replicas.contains(&self.options.node_id) {
                continue;
            }
            let key = PartitionKey {
                topic: topic.id,
                index,
            };
            match self.get(key) {
                Some(Slot::Online(partition)) => {
                    if *partition.config() != *config {
                        partition.set_config(Arc::clone(&config));
                    }
                    continue;
                }
                Some(Slot::Offline { passing: false, .. }) => continue,
                Some(Slot::Offline { passing: true, .. }) | None => {}
            }
            work.push(Missing {
                topic,
                key,
                epoch: LeaderEpoch(replica.leader_epoch),
                config: Arc::clone(&config),
            });
        }
    }

    /// Writes down that a topic's partitions were made, once all of them are open.
    fn record_made(&self, topic: &Topic) {
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let mut keys = (0..count).map(|index| PartitionKey {
            topic: topic.id,
            index,
        });
        let all_open = keys.all(|key| matches!(self.get(key), Some(Slot::Online(_))));
        if all_open && let Err(error) = self.made.record(topic.id, count) {
            warn!(topic = topic.name, %error, "a partition folder that gets lost would not be missed");
        }
    }

    fn open_missing(&self, missing: &Missing<'_>) {
        let Missing {
            topic,
            key,
            epoch,
            config,
        } = missing;
        let slot = match self.open(topic, *key, *epoch, config) {
            Ok(partition) => Slot::Online(partition),
            Err(error) => {
                let passing = error.is_passing();
                error!(topic = topic.name, partition = key.index, %error, passing,
                       "partition is offline");
                Slot::Offline {
                    topic: topic.name.as_str().into(),
                    why: error.to_string().into(),
                    passing,
                }
            }
        };
        self.slots.write().insert(*key, slot);
    }

    fn open(
        &self,
        topic: &Topic,
        key: PartitionKey,
        epoch: LeaderEpoch,
        config: &Arc<TopicConfig>,
    ) -> Result<Arc<Partition>, OpenFailed> {
        let o = &self.options;
        let dir = o.data_dir.partition_dir(&topic.name, key.index);
        if key.index < self.made.count(topic.id) && !o.disk.exists(&dir) {
            return Err(OpenFailed::Missing(dir));
        }
        let (log, report) = Log::open(LogOptions {
            dir: dir.clone(),
            topic_id: key.topic,
            partition: key.index,
            config: config.log_config(),
            disk: Arc::clone(&o.disk),
            syncer: o.syncer.clone(),
            now_ms: o.clock.wall().0,
        })?;
        if report.cut_bytes > 0 {
            warn!(
                topic = topic.name,
                partition = key.index,
                cut_bytes = report.cut_bytes,
                "a torn tail was cut from the log"
            );
        }
        self.claim(&dir, topic, key.index)?;
        let timers = StoreOptions::new(dir.join("timers"), Arc::clone(&o.disk));
        let keys = KeysOf {
            index: &o.keys,
            partition: key,
        };
        let pending::Found {
            timers,
            transactional,
        } = pending::open(&log, timers, &keys, o.clock.wall())?;
        let rules = dedup::Rules {
            partition: key,
            // What the node keeps for itself has no message ids: it is not read for them.
            window_ms: if topic.internal {
                0
            } else {
                config.dedup_window_ms
            },
            now: o.clock.wall(),
        };
        let window = dedup::open(&log, &o.dedup, rules)?;
        let waiting = timers.len();
        let partition = Arc::new(Partition::new(
            key,
            Arc::from(topic.name.as_str()),
            log,
            epoch,
            Arc::clone(config),
            o.metrics.topic(&topic.name),
            Derived {
                timers,
                transactional,
                keys: Arc::clone(&o.keys),
                ids: DedupState {
                    window,
                    index: Arc::clone(&o.dedup),
                },
            },
        ));
        // A node that is killed again and again must not replay more each time.
        if let Err(error) = partition.checkpoint_timers(REPLAYED_MAX, o.clock.wall()) {
            warn!(topic = topic.name, partition = key.index, %error, "timers could not be checkpointed");
        }
        if waiting > 0 {
            info!(
                topic = topic.name,
                partition = key.index,
                pending = waiting,
                "held records found"
            );
            o.fire.watch(&partition);
        }
        Ok(partition)
    }

    fn claim(&self, dir: &Path, topic: &Topic, index: i32) -> io::Result<()> {
        let path = owner_path(dir);
        if self.options.disk.exists(&path) {
            return Ok(());
        }
        let owner = FolderOwner {
            version: 1,
            topic: topic.name.clone(),
            topic_id: topic.id,
            partition: index,
        };
        let json = serde_json::to_vec_pretty(&owner).map_err(io::Error::other)?;
        checkpoint::replace(&*self.options.disk, &path, &json)
    }

    fn remove_topic(&self, topic: &Topic) -> io::Result<()> {
        for index in (0i32..).take(topic.partitions.len()) {
            let key = PartitionKey {
                topic: topic.id,
                index,
            };
            let slot = self.slots.write().remove(&key);
            if let Some(Slot::Online(partition)) = slot {
                partition.close();
                // So that the fire loop lets go of it, and with it of its files.
                self.options.fire.watch(&partition);
            }
            let dir = self.options.data_dir.partition_dir(&topic.name, index);
            if self.options.disk.exists(&dir) && self.owned_by(&dir, topic.id)? {
                self.remove_folder(&dir, topic.id, index)?;
            }
        }
        let o = &self.options;
        o.keys.remove_topic(topic.id).map_err(io::Error::other)?;
        o.dedup.remove_topic(topic.id).map_err(io::Error::other)?;
        self.made.forget(topic.id)?;
        info!(topic = topic.name, topic_id = %topic.id, "deleted topic's folders are gone");
        Ok(())
    }

    /// A folder of another topic of that name stays; so does one that does not say whose it is but has data.
    fn owned_by(&self, dir: &Path, topic: TopicId) -> io::Result<bool> {
        let path = owner_path(dir);
        if self.options.disk.exists(&path) {
            let owner: FolderOwner =
                serde_json::from_slice(&std::fs::read(&path)?).map_err(io::Error::other)?;
            return Ok(owner.topic_id == topic);
        }
        // The node stopped between making the folder and writing down whose it is: the first segment says.
        let segments = dir.join("segments");
        if !self.options.disk.exists(&segments) {
            return Ok(true);
        }
        let names = self.options.disk.list(&segments)?;
        let Some((first, _)) = names.first() else {
            return Ok(true);
        };
        let file = self
            .options
            .disk
            .open(&segments.join(first), OpenMode::Read)?;
        if file.len()? < SEGMENT_HEADER_LEN as u64 {
            return Ok(names.len() == 1);
        }
        let mut header = [0; SEGMENT_HEADER_LEN];
        file.read_exact_at(&mut header, 0)?;
        Ok(SegmentHeader::parse(&header).is_ok_and(|h| h.topic_id == topic))
    }

    /// Out of the way first, in one step; then away.
    fn remove_folder(&self, dir: &Path, topic: TopicId, index: i32) -> io::Result<()> {
        let disk = &self.options.disk;
        let bin = self.bin();
        disk.create_dir_all(&bin)?;
        let gone = bin.join(format!("{topic}-{index}"));
        disk.rename(dir, &gone)?;
        disk.sync_dir(&self.options.data_dir.partitions_dir())?;
        disk.sync_dir(&bin)?;
        std::fs::remove_dir_all(&gone)
    }

    /// Where folders of deleted topics go before they are removed.
    fn bin(&self) -> PathBuf {
        self.options.data_dir.partitions_dir().join(".deleted")
    }

    fn count_states(&self) {
        let slots = self.slots.read();
        let online = slots
            .values()
            .filter(|slot| matches!(slot, Slot::Online(_)))
            .count();
        self.options
            .metrics
            .partitions(online, slots.len() - online);
    }
}

fn owner_path(dir: &Path) -> PathBuf {
    dir.join("meta").join("partition.json")
}
