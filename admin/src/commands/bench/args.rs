//! The words of `chronosctl bench`. They are part of the result, under the names of the fields.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::groups::{GroupsCommand, TxnArgs};
use crate::cli::key_value;

/// A benchmark.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Write records: rate, time to the ack, cost
    Produce(ProduceArgs),
    /// Read all partitions from the beginning: rate, cost
    Consume(ConsumeArgs),
    /// Stream a range over gRPC: time to the first record, rate, cost (ChronosDB only)
    Replay(ReplayArgs),
    /// Write at a steady rate and read at the end: time from the intended sending to the arrival
    E2e(E2eArgs),
    /// Write records that are due over a window: how late each came, and whether all came once
    Held(HeldArgs),
    /// Join groups, commit offsets: what a group coordinator does in a second
    #[command(subcommand)]
    Groups(GroupsCommand),
    /// Commit transactions: rate, time to the answer, cost
    Txn(TxnArgs),
}

/// What every benchmark takes.
#[derive(Debug, Args, Serialize)]
pub struct Common {
    /// The topic, created if need be [default: bench- and random letters]
    #[arg(short, long)]
    #[serde(skip)]
    pub topic: Option<String>,
    /// Partitions of a topic that is created
    #[arg(short, long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..))]
    #[serde(skip)]
    pub partitions: i32,
    /// A setting of a topic that is created; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    #[serde(serialize_with = "map")]
    pub topic_config: Vec<(String, String)>,
    /// A setting of librdkafka; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    #[serde(serialize_with = "map")]
    pub set: Vec<(String, String)>,
    /// The broker's process here: adds its CPU seconds and memory
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,
}

/// What `bench produce` takes.
#[derive(Debug, Args, Serialize)]
pub struct ProduceArgs {
    /// What every benchmark takes.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
    /// Stop after so many records [default: 1000000]
    #[arg(short = 'n', long)]
    pub records: Option<u64>,
    /// Stop after so many seconds
    #[arg(short, long, conflicts_with = "records", value_parser = positive)]
    pub seconds: Option<f64>,
    /// Bytes of a value
    #[arg(long = "size", default_value_t = 1024)]
    pub value_bytes: usize,
    /// Bytes of a batch at most (batch.size)
    #[arg(long, default_value_t = 65536)]
    pub batch_bytes: usize,
    /// How long a batch waits to be full, in milliseconds
    #[arg(long, default_value_t = 5.0)]
    pub linger_ms: f64,
    /// Acks to wait for: all, 1 or 0; all is idempotent, too
    #[arg(long, default_value = "all", value_parser = ["all", "1", "0"])]
    pub acks: String,
    /// Compression: none, gzip, snappy, lz4, zstd
    #[arg(long, default_value = "none", value_parser = ["none", "gzip", "snappy", "lz4", "zstd"])]
    pub codec: String,
    /// Records a second, all producers together; 0 is as fast as possible
    #[arg(long = "rate", default_value_t = 0)]
    pub target_records_per_second: u64,
    /// A header of every record; may be given several times
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = key_value)]
    #[serde(serialize_with = "map")]
    pub header: Vec<(String, String)>,
    /// Hold each record (chronos-deliver-at): due between one hour from now and so much later, shuffled
    #[arg(long, value_name = "SPAN", value_parser = span)]
    #[serde(rename = "held_over_ms", serialize_with = "opt_millis")]
    pub held_over: Option<Duration>,
    /// Give each record an id of its own (chronos-message-id), 32 characters that look drawn
    #[arg(long)]
    pub message_ids: bool,
    /// Bytes of a random key; 0 is no key
    #[arg(long, default_value_t = 0)]
    pub key_bytes: usize,
    /// Choose each record's key among so many, evenly and by chance
    #[arg(long, conflicts_with = "key_bytes", value_parser = clap::value_parser!(u64).range(1..))]
    pub keys: Option<u64>,
    /// What values are made of
    #[arg(long, value_enum, default_value_t = Payload::Random)]
    pub payload: Payload,
    /// Producers, a thread and connections each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub producers: u64,
    /// Time the ack of one record in so many [default: 1 with --rate, else 16]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub sample_every: Option<u64>,
}

/// What `bench consume` takes.
#[derive(Debug, Args, Serialize)]
pub struct ConsumeArgs {
    /// What every benchmark takes.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
    /// Stop after so many records [default: at the end of all partitions]
    #[arg(short = 'n', long)]
    pub records: Option<u64>,
}

/// What `bench replay` takes.
#[derive(Debug, Args, Serialize)]
pub struct ReplayArgs {
    /// What every benchmark takes.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
    /// From this time on: epoch milliseconds, RFC 3339, or -1h30m from now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// At most so many records, of each stream
    #[arg(short = 'n', long)]
    pub records: Option<u64>,
    /// The earliest time first over all partitions
    #[arg(long)]
    pub merged: bool,
    /// Streams at once, a connection each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub streams: u32,
}

/// What `bench e2e` takes.
#[derive(Debug, Args, Serialize)]
pub struct E2eArgs {
    /// What every benchmark takes.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
    /// Records a second
    #[arg(long = "rate", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub target_records_per_second: u64,
    /// How long
    #[arg(short, long, default_value_t = 10.0, value_parser = positive)]
    pub seconds: f64,
    /// How long before, at the same rate and not counted
    #[arg(long, default_value_t = 1.0, value_parser = not_negative)]
    pub warmup_seconds: f64,
    /// Bytes of a value; 24 at least
    #[arg(long = "size", default_value_t = 100)]
    pub value_bytes: usize,
    /// Acks to wait for: all, 1 or 0; all is idempotent, too
    #[arg(long, default_value = "all", value_parser = ["all", "1", "0"])]
    pub acks: String,
}

/// What `bench held` takes.
#[derive(Debug, Args, Serialize)]
pub struct HeldArgs {
    /// What every benchmark takes.
    #[command(flatten)]
    #[serde(flatten)]
    pub common: Common,
    /// How many records
    #[arg(short = 'n', long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub records: u64,
    /// They are due over this time, evenly
    #[arg(long = "window", default_value = "10s", value_parser = span)]
    #[serde(rename = "window_ms", serialize_with = "millis")]
    pub window: Duration,
    /// The first is due after this
    #[arg(long = "after", default_value = "2s", value_parser = span)]
    #[serde(rename = "after_ms", serialize_with = "millis")]
    pub after: Duration,
    /// How long to wait for records once the last one was due
    #[arg(long = "patience", default_value = "10s", value_parser = span)]
    #[serde(rename = "patience_ms", serialize_with = "millis")]
    pub patience: Duration,
    /// Bytes of a value; 24 at least
    #[arg(long = "size", default_value_t = 100)]
    pub value_bytes: usize,
}

/// What values are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// Bytes that do not compress
    Random,
    /// Nothing but zeros
    Zeros,
    /// Words, which compress to about a third
    Text,
}

impl ProduceArgs {
    /// How many records, where time does not end it.
    pub(super) fn limit(&self) -> Option<u64> {
        match self.seconds {
            Some(_) => self.records,
            None => Some(self.records.unwrap_or(1_000_000)),
        }
    }

    pub(super) fn sample(&self) -> u64 {
        let usual = if self.target_records_per_second == 0 {
            16
        } else {
            1
        };
        self.sample_every.unwrap_or(usual)
    }
}

fn positive(text: &str) -> Result<f64, String> {
    not_negative(text).and_then(|n| {
        if n > 0.0 {
            Ok(n)
        } else {
            Err("must be above 0".into())
        }
    })
}

fn not_negative(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|n: &f64| n.is_finite() && *n >= 0.0)
        .ok_or_else(|| format!("'{text}' is not a number of seconds"))
}

fn span(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|span| Duration::try_from(span).ok())
        .ok_or_else(|| format!("'{text}' is not a time such as 500ms, 10s or 2m"))
}

fn map<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (key, value) in pairs {
        map.serialize_entry(key, value)?;
    }
    map.end()
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn opt_millis<S: Serializer>(span: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match span {
        None => serializer.serialize_none(),
        Some(span) => millis(span, serializer),
    }
}

fn millis<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(subcommand)]
        command: BenchCommand,
    }

    fn parse(words: &str) -> Result<BenchCommand, clap::Error> {
        let words = std::iter::once("bench").chain(words.split_whitespace());
        Words::try_parse_from(words).map(|words| words.command)
    }

    fn produce(words: &str) -> ProduceArgs {
        match parse(&format!("produce {words}")).unwrap() {
            BenchCommand::Produce(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_ends_by_records_or_by_time() {
        assert_eq!(produce("").limit(), Some(1_000_000));
        assert_eq!(produce("--records 5").limit(), Some(5));
        assert_eq!(produce("--seconds 2.5").limit(), None);
        assert!(parse("produce --records 5 --seconds 2").is_err());
        assert!(parse("produce --seconds 0").is_err());
    }

    #[test]
    fn a_steady_rate_times_every_ack() {
        assert_eq!(produce("").sample(), 16);
        assert_eq!(produce("--rate 100").sample(), 1);
        assert_eq!(produce("--rate 100 --sample-every 3").sample(), 3);
    }

    #[test]
    fn parameters_are_in_the_result_with_their_units() {
        let args =
            produce("-H a=b --size 100 --set queue.buffering.max.kbytes=1 --payload text -t x");
        let shown = serde_json::to_value(&args).unwrap();
        assert_eq!(shown["value_bytes"], 100);
        assert_eq!(shown["header"]["a"], "b");
        assert_eq!(shown["set"]["queue.buffering.max.kbytes"], "1");
        assert_eq!(shown["payload"], "text");
        assert!(
            shown.get("topic").is_none(),
            "the result names the real one"
        );
    }

    #[test]
    fn spans_have_units() {
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("2m"), Ok(Duration::from_mins(2)));
        assert!(span("10").is_err() && span("-1s").is_err());
        let Ok(BenchCommand::Held(args)) = parse("held --window 3s") else {
            panic!("not understood");
        };
        let shown = serde_json::to_value(&args).unwrap();
        assert_eq!(
            (&shown["window_ms"], &shown["after_ms"]),
            (&3000.into(), &2000.into())
        );
    }
}
