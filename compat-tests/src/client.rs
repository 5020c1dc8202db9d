//! The `rdkafka` crate, set up for tests: a producer that keeps a ledger, and a reader of whole partitions.

use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{Header, Headers, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer},
};

/// A record as a consumer got it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its offset.
    pub offset: i64,
    /// Its value, as text.
    pub value: String,
    /// Header `chronos-due-at`, on fired records.
    pub due_at: Option<i64>,
    /// Its timestamp.
    pub timestamp: Option<i64>,
}

/// An idempotent producer with acks all that retries for `patience`.
pub fn producer(brokers: &str, patience: Duration) -> anyhow::Result<FutureProducer> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("message.timeout.ms", patience.as_millis().to_string())
        .set("reconnect.backoff.max.ms", "200")
        .create()?)
}

/// Creates a topic of one partition with these settings.
pub async fn create_topic(
    brokers: &str,
    topic: &str,
    settings: &[(&str, &str)],
) -> anyhow::Result<()> {
    let admin: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()?;
    let new = settings.iter().fold(
        NewTopic::new(topic, 1, TopicReplication::Fixed(1)),
        |new, (key, value)| new.set(key, value),
    );
    for result in admin.create_topics([&new], &AdminOptions::new()).await? {
        result.map_err(|(topic, code)| anyhow::anyhow!("creating {topic}: {code}"))?;
    }
    Ok(())
}

/// Deletes a topic.
pub async fn delete_topic(brokers: &str, topic: &str) -> anyhow::Result<()> {
    let admin: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()?;
    for result in admin.delete_topics(&[topic], &AdminOptions::new()).await? {
        result.map_err(|(topic, code)| anyhow::anyhow!("deleting {topic}: {code}"))?;
    }
    Ok(())
}

/// Sends a record that is due at `due_ms`; returns its schedule id.
pub async fn send_held(
    producer: &FutureProducer,
    topic: &str,
    value: &str,
    due_ms: i64,
) -> anyhow::Result<i64> {
    let due = due_ms.to_string();
    let headers = OwnedHeaders::new().insert(Header {
        key: "chronos-deliver-at",
        value: Some(&due),
    });
    let record = FutureRecord::<(), _>::to(topic)
        .partition(0)
        .payload(value)
        .headers(headers);
    let delivery = producer.send(record, Duration::from_secs(10)).await;
    Ok(delivery.map_err(|(error, _)| error)?.offset)
}

/// Makes a topic by producing one record to it.
pub fn warm_up(brokers: &str, topic: &str) -> anyhow::Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()?;
    producer
        .send(BaseRecord::<(), _>::to(topic).payload("warm"))
        .map_err(|(error, _)| error)?;
    Ok(producer.flush(Duration::from_secs(10))?)
}

/// A consumer of one partition from `from` on, without a group.
pub fn consumer(brokers: &str, topic: &str, from: Offset) -> anyhow::Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "none")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "100")
        .set("check.crcs", "true")
        .set("reconnect.backoff.max.ms", "200")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, from)?;
    consumer.assign(&partitions)?;
    Ok(consumer)
}

/// Everything in partition 0 of `topic`, up to its end.
pub fn read_all(brokers: &str, topic: &str, patience: Duration) -> anyhow::Result<Vec<Found>> {
    let consumer = consumer(brokers, topic, Offset::Beginning)?;
    let mut found = Vec::new();
    loop {
        match consumer.poll(patience) {
            None => bail!(
                "no end of {topic} within {patience:?}, {} records so far",
                found.len()
            ),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(found),
            Some(Err(error)) => return Err(error).context("consuming"),
            Some(Ok(message)) => found.push(to_found(&message)),
        }
    }
}

/// What a test looks at in a record.
pub fn to_found(message: &impl Message) -> Found {
    let due_at = message.headers().and_then(|headers| {
        headers
            .iter()
            .filter(|h| h.key == "chronos-due-at")
            .find_map(|h| std::str::from_utf8(h.value?).ok()?.parse().ok())
    });
    Found {
        offset: message.offset(),
        value: String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned(),
        due_at,
        timestamp: message.timestamp().to_millis(),
    }
}
