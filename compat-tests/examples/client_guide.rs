//! The program of docs/clients/rust.md, which a test holds it against.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a short program for people"
)]
#![expect(clippy::disallowed_methods, reason = "it reads the clock")]

use std::time::{Duration, SystemTime};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// The offset that the broker answers.
async fn send(
    producer: &FutureProducer,
    topic: &str,
    value: &str,
    header: &str,
    text: &str,
) -> i64 {
    let headers = OwnedHeaders::new().insert(Header {
        key: header,
        value: Some(text),
    });
    let record = FutureRecord::<(), _>::to(topic)
        .partition(0)
        .payload(value)
        .headers(headers);
    producer
        .send(record, PATIENCE)
        .await
        .expect("it is acknowledged")
        .offset
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let (servers, topic) = (args.next().expect("servers"), args.next().expect("topic"));
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &servers).set("acks", "all");
    let producer: FutureProducer = config.create().expect("a producer");
    let held = send(
        &producer,
        &topic,
        "remind me",
        "chronos-deliver-after",
        "1h",
    )
    .await;
    println!("held under {held}");
    send(&producer, &topic, "", "chronos-cancel", &held.to_string()).await;
    println!("cancelled");
    let started = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock")
        .as_millis();
    let first = send(&producer, &topic, "paid", "chronos-message-id", "order-7").await;
    let again = send(&producer, &topic, "paid", "chronos-message-id", "order-7").await;
    println!("first at {first}, again at {again}");
    let mut from = TopicPartitionList::new();
    let time = Offset::Offset(i64::try_from(started).expect("milliseconds"));
    from.add_partition_offset(&topic, 0, time).expect("a place");
    config
        .set("group.id", "unused")
        .set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let from = consumer.offsets_for_times(from, PATIENCE).expect("offsets");
    consumer.assign(&from).expect("an assignment");
    while let Some(Ok(record)) = consumer.poll(PATIENCE) {
        let value = String::from_utf8_lossy(record.payload().unwrap_or_default());
        println!("{} {value}", record.offset());
    }
}
