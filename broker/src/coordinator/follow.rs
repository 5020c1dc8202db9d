//! Loads the partitions that come here, forgets those that go, and wakes shards at their deadlines.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use storage::{
    batch::{BatchHeader, BatchView, HEADER_LEN},
    control::Marker,
    log::ReadUpTo,
    units::{Offset, TopicId},
};
use tokio::{sync::watch, time::Instant};
use tracing::{error, info};

use super::{Coordinator, Shard, batch, runtime::Place};
use crate::{
    metadata::Image,
    partition::{Partition, PartitionKey, Slot},
};

/// What is read of a partition at once while it is loaded.
const LOAD_BYTES: usize = 1 << 20;
/// Every sleep ends after this.
const SLEEP_MS_MAX: i64 = 60_000;
/// A partition that could not be loaded is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl<S: Shard> Coordinator<S> {
    /// Loads what comes, and keeps deadlines, until told to stop.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut images = self.options.metadata.watch();
        let mut topics = names(&images.borrow_and_update());
        let mut retry_at = None;
        loop {
            if self.look.swap(false, Relaxed) {
                let wait = self.follow().await;
                self.followed.notify_waiters();
                retry_at = wait.map(|wait| Instant::now() + wait);
                let now = names(&images.borrow_and_update());
                topics.retain(|id, _| !now.contains_key(id));
                let gone: HashSet<String> = topics.into_values().collect();
                if !gone.is_empty() {
                    self.on_topics_gone(&|name| gone.contains(name));
                }
                topics = now;
            }
            let next = self.on_deadlines();
            let retry = retry_at.unwrap_or_else(|| Instant::now() + next);
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                changed = images.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.look.store(true, Relaxed);
                }
                () = self.bell.notified() => {}
                () = tokio::time::sleep(next) => {}
                () = tokio::time::sleep_until(retry) => {
                    if retry_at.is_some() {
                        self.look.store(true, Relaxed);
                    }
                }
            }
        }
    }

    fn on_topics_gone(self: &Arc<Self>, is_gone: &dyn Fn(&str) -> bool) {
        let places: Vec<_> = self.shards.lock().values().map(Arc::clone).collect();
        for place in places {
            if let Some(shard) = place.shard.lock().as_mut() {
                self.forget_topics(&place, shard, is_gone);
            }
        }
    }

    fn forget_topics(
        self: &Arc<Self>,
        place: &Arc<Place<S>>,
        shard: &mut S,
        is_gone: &dyn Fn(&str) -> bool,
    ) {
        let decided = shard.on_topics_gone(is_gone);
        if let Err(error) = self.perform(place, shard, decided, self.now()) {
            error!(topic = self.options.topic, %error, "what is known of deleted topics could not be removed");
        }
    }

    /// Loads partitions that are open and not loaded, and forgets those that are gone. Returns when to look again, where
    /// some are not there yet.
    async fn follow(self: &Arc<Self>) -> Option<Duration> {
        let topic = self.topic();
        let wanted: HashMap<PartitionKey, Arc<Partition>> = topic
            .into_iter()
            .flat_map(|(topic, count)| (0..count).map(move |index| PartitionKey { topic, index }))
            .filter_map(|key| match self.options.registry.get(key) {
                Some(Slot::Online(partition)) => Some((key, partition)),
                _ => None,
            })
            .collect();
        let is_all_there = topic.is_none_or(|(_, count)| i32::try_from(wanted.len()) == Ok(count));
        let mut missing = Vec::new();
        {
            let mut shards = self.shards.lock();
            shards.retain(|key, place| {
                let partition = wanted.get(key);
                partition.is_some_and(|partition| Arc::ptr_eq(partition, &place.partition))
            });
            for (key, partition) in wanted {
                shards.entry(key).or_insert_with(|| {
                    let place = Arc::new(Place {
                        partition,
                        shard: Mutex::new(None),
                    });
                    missing.push((key, Arc::clone(&place)));
                    place
                });
            }
        }
        let mut failed = false;
        if !missing.is_empty() {
            let this = Arc::clone(self);
            let load = move || {
                let loaded = missing.iter().map(|(key, place)| this.load(*key, place));
                loaded.filter(|loaded| !loaded).count()
            };
            failed = tokio::task::spawn_blocking(load).await.unwrap_or(1) > 0;
        }
        (!is_all_there || failed).then_some(RETRY_AFTER)
    }

    /// Replays a partition; false where it has to be tried again. Blocks on the disk.
    fn load(self: &Arc<Self>, key: PartitionKey, place: &Arc<Place<S>>) -> bool {
        let mut shard = (self.make)();
        let started = Instant::now();
        let mut records = 0u64;
        let read = for_each_batch(&place.partition, &mut |batch| {
            let producer_id = batch.header.producer_id;
            if batch.header.is_control() {
                if let Some(marker) = Marker::read(batch) {
                    shard.on_marker(producer_id, marker.kind);
                }
                return true;
            }
            let said = batch::decode(batch);
            for record in said.iter().flatten() {
                if batch.header.is_transactional() {
                    shard.replay_in_transaction(producer_id, record);
                } else {
                    shard.replay(record);
                }
                records += 1;
            }
            said.is_some()
        });
        match read {
            Ok(()) => {
                shard.loaded(self.now());
                shard.told_of_load(records, started.elapsed());
                if records > 0 {
                    info!(
                        topic = self.options.topic,
                        partition = key.index,
                        records,
                        took_ms = started.elapsed().as_millis(),
                        "coordinator loaded"
                    );
                }
                // They may have been deleted while nobody was here.
                let image = self.options.metadata.image();
                self.forget_topics(place, &mut shard, &|name| !image.topics.contains_key(name));
                *place.shard.lock() = Some(shard);
                true
            }
            Err(why) => {
                error!(
                    topic = self.options.topic,
                    partition = key.index,
                    why,
                    "the coordinator cannot be loaded"
                );
                self.shards.lock().remove(&key);
                false
            }
        }
    }

    /// Acts on deadlines that are over; returns how long there is none.
    fn on_deadlines(self: &Arc<Self>) -> Duration {
        // Whatever is set from here on tells.
        self.planned.store(i64::MAX, Relaxed);
        let places: Vec<_> = self.shards.lock().values().map(Arc::clone).collect();
        let mut next = i64::MAX;
        let now = self.now();
        for place in places {
            let mut shard = place.shard.lock();
            let Some(shard) = shard.as_mut() else {
                continue;
            };
            while let Some(decided) = shard.on_deadline(now) {
                if let Err(error) = self.perform(&place, shard, decided, now) {
                    error!(topic = self.options.topic, %error, "what a deadline asks for could not be written");
                }
            }
            next = next.min(shard.next_deadline().unwrap_or(i64::MAX));
        }
        self.planned.store(next, Relaxed);
        let left = next.saturating_sub(now.steady).min(SLEEP_MS_MAX);
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }
}

fn names(image: &Image) -> HashMap<TopicId, String> {
    let topics = image.topics.values();
    topics.map(|topic| (topic.id, topic.name.clone())).collect()
}

/// All visible batches of a partition, until `each` returns false. Blocks on the disk.
fn for_each_batch(
    partition: &Partition,
    each: &mut dyn FnMut(&BatchView) -> bool,
) -> Result<(), String> {
    let log = partition.log();
    let mut from = log.offsets().log_start;
    loop {
        let read = log
            .read(from, LOAD_BYTES, ReadUpTo::Visible, true)
            .map_err(|e| e.to_string())?;
        let mut left = read.to_bytes().map_err(|e| e.to_string())?;
        if left.is_empty() {
            return Ok(());
        }
        while left.len() >= HEADER_LEN {
            let header = BatchHeader::parse(&left).map_err(|e| e.to_string())?;
            // The last one may be cut: it is read again from its beginning.
            if header.total_len() > left.len() {
                break;
            }
            let batch = BatchView::parse(left.split_to(header.total_len()));
            let batch = batch.map_err(|e| e.to_string())?;
            if !batch.verify_crc() {
                return Err(format!("the batch at {} is damaged", header.base_offset));
            }
            if !each(&batch) {
                return Err(format!(
                    "the batch at {} cannot be read",
                    header.base_offset
                ));
            }
            from = Offset(header.last_offset() + 1);
        }
    }
}
