//! Logs and metrics.

mod logs;
mod metrics;

pub use logs::{LEVELS, Loggers};
pub use metrics::{LogFacts, Metrics, TopicMetrics};
