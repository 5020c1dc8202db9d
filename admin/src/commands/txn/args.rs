//! The words of `chronosctl txn`.

use clap::{Args, Subcommand};

/// A command about transactions.
#[derive(Debug, Subcommand)]
pub enum TxnCommand {
    /// List transactional ids that coordinators know
    List {
        /// Only those in this state, as Ongoing or Empty; may be given several times
        #[arg(long)]
        state: Vec<String>,
        /// Only transactions that are open for longer, as 15m
        #[arg(long, value_name = "SPAN")]
        older_than: Option<String>,
    },
    /// Describe what a transactional id does
    Describe {
        /// Which; several may be given
        #[arg(required = true, value_name = "TXN_ID")]
        ids: Vec<String>,
    },
    /// Abort a transaction in one partition, as its coordinator would: for one that hangs, that no coordinator knows of
    Abort(AbortArgs),
    /// Find transactions that are open in a partition, and that no coordinator will end
    FindHanging {
        /// A topic; may be given several times
        #[arg(short, long, required = true)]
        topic: Vec<String>,
        /// Only this partition of that one topic
        #[arg(short, long)]
        partition: Option<i32>,
        /// Only what nothing was written to for so long: the broker's transaction.max.timeout.ms
        #[arg(long, value_name = "SPAN", default_value = "15m")]
        max_transaction_timeout: String,
    },
}

/// Which transaction is aborted, and where.
#[derive(Debug, Args)]
pub struct AbortArgs {
    /// The topic
    #[arg(short, long)]
    pub topic: String,
    /// The partition
    #[arg(short, long)]
    pub partition: i32,
    /// Where the transaction began in that partition, as find-hanging tells
    #[arg(long, value_name = "OFFSET", required_unless_present = "producer_id")]
    pub start_offset: Option<i64>,
    /// Its producer, for brokers that do not tell of producers
    #[arg(long, conflicts_with = "start_offset", requires_all = ["producer_epoch", "coordinator_epoch"])]
    pub producer_id: Option<i64>,
    /// The producer's epoch
    #[arg(long, requires = "producer_id")]
    pub producer_epoch: Option<i16>,
    /// The epoch of the coordinator
    #[arg(long, requires = "producer_id", allow_negative_numbers = true)]
    pub coordinator_epoch: Option<i32>,
}
