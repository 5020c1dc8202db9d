//! Kafka clients, set up for a command line: short time-outs, errors in words.

use std::time::Duration;

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::AdminClient,
    client::DefaultClientContext,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    producer::FutureProducer,
};

/// How long a command waits for the broker.
pub const PATIENCE: Duration = Duration::from_secs(10);

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "chronosctl")
        .set("socket.timeout.ms", "10000")
        .set_log_level(RDKafkaLogLevel::Critical);
    config
}

/// A client for topics and settings.
pub fn admin(bootstrap: &str) -> anyhow::Result<AdminClient<DefaultClientContext>> {
    Ok(config(bootstrap).create()?)
}

/// A producer with acks all that sends each record once: a command says so when it failed, and never writes twice. Idempotence
/// would allow retries, but getting a producer id takes librdkafka half a second.
pub fn producer(bootstrap: &str) -> anyhow::Result<FutureProducer> {
    Ok(config(bootstrap)
        .set("acks", "all")
        .set("message.send.max.retries", "0")
        .set("message.timeout.ms", "10000")
        .create()?)
}

/// A reader of metadata and offsets.
pub fn reader(bootstrap: &str) -> anyhow::Result<BaseConsumer> {
    Ok(config(bootstrap)
        .set("group.id", "chronosctl")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()?)
}

/// A consumer of one partition; it belongs to no group and commits nothing.
pub fn consumer(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    from: Offset,
) -> anyhow::Result<BaseConsumer> {
    let consumer = reader(bootstrap)?;
    let mut assigned = TopicPartitionList::new();
    assigned.add_partition_offset(topic, partition, from)?;
    consumer.assign(&assigned)?;
    Ok(consumer)
}
