//! Logs and metrics.

mod compaction_metrics;
mod dedup_metrics;
mod group_metrics;
mod logs;
mod metrics;
mod node_metrics;
mod process;
mod recent_lines;
mod register;
mod rpc_metrics;
mod schedule_metrics;

pub use dedup_metrics::{Checks, DedupMetrics};
pub use group_metrics::GroupMetrics;
pub use logs::{LEVELS, Loggers};
pub use metrics::{LogFacts, Metrics, TopicMetrics};
pub use node_metrics::NodeFacts;
pub use process::Usage;
pub use register::Described;
pub use rpc_metrics::RpcMetrics;
