//! Reading all logs again, slowly: once after the start, then every `log.scrub.interval.ms`.

use std::{ops::ControlFlow, sync::Arc};

use tokio::sync::watch;
use tracing::error;

use crate::{config::LiveConfig, pace::Pace, partition::Registry, telemetry::Metrics};

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
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let mut pace = Pace::new(bytes_per_second as f64);
    for partition in registry.online() {
        let found = partition.log().scrub(&mut |bytes| {
            if pace.passed(bytes, stopped) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
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
