//! `/metrics` is what Prometheus reads, and its labels are bounded; health and readiness tell the truth.

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use compat_tests::{client, cluster::Broker, ctl, tool};
use rdkafka::{
    ClientConfig, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
};

/// Every label that may be there; a new one is a decision about cardinality.
const LABELS: [&str; 9] = [
    "api",
    "direction",
    "error",
    "group",
    "le",
    "result",
    "state",
    "topic",
    "version",
];
/// Topics with a label of their own, and the one that all others share.
const TOPICS_MAX: usize = 201;
/// Pairs of group and topic with a label of their own, and the one that all others share.
const LAGS_MAX: usize = 501;
const SERIES_MAX: usize = 5_000;

/// Commits offsets of topics for a group that nobody is in.
fn commit(broker: &Broker, group: &str, offsets: &[(&str, i64)]) -> anyhow::Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker.kafka)
        .set("group.id", group)
        .create()?;
    let mut list = TopicPartitionList::new();
    for (topic, offset) in offsets {
        list.add_partition_offset(topic, 0, rdkafka::Offset::Offset(*offset))?;
    }
    Ok(consumer.commit(&list, CommitMode::Sync)?)
}

/// Prometheus' own Python parser reads the page, after 300 topics were written to.
#[tokio::test]
async fn the_page_parses_and_has_no_unbounded_labels() {
    let broker = Broker::start(&[]).unwrap();
    for i in 0..300 {
        client::create_topic(&broker.kafka, &format!("topic-{i}"), &[])
            .await
            .unwrap();
    }
    let producer = client::producer(&broker.kafka, Duration::from_secs(10)).unwrap();
    for i in 0..300 {
        let topic = format!("topic-{i}");
        let record = rdkafka::producer::FutureRecord::<(), _>::to(&topic).payload("x");
        producer
            .send(record, Duration::from_secs(10))
            .await
            .unwrap();
    }
    let names: Vec<String> = (0..300).map(|i| format!("topic-{i}")).collect();
    let offsets: Vec<(&str, i64)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    for group in ["a", "b", "c"] {
        commit(&broker, group, &offsets).unwrap();
    }
    let (status, page) = tool::http_get(&broker.http, "/metrics").unwrap();
    assert_eq!(status, 200);

    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/suites/python/metrics.py");
    let mut parser = Command::new(tool::python().unwrap())
        .args(["-B", suite])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    parser
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let parsed = parser.wait_with_output().unwrap();
    assert!(parsed.status.success());
    let samples = String::from_utf8(parsed.stdout).unwrap();
    let samples: Vec<Vec<&str>> = samples.lines().map(|l| l.split('\t').collect()).collect();
    assert!(
        (20..SERIES_MAX).contains(&samples.len()),
        "{}",
        samples.len()
    );

    let mut topics = BTreeSet::new();
    for sample in &samples {
        for label in &sample[1..] {
            let (name, value) = label.split_once('=').unwrap();
            assert!(LABELS.contains(&name), "label {name} of {}", sample[0]);
            if name == "topic" && !sample[0].starts_with("chronos_group") {
                topics.insert(value);
            }
        }
    }
    assert!(
        topics.contains("_other") && topics.len() <= TOPICS_MAX,
        "{}",
        topics.len()
    );
    let lags = samples
        .iter()
        .filter(|s| s[0] == "chronos_group_lag_offsets");
    assert_eq!(lags.count(), LAGS_MAX);
    for name in [
        "chronos_kafka_request_duration_seconds_bucket",
        "chronos_kafka_request_bytes_total",
        "chronos_topic_records_total",
        "chronos_log_size_bytes",
        "chronos_group_rebalance_duration_seconds_bucket",
        "chronos_group_load_seconds_total",
        "chronos_schedule_pending_messages",
        "chronos_schedule_delivery_lateness_seconds_bucket",
        "process_resident_memory_bytes",
    ] {
        // The pending gauge has a sample only while something is pending.
        let there = samples.iter().any(|sample| sample[0] == name);
        assert!(there || name.contains("pending"), "{name} is missing");
    }
}

#[tokio::test]
async fn pending_records_are_counted_until_they_fire() {
    let broker = Broker::start(&[]).unwrap();
    let producer = client::producer(&broker.kafka, Duration::from_secs(10)).unwrap();
    client::send_held(&producer, "t", "v", tool::now_ms() + 3_000)
        .await
        .unwrap();
    let page = || tool::http_get(&broker.http, "/metrics").map(|(_, page)| page);
    let pending = "chronos_schedule_pending_messages{topic=\"t\"} 1";
    assert!(page().unwrap().contains(pending));
    tool::eventually(Duration::from_secs(10), || {
        let page = page()?;
        let fired = page.contains("chronos_schedule_delivered_total{topic=\"t\"} 1");
        anyhow::ensure!(fired && !page.contains(pending), "{page}");
        Ok(())
    })
    .await
    .unwrap();
}

/// One commit is counted, its lag follows what is produced, and both are there again after a restart.
#[tokio::test]
async fn groups_are_counted_with_their_lag() {
    let mut broker = Broker::start(&[]).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    let producer = client::producer(&broker.kafka, Duration::from_secs(10)).unwrap();
    for _ in 0..5 {
        let record = rdkafka::producer::FutureRecord::<(), _>::to("t").payload("x");
        producer
            .send(record, Duration::from_secs(10))
            .await
            .unwrap();
    }
    commit(&broker, "g", &[("t", 2)]).unwrap();
    let page = |broker: &Broker| tool::http_get(&broker.http, "/metrics").unwrap().1;
    let told = page(&broker);
    for line in [
        "chronos_groups{state=\"Empty\"} 1",
        "chronos_group_offsets 1",
        "chronos_group_commits_total 1",
        "chronos_group_committed_offsets_total 1",
        "chronos_group_lag_offsets{group=\"g\",topic=\"t\"} 3",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    broker.kill().unwrap();
    broker.restart().unwrap();
    tool::eventually(Duration::from_secs(10), || {
        let told = page(&broker);
        for line in [
            "chronos_group_loaded_records_total 1",
            "chronos_group_lag_offsets{group=\"g\",topic=\"t\"} 3",
        ] {
            anyhow::ensure!(told.contains(line), "{line}: {told}");
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[test]
fn health_readiness_and_version_answer() {
    let broker = Broker::start(&[]).unwrap();
    let (status, body) = tool::http_get(&broker.http, "/healthz").unwrap();
    assert_eq!((status, body.as_str()), (200, "ok\n"));
    let (status, body) = tool::http_get(&broker.http, "/readyz").unwrap();
    assert_eq!(
        (status, body.as_str()),
        (200, r#"{"ready":true,"reasons":[]}"#)
    );
    let (status, _) = tool::http_get(&broker.http, "/version").unwrap();
    assert_eq!(status, 200);
    assert_eq!(tool::http_get(&broker.http, "/nothing").unwrap().0, 404);
}

/// The alert rules and the dashboard ask for nothing that the page does not have.
#[tokio::test]
async fn what_deploy_asks_for_is_there() {
    let broker = Broker::start(&[]).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    let producer = client::producer(&broker.kafka, Duration::from_secs(10)).unwrap();
    let later = tool::now_ms() + 3_600_000;
    client::send_held(&producer, "t", "x", later).await.unwrap();
    commit(&broker, "g", &[("t", 0)]).unwrap();
    // A call of the admin API.
    ctl::rows(&broker, &["cluster", "info"]).unwrap();
    let (_, page) = tool::http_get(&broker.http, "/metrics").unwrap();
    let mut asked = BTreeSet::new();
    for file in ["alerts.yml", "grafana/chronosdb.json"] {
        let path = format!("{}/../deploy/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let names = words.filter(|w| w.starts_with("chronos_") || w.starts_with("process_"));
        asked.extend(names.map(|name| name.trim_end_matches("_bucket").to_owned()));
    }
    assert!(asked.len() > 20, "{asked:?}");
    for name in asked {
        assert!(page.contains(&format!("# TYPE {name} ")), "{name}");
    }
}
