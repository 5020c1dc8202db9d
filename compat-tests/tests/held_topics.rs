//! Held records against what happens to their topic and their process: limits, more partitions, a process that stands still.

use std::{collections::BTreeSet, process::Command, time::Duration};

use anyhow::ensure;
use compat_tests::{client, cluster::Broker, ledger, tool};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewPartitions},
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, Message, OwnedHeaders},
    producer::FutureRecord,
    topic_partition_list::{Offset, TopicPartitionList},
};

/// How long a client tries.
const PATIENCE: Duration = Duration::from_secs(10);

/// A topic that holds three records or two kilobytes refuses the next, says why, and takes it when there is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_holds_as_much_as_it_may_refuses_more() {
    let broker = Broker::start(&[]).unwrap();
    let producer = client::producer(&broker.kafka, PATIENCE).unwrap();
    let limits = [
        ("few", "chronos.schedule.max.pending.records", "3"),
        ("small", "chronos.schedule.max.pending.bytes", "2000"),
    ];
    for (topic, limit, most) in limits {
        client::create_topic(&broker.kafka, topic, &[(limit, most)])
            .await
            .unwrap();
        let value = "x".repeat(600);
        let soon = tool::now_ms() + 2_000;
        client::send_held(&producer, topic, &value, soon)
            .await
            .unwrap();
        for _ in 0..2 {
            client::send_held(&producer, topic, &value, soon + 3_600_000)
                .await
                .unwrap();
        }
        let refused = client::send_held(&producer, topic, &value, soon).await;
        let refused = refused.unwrap_err();
        assert!(
            matches!(
                refused.downcast_ref(),
                Some(KafkaError::MessageProduction(
                    RDKafkaErrorCode::PolicyViolation
                ))
            ),
            "{refused}"
        );
        // What is not held is none of the limit's business.
        let plain = FutureRecord::<(), _>::to(topic).payload("plain");
        producer.send(plain, PATIENCE).await.unwrap();
        tool::eventually(PATIENCE, || {
            let (_, page) = tool::http_get(&broker.http, "/metrics")?;
            let fired = format!("chronos_schedule_delivered_total{{topic=\"{topic}\"}} 1");
            ensure!(page.contains(&fired), "{page}");
            Ok(())
        })
        .await
        .unwrap();
        client::send_held(&producer, topic, &value, soon + 3_600_000)
            .await
            .unwrap();
    }
    let (_, page) = tool::http_get(&broker.http, "/metrics").unwrap();
    for line in [
        "chronos_schedule_pending_messages{topic=\"few\"} 3",
        "chronos_schedule_overdue_messages 0",
        "chronos_schedule_oldest_overdue_seconds 0",
        "chronos_schedule_timers_in_memory 6",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    assert!(page.contains("chronos_schedule_pending_bytes{topic=\"small\"} 1"));
}

/// What was held before fires where it was held; what comes later is held in the new partitions as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_partitions_change_nothing_for_what_is_held() {
    let broker = Broker::start(&[]).unwrap();
    let producer = client::producer(&broker.kafka, PATIENCE).unwrap();
    client::create_topic(&broker.kafka, "grows", &[])
        .await
        .unwrap();
    let due = tool::now_ms() + 3_000;
    for i in 0..20 {
        client::send_held(&producer, "grows", &format!("before {i}"), due)
            .await
            .unwrap();
    }
    let admin: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &broker.kafka)
        .create()
        .unwrap();
    let raised = admin
        .create_partitions(&[NewPartitions::new("grows", 3)], &AdminOptions::new())
        .await
        .unwrap();
    assert_eq!(raised, [Ok("grows".to_owned())]);
    // One that knows three partitions.
    let producer = client::producer(&broker.kafka, PATIENCE).unwrap();
    for partition in 0..3 {
        let headers = OwnedHeaders::new().insert(Header {
            key: "chronos-deliver-at",
            value: Some(&due.to_string()),
        });
        let payload = format!("after {partition}");
        let record = FutureRecord::<(), _>::to("grows")
            .partition(partition)
            .payload(&payload)
            .headers(headers);
        producer.send(record, PATIENCE).await.unwrap();
    }
    let kafka = broker.kafka.clone();
    let found = tokio::task::spawn_blocking(move || read_partitions(&kafka, "grows", 3, 23))
        .await
        .unwrap()
        .unwrap();
    let expected: BTreeSet<(i32, String)> = (0..20)
        .map(|i| (0, format!("before {i}")))
        .chain((0..3).map(|p| (p, format!("after {p}"))))
        .collect();
    assert_eq!(found.len(), 23);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
}

fn read_partitions(
    kafka: &str,
    topic: &str,
    partitions: i32,
    records: usize,
) -> anyhow::Result<Vec<(i32, String)>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "none")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let mut found = Vec::new();
    while found.len() < records {
        let message = consumer.poll(PATIENCE);
        let message = message.ok_or_else(|| anyhow::anyhow!("{} records", found.len()))??;
        let value = String::from_utf8_lossy(message.payload().unwrap_or_default());
        found.push((message.partition(), value.into_owned()));
    }
    Ok(found)
}

/// A process that stands still (a suspended machine, a debugger) fires what came due meanwhile once, in order, when it goes on.
/// `CHRONOS_STOPPED_SECONDS` makes it longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_fires_each_once_and_none_early() {
    const RECORDS: i64 = 2_000;
    let broker = Broker::start(&[]).unwrap();
    let producer = client::producer(&broker.kafka, Duration::from_mins(10)).unwrap();
    client::create_topic(&broker.kafka, "still", &[])
        .await
        .unwrap();
    let stopped_for = i64::try_from(tool::setting("CHRONOS_STOPPED_SECONDS", 3)).unwrap() * 1_000;
    let start = tool::now_ms() + 2_000;
    let span = stopped_for + 2_000;
    let sent = (0..RECORDS).map(|i| {
        let (producer, due) = (producer.clone(), start + i * span / RECORDS);
        async move { client::send_held(&producer, "still", &format!("{i}"), due).await }
    });
    for sent in futures::future::join_all(sent).await {
        sent.unwrap();
    }
    let signal = |name: &str| {
        let pid = broker.pid().to_string();
        tool::run(Command::new("kill").args([name, &pid])).unwrap();
    };
    // Stopped while it fires.
    tool::eventually(PATIENCE, || {
        let (_, page) = tool::http_get(&broker.http, "/metrics")?;
        let fired = "chronos_schedule_delivered_total{topic=\"still\"} ";
        let count = page.lines().find_map(|line| line.strip_prefix(fired));
        ensure!(count.is_some_and(|count| count != "0"), "nothing fired");
        Ok(())
    })
    .await
    .unwrap();
    signal("-STOP");
    tokio::time::sleep(Duration::from_millis(stopped_for.unsigned_abs())).await;
    signal("-CONT");
    let kafka = broker.kafka.clone();
    let found = tool::eventually(Duration::from_secs(20), || {
        let found = client::read_all(&kafka, "still", PATIENCE)?;
        ensure!(found.len() >= usize::try_from(RECORDS)?, "{}", found.len());
        Ok(found)
    })
    .await
    .unwrap();
    let values: Vec<String> = (0..RECORDS).map(|i| i.to_string()).collect();
    let balance = ledger::balance(
        values.iter().map(String::as_str),
        found.iter().map(|f| f.value.as_str()),
    );
    assert_eq!((balance.lost, balance.doubled), (0, 0));
    assert!(found.iter().all(|f| f.timestamp >= f.due_at));
    let in_order = found
        .iter()
        .zip(&values)
        .all(|(f, value)| f.value == *value);
    assert!(in_order, "due times are in order, and so is what was fired");
}
