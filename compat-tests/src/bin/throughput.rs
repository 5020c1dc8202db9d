//! Produces and fetches a million records of 1 KB by librdkafka and by the Java client, under `flush.policy` `ack` and `os`; holds
//! counts and checksums against each other; prints MB/s and the broker's CPU seconds per GB.
//!
//! `CHRONOS_RECORDS` sets another number of records. Not a timed test: figures are printed, never judged.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::{process::Command, time::Duration};

use anyhow::{Context, ensure};
use compat_tests::{client, cluster::Broker, tool};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};

const RECORD_BYTES: usize = 1024;
const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let records = tool::setting("CHRONOS_RECORDS", 1_000_000);
    for policy in ["ack", "os"] {
        let set = format!("flush.policy={policy}");
        let partitions = format!("num.partitions={PARTITIONS}");
        let broker = Broker::start(&[&set, &partitions])?;
        client::warm_up(&broker.kafka, "rdkafka")?;
        let produced = measure(&broker, records, || produce(&broker.kafka, records))?;
        let fetched = measure(&broker, records, || fetch(&broker.kafka, records))?;
        report(policy, "rdkafka", &produced, &fetched)?;
        println!("flush.policy={policy} java: {}", java(&broker, records)?);
    }
    Ok(())
}

/// What one direction took.
struct Run {
    megabytes_per_s: f64,
    cpu_s_per_gb: f64,
    checksum: u64,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn measure(
    broker: &Broker,
    records: u64,
    work: impl FnOnce() -> anyhow::Result<u64>,
) -> anyhow::Result<Run> {
    let (cpu, started) = (broker.cpu_seconds(), tokio::time::Instant::now());
    let checksum = work()?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), broker.cpu_seconds() - cpu);
    let bytes = records as f64 * RECORD_BYTES as f64;
    Ok(Run {
        megabytes_per_s: bytes / 1e6 / seconds,
        cpu_s_per_gb: cpu / (bytes / 1e9),
        checksum,
    })
}

fn report(policy: &str, client: &str, produced: &Run, fetched: &Run) -> anyhow::Result<()> {
    ensure!(
        produced.checksum == fetched.checksum,
        "what was fetched is not what was produced"
    );
    println!(
        "flush.policy={policy} {client}: produced {:.0} MB/s at {:.2} broker CPU-s/GB, fetched {:.0} MB/s at {:.2} broker CPU-s/GB, checksums equal",
        produced.megabytes_per_s,
        produced.cpu_s_per_gb,
        fetched.megabytes_per_s,
        fetched.cpu_s_per_gb
    );
    Ok(())
}

/// Numbered, and of bytes that do not compress to nothing.
fn value(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = number.to_be_bytes().to_vec();
    while bytes.len() < RECORD_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes
}

/// Of one value; those of all values are added, so that their order does not matter.
fn checksum(value: &[u8]) -> u64 {
    value.chunks_exact(8).fold(0u64, |sum, chunk| {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        sum.rotate_left(1) ^ u64::from_be_bytes(word)
    })
}

fn produce(brokers: &str, records: u64) -> anyhow::Result<u64> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .set("batch.size", "65536")
        .set("queue.buffering.max.messages", "100000")
        .create()?;
    let mut sum = 0u64;
    for number in 0..records {
        let value = value(number);
        sum = sum.wrapping_add(checksum(&value));
        let partition = i32::try_from(number % u64::from(PARTITIONS.unsigned_abs()))?;
        let mut record = BaseRecord::<(), _>::to("rdkafka")
            .payload(&value)
            .partition(partition);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE)?;
    Ok(sum)
}

fn fetch(brokers: &str, records: u64) -> anyhow::Result<u64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "none")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "100")
        .create()?;
    let mut assigned = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assigned.add_partition_offset("rdkafka", partition, Offset::Beginning)?;
    }
    consumer.assign(&assigned)?;
    let (mut sum, mut count) = (0u64, 0);
    while count < records {
        let message = consumer
            .poll(PATIENCE)
            .with_context(|| format!("{count} of {records} records came"))??;
        let payload = message.payload().unwrap_or_default();
        // The record that warmed the topic up is no part of it.
        if payload.len() >= RECORD_BYTES {
            sum = sum.wrapping_add(checksum(payload));
            count += 1;
        }
    }
    Ok(sum)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn java(broker: &Broker, records: u64) -> anyhow::Result<String> {
    let cpu = broker.cpu_seconds();
    let said = tool::run(Command::new("java").args([
        "-cp",
        &tool::java_class_path()?,
        "Throughput",
        &broker.kafka,
        "java",
        &records.to_string(),
        &RECORD_BYTES.to_string(),
    ]))?;
    let gigabytes = records as f64 * RECORD_BYTES as f64 / 1e9;
    let cpu = (broker.cpu_seconds() - cpu) / gigabytes;
    Ok(format!(
        "{}, broker {cpu:.2} CPU-s/GB for both",
        said.trim()
    ))
}
