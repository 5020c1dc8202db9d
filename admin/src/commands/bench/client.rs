//! The clients that are driven. What `--set` says comes last and wins.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use rdkafka::{
    ClientConfig, ClientContext, Offset, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext},
};
use std::sync::Mutex;

use super::{broker::Topic, clock::Clock, monitor::Done, numbers::Latencies};

/// How long the last records may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// How often librdkafka tells its counters.
const STATISTICS: Duration = Duration::from_millis(500);

/// A record whose ack is neither timed nor counted.
pub(super) const WARMS_UP: usize = 0;
/// A record whose ack is counted only. Any larger number is a time in nanoseconds of the clock.
pub(super) const COUNTED: usize = 1;

/// A producer and what it was told about its records.
pub(super) type Producer = BaseProducer<Acks>;
/// A record with the time that its ack is measured from.
pub(super) type Record<'a> = BaseRecord<'a, [u8], [u8], usize>;

/// Takes the answers to what a producer sent.
#[derive(Debug)]
pub(super) struct Acks {
    clock: Clock,
    done: Done,
    told: Mutex<Told>,
    sent_records: AtomicU64,
    sent_requests: AtomicU64,
}

/// What the answers were.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) latencies: Latencies,
    pub(super) acked: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// Acks that came when the record's time had passed.
    pub(super) behind: u64,
}

impl Told {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latencies: Latencies::new()?,
            acked: 0,
            errors: 0,
            first_error: None,
            behind: 0,
        })
    }

    /// Of several producers together.
    pub(super) fn sum<'a>(all: impl IntoIterator<Item = &'a Producer>) -> anyhow::Result<Self> {
        let mut sum = Self::new()?;
        for producer in all {
            let told = producer.context().told()?;
            sum.latencies.merge(&told.latencies)?;
            sum.acked += told.acked;
            sum.errors += told.errors;
            sum.behind += told.behind;
            sum.first_error = sum.first_error.or(told.first_error);
        }
        Ok(sum)
    }
}

impl Acks {
    fn told(&self) -> anyhow::Result<Told> {
        let told = self.told.lock();
        Ok(told
            .map_err(|_| anyhow::anyhow!("a callback failed"))?
            .clone())
    }

    /// Records and produce requests so far, warming up included; after [`drain`] and [`settle`].
    pub(super) fn sent(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.sent_records), read(&self.sent_requests))
    }
}

impl ClientContext for Acks {
    fn stats(&self, statistics: Statistics) {
        let requests: i64 = statistics
            .brokers
            .values()
            .filter_map(|broker| broker.req.get("Produce"))
            .sum();
        self.sent_requests
            .store(requests.unsigned_abs(), Ordering::Relaxed);
        self.sent_records
            .store(statistics.txmsgs.unsigned_abs(), Ordering::Relaxed);
    }

    // What fails for good comes with the answer; the rest is tried again.
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Acks {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, time: usize) {
        let Ok(mut told) = self.told.lock() else {
            return;
        };
        if let Err((error, _)) = result {
            told.errors += 1;
            told.first_error.get_or_insert_with(|| error.to_string());
            return;
        }
        if time == WARMS_UP {
            return;
        }
        told.acked += 1;
        self.done.add();
        if time > COUNTED {
            let (now, time) = (self.clock.nanos(), u64::try_from(time).unwrap_or(u64::MAX));
            told.behind += u64::from(now > time);
            told.latencies.record_nanos(now.saturating_sub(time));
        }
    }
}

/// A time to hand over with a record.
pub(super) fn opaque(nanos: u64) -> usize {
    usize::try_from(nanos)
        .unwrap_or(usize::MAX)
        .max(COUNTED + 1)
}

/// Settings that `--set` may change.
pub(super) type Settings<'a> = &'a [(String, String)];

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "chronosctl-bench")
        .set_log_level(RDKafkaLogLevel::Critical);
    config
}

/// A producer; with acks of all it is idempotent.
pub(super) fn producer(
    bootstrap: &str,
    clock: Clock,
    done: Done,
    acks: &str,
    own: &[(&str, String)],
    set: Settings<'_>,
) -> anyhow::Result<Producer> {
    let mut config = config(bootstrap);
    config
        .set("acks", acks)
        .set("enable.idempotence", (acks == "all").to_string())
        .set("statistics.interval.ms", STATISTICS.as_millis().to_string());
    let own = own.iter().map(|(key, value)| (*key, value.as_str()));
    let set = set
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in own.chain(set) {
        config.set(key, value);
    }
    Ok(config.create_with_context(Acks {
        clock,
        done,
        told: Mutex::new(Told::new()?),
        sent_records: AtomicU64::new(0),
        sent_requests: AtomicU64::new(0),
    })?)
}

/// A consumer of all partitions; it belongs to no group and commits nothing. An offset that the broker does not know is an error:
/// librdkafka would go on at the end, and what was skipped would be missing from the figures.
pub(super) fn consumer(
    bootstrap: &str,
    own: &[(&str, &str)],
    set: Settings<'_>,
) -> anyhow::Result<BaseConsumer> {
    let mut config = config(bootstrap);
    config
        .set("group.id", "chronosctl-bench")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error");
    let set = set
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in own.iter().copied().chain(set) {
        config.set(key, value);
    }
    Ok(config.create()?)
}

/// Reads each partition from its offset on.
pub(super) fn assign(
    consumer: &BaseConsumer,
    topic: &Topic,
    from: impl IntoIterator<Item = (i32, Offset)>,
) -> anyhow::Result<()> {
    let mut assigned = TopicPartitionList::new();
    for (partition, offset) in from {
        assigned.add_partition_offset(&topic.name, partition, offset)?;
    }
    Ok(consumer.assign(&assigned)?)
}

/// Hands a record over, waiting for room in the queue.
#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own, and the crate's poll spins for as long as it is told to wait: that would take the broker's core"
)]
pub(super) fn send(producer: &Producer, mut record: Record<'_>) -> anyhow::Result<()> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                std::thread::sleep(Duration::from_micros(500));
                producer.poll(Duration::ZERO);
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// Opens connections and gets a producer id: one record to each partition, not counted.
pub(super) fn warm_up(producer: &Producer, topic: &Topic, value: &[u8]) -> anyhow::Result<()> {
    for partition in 0..topic.partitions {
        // A compacted topic takes no record without a key.
        let record = Record::with_opaque_to(&topic.name, WARMS_UP)
            .key(b"warm-up".as_slice())
            .partition(partition)
            .payload(value);
        send(producer, record)?;
    }
    drain(producer)?;
    let told = producer.context().told()?;
    match told.first_error {
        None => Ok(()),
        Some(error) => anyhow::bail!("the broker refuses records: {error}"),
    }
}

/// Until all is answered. Not `flush`, which sees the last answer up to 100 ms late.
pub(super) fn drain(producer: &Producer) -> anyhow::Result<()> {
    let clock = Clock::start();
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
        ensure!(
            clock.elapsed() < PATIENCE,
            "{} records are not answered after {PATIENCE:?}",
            producer.in_flight_count()
        );
    }
    // The last answers may have been counted out, but not yet handed over.
    producer.poll(Duration::ZERO);
    Ok(())
}

/// Until librdkafka has told its last counters.
pub(super) fn settle(producer: &Producer) {
    producer.poll(STATISTICS + Duration::from_millis(50));
}

/// Serves a producer's answers as they come, while `work` runs.
pub(super) fn served<T>(
    producer: &Producer,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let working = Arc::new(std::sync::atomic::AtomicBool::new(true));
    std::thread::scope(|scope| {
        let serving = Arc::clone(&working);
        let server = scope.spawn(move || {
            while serving.load(Ordering::Relaxed) {
                producer.poll(Duration::from_millis(50));
            }
        });
        let result = work();
        working.store(false, Ordering::Relaxed);
        server.join().ok().context("a thread failed")?;
        result
    })
}
