//! Reading all logs again, slowly: once after the start, then every `log.scrub.interval.ms`.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::error;

use crate::{config::LiveConfig, partition::Registry, telemetry::Metrics};

/// A pass that waits looks so often whether the node stops.
const NAP: Duration = Duration::from_millis(100);

/// Passes until told to stop. `log.scrub.bytes.per.second` of 0 turns them off.
pub async fn run(
    registry: Arc<Registry>,
    config: LiveConfig,
    metrics: Arc<Metrics>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let settings = config.get();
        if settings.scrub_bytes_per_second > 0 {
            let (registry, rate) = (Arc::clone(&registry), settings.scrub_bytes_per_second);
            let stop = stopped.clone();
            let pass = move || pass(&registry, rate, &stop);
            match tokio::task::spawn_blocking(pass).await {
                Ok(true) => metrics.scrubbed(),
                Ok(false) => return,
                Err(error) => error!(%error, "a scrub ended early"),
            }
        }
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(settings.scrub_interval) => {}
        }
    }
}

/// One pass over all partitions; false where the node stops.
fn pass(registry: &Registry, bytes_per_second: u64, stopped: &watch::Receiver<bool>) -> bool {
    let mut pace = Pace {
        rate: bytes_per_second,
        since: now(),
        bytes: 0,
    };
    for partition in registry.online() {
        let found = partition.log().scrub(&mut |bytes| {
            if *stopped.borrow() {
                return ControlFlow::Break(());
            }
            pace.read(bytes);
            ControlFlow::Continue(())
        });
        for found in found {
            let damage = &found.damage;
            error!(topic = %partition.topic, partition = partition.key.index, file = %found.path.display(),
                   start = damage.start, end = damage.end, first_offset = damage.first.0, last_offset = damage.last.0,
                   why = damage.why, "a scrub found damage: reads of these offsets fail, what lies around them is served");
        }
        if *stopped.borrow() {
            return false;
        }
    }
    true
}

/// So many bytes a second.
struct Pace {
    rate: u64,
    since: Instant,
    bytes: u64,
}

impl Pace {
    fn read(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        let due = Duration::from_micros(self.bytes.saturating_mul(1_000_000) / self.rate.max(1));
        let ahead = due.saturating_sub(self.since.elapsed());
        if ahead > NAP {
            nap();
        } else if ahead.is_zero() && due + NAP < self.since.elapsed() {
            // What was not read in time is not made up for in a burst.
            (self.since, self.bytes) = (now(), 0);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread for blocking work, which has nothing else to do"
)]
fn nap() {
    std::thread::sleep(NAP);
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread outside tokio; only measures spans"
)]
fn now() -> Instant {
    Instant::now()
}
