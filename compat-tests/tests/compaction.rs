//! Compacted topics, from outside: the last record of each key is there, whatever the cleaner does and whenever it dies.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, fs, time::Duration};

use compat_tests::{client, cluster::Broker, tool};
use rdkafka::{
    Message, Offset,
    error::KafkaError,
    producer::{FutureProducer, FutureRecord},
};

const PATIENCE: Duration = Duration::from_secs(20);
const SETTINGS: [&str; 1] = ["log.cleaner.backoff.ms=100"];

async fn send(producer: &FutureProducer, topic: &str, key: &str, value: &str) {
    let record = FutureRecord::to(topic).key(key).payload(value);
    producer.send(record, PATIENCE).await.unwrap();
}

/// So many keys, so often, a kilobyte each; all are sent at once.
async fn fill(producer: &FutureProducer, topic: &str, rounds: std::ops::Range<usize>) {
    let filler = "x".repeat(1_000);
    for round in rounds {
        let sends = (0..100).map(|key| {
            let (key, value) = (format!("k{key}"), format!("{round} {filler}"));
            let (producer, topic) = (producer.clone(), topic.to_owned());
            async move { send(&producer, &topic, &key, &value).await }
        });
        futures::future::join_all(sends).await;
    }
}

/// Offsets and values by key; every record, in order.
fn read(brokers: &str, topic: &str) -> (usize, BTreeMap<String, (i64, String)>) {
    let consumer = client::consumer(brokers, topic, Offset::Beginning).unwrap();
    let (_, end) =
        rdkafka::consumer::Consumer::fetch_watermarks(&consumer, topic, 0, PATIENCE).unwrap();
    let (mut count, mut last) = (0, BTreeMap::new());
    let mut before = -1;
    loop {
        let message = match consumer.poll(PATIENCE) {
            Some(Err(KafkaError::PartitionEOF(_))) | None => return (count, last),
            Some(message) => message.unwrap(),
        };
        assert!(message.offset() > before);
        before = message.offset();
        count += 1;
        let text =
            |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        last.insert(text(message.key()), (before, text(message.payload())));
        if before + 1 == end {
            return (count, last);
        }
    }
}

fn segment_bytes(broker: &Broker, topic: &str) -> u64 {
    let folder = broker
        .data_dir()
        .join(format!("1/partitions/{topic}-0/segments"));
    let files = fs::read_dir(folder).unwrap();
    files
        .filter_map(|file| file.ok()?.metadata().ok())
        .map(|m| m.len())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_record_of_each_key_outlives_compaction_and_kills() {
    let mut broker = Broker::start(&SETTINGS).unwrap();
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.1"),
        ("file.delete.delay.ms", "0"),
    ];
    client::create_topic(&broker.kafka, "compacted", &settings)
        .await
        .unwrap();
    let producer = client::producer(&broker.kafka, PATIENCE).unwrap();
    for round in 0..4 {
        fill(&producer, "compacted", round * 20..round * 20 + 20).await;
        // In the middle of a pass, most likely.
        broker.kill().unwrap();
        broker.restart().unwrap();
        let (_, last) = read(&broker.kafka, "compacted");
        assert_eq!(last.len(), 100);
        let expected = format!("{} ", round * 20 + 19);
        assert!(
            last.values().all(|(_, value)| value.starts_with(&expected)),
            "round {round}"
        );
    }
    let (_, before) = read(&broker.kafka, "compacted");
    // Eight megabytes were written: what is left is a hundred keys and the segment that is being written.
    tool::eventually(PATIENCE, || {
        let left = segment_bytes(&broker, "compacted");
        anyhow::ensure!(left < 3 << 20, "{left} bytes are left");
        Ok(())
    })
    .await
    .unwrap();
    let (count, after) = read(&broker.kafka, "compacted");
    assert_eq!(after, before);
    assert!(count < 3_000, "{count}");
    let (_, page) = tool::http_get(&broker.http, "/metrics").unwrap();
    assert!(page.contains("chronos_log_compactions_total"), "{page}");
    // A record without a key would stay for ever.
    let record = FutureRecord::<(), _>::to("compacted").payload("x");
    let (error, _) = producer.send(record, PATIENCE).await.unwrap_err();
    assert!(
        matches!(
            error,
            KafkaError::MessageProduction(rdkafka::types::RDKafkaErrorCode::InvalidRecord)
        ),
        "{error}"
    );
}

/// A pass keeps what waits, and what is settled by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_record_of_a_compacted_topic_fires_after_passes() {
    let mut broker = Broker::start(&SETTINGS).unwrap();
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("file.delete.delay.ms", "0"),
    ];
    client::create_topic(&broker.kafka, "held", &settings)
        .await
        .unwrap();
    let producer = client::producer(&broker.kafka, PATIENCE).unwrap();
    let due = (tool::now_ms() + 6_000).to_string();
    let headers = rdkafka::message::OwnedHeaders::new().insert(rdkafka::message::Header {
        key: "chronos-deliver-at",
        value: Some(due.as_str()),
    });
    let record = FutureRecord::to("held")
        .key("later")
        .payload("waited")
        .headers(headers);
    producer.send(record, PATIENCE).await.unwrap();
    fill(&producer, "held", 0..40).await;
    tool::eventually(PATIENCE, || {
        let left = segment_bytes(&broker, "held");
        anyhow::ensure!(left < 3 << 20, "{left} bytes are left");
        Ok(())
    })
    .await
    .unwrap();
    broker.kill().unwrap();
    broker.restart().unwrap();
    tool::eventually(PATIENCE, || {
        let (_, last) = read(&broker.kafka, "held");
        anyhow::ensure!(
            last.get("later")
                .is_some_and(|(_, value)| value == "waited")
        );
        Ok(())
    })
    .await
    .unwrap();
}
