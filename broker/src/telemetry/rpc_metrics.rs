//! What is told of calls of the gRPC API.

use std::time::Duration;

use prometheus::HistogramVec;

use super::register::Register;

/// Few: there are many methods.
const BUCKETS: [f64; 7] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Metrics of calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RpcMetrics {
    seconds: HistogramVec,
}

impl RpcMetrics {
    pub(super) fn new(r: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            seconds: r.histograms(
                "chronos_admin_rpc_duration_seconds",
                "Calls of the gRPC API until the answer begins: of a stream, until its first answer may come.",
                &["method", "code"],
                BUCKETS.to_vec(),
            )?,
        })
    }

    /// A call was answered. The method is one that there is.
    pub fn done(&self, method: &str, code: &str, took: Duration) {
        let seconds = self.seconds.with_label_values(&[method, code]);
        seconds.observe(took.as_secs_f64());
    }
}
