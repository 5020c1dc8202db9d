//! Ids go from the windows to the index.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tracing::{error, warn};

use super::index::DedupIndex;
use crate::partition::{Partition, Registry};

/// It is looked this often, and after the index did not take them.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Brings what windows have to the index, in one run. Blocks on the disk. False where it could not.
pub fn flush_all(index: &DedupIndex, partitions: &[Arc<Partition>]) -> bool {
    let _one = index.running.lock();
    let mut whose = Vec::new();
    let mut leaving = Vec::new();
    for partition in partitions {
        if let Some((ids, since_ms)) = partition.ids_leave() {
            // What the index has must be in the log, whatever happens to the machine.
            if partition.log().sync() {
                whose.push(partition);
                leaving.push((partition.key, ids, since_ms));
            } else {
                partition.ids_stayed();
            }
        }
    }
    if leaving.is_empty() {
        return true;
    }
    match index.take_in(&leaving) {
        Ok(owners) => {
            for ((partition, owner), (_, ids, _)) in whose.iter().zip(owners).zip(&leaving) {
                partition.ids_left(owner, ids.covers_to);
            }
            true
        }
        Err(error) => {
            warn!(%error, "the index does not take message ids; they stay in memory");
            for partition in whose {
                partition.ids_stayed();
            }
            false
        }
    }
}

/// Does so whenever many are in memory, and every so often: a start reads what the logs have since; and makes the filter where it is to be made. Until the node stops.
pub async fn run(
    registry: Arc<Registry>,
    index: Arc<DedupIndex>,
    every: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let mut all_at = Instant::now() + every;
    let mut filling = None;
    loop {
        if index.wants_filter()
            && filling
                .as_ref()
                .is_none_or(|task: &tokio::task::JoinHandle<_>| task.is_finished())
        {
            let index = Arc::clone(&index);
            filling = Some(tokio::task::spawn_blocking(move || {
                if let Err(error) = index.fill_filter() {
                    warn!(%error, "the filter of message ids could not be made: lookups read the index");
                }
            }));
        }
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            () = index.crowded.notified() => {}
            () = sleep(every.min(LOOK_EVERY)) => {}
        }
        let all = Instant::now() >= all_at;
        if !all && !index.is_crowded() {
            continue;
        }
        all_at = Instant::now() + every;
        let (registry, index) = (Arc::clone(&registry), Arc::clone(&index));
        let flush = move || flush_all(&index, &registry.online());
        match tokio::task::spawn_blocking(flush).await {
            Ok(true) => {}
            Ok(false) => sleep(LOOK_EVERY).await,
            Err(error) => error!(%error, "bringing message ids to their index failed"),
        }
    }
}
