//! Tools that watch a Kafka from outside, unchanged: an exporter for Prometheus that reads `__consumer_offsets` itself, and kafkatop, which
//! asks the admin APIs.
#![expect(clippy::print_stdout, reason = "a test says what it skips")]

use std::{
    fs::File,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use compat_tests::{client, cluster::Broker, tool};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::FutureRecord,
};
use serde_json::{Value, json};

const TOPIC: &str = "orders";
const GROUP: &str = "billing";
/// Of each partition: how many records it has, and what the group committed.
const PARTITIONS: [(usize, i64); 3] = [(3, 1), (5, 5), (7, 3)];

/// Something of what `scripts/clients.sh` made of `exporters/`, or why not: a desk without it skips, CI does not.
fn installed(program: &str) -> Option<PathBuf> {
    match tool::clients(&format!("exporters/bin/{program}")) {
        Ok(found) => Some(found),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            println!("skipped: {why}");
            None
        }
    }
}

/// A node whose topic has three partitions, and a group that read some of each.
async fn node() -> anyhow::Result<Broker> {
    let broker = Broker::start(&[])?;
    let admin: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &broker.kafka)
        .create()?;
    let new = NewTopic::new(TOPIC, 3, TopicReplication::Fixed(1));
    for made in admin.create_topics([&new], &AdminOptions::new()).await? {
        made.map_err(|(topic, code)| anyhow::anyhow!("creating {topic}: {code}"))?;
    }
    let producer = client::producer(&broker.kafka, Duration::from_secs(10))?;
    let mut committed = TopicPartitionList::new();
    for (partition, (records, offset)) in (0..).zip(PARTITIONS) {
        for _ in 0..records {
            let record = FutureRecord::<(), _>::to(TOPIC)
                .partition(partition)
                .payload("x");
            let sent = producer.send(record, Duration::from_secs(10)).await;
            sent.map_err(|(error, _)| error)?;
        }
        committed.add_partition_offset(TOPIC, partition, Offset::Offset(offset))?;
    }
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker.kafka)
        .set("group.id", GROUP)
        .create()?;
    consumer.commit(&committed, CommitMode::Sync)?;
    Ok(broker)
}

/// prometheus-kafka-consumer-group-exporter, until dropped.
struct Exporter {
    child: Child,
    http: String,
}

impl Exporter {
    fn start(python: PathBuf, broker: &Broker) -> anyhow::Result<Self> {
        // It takes a port, and does not say which it got.
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new(python)
            .args(["-m", "prometheus_kafka_consumer_group_exporter"])
            .args(["--from-start", "-b", &broker.kafka])
            .args(["-p", &free.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(broker.scratch().join("exporter.log"))?)
            .spawn()?;
        Ok(Self {
            child,
            http: free.to_string(),
        })
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // A test that failed is told by its own error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// It takes commits out of the records of `__consumer_offsets`, as Burrow does. Its lag stays empty, as with Kafka from 4.0 on: it asks for
/// the ends with ListOffsets of version 0, which KIP-896 took away.
#[tokio::test]
async fn an_exporter_reads_what_groups_committed() {
    let Some(python) = installed("python") else {
        return;
    };
    let broker = node().await.unwrap();
    let exporter = Exporter::start(python, &broker).unwrap();
    tool::eventually(Duration::from_secs(30), || {
        let (_, page) = tool::http_get(&exporter.http, "/metrics")?;
        for (partition, (_, offset)) in PARTITIONS.iter().enumerate() {
            let of = format!("{{group=\"{GROUP}\",partition=\"{partition}\",topic=\"{TOPIC}\"}}");
            for line in [
                format!("kafka_consumer_group_offset{of} {offset}.0\n"),
                format!("kafka_consumer_group_commits_total{of} 1.0\n"),
            ] {
                anyhow::ensure!(page.contains(&line), "{line}: {page}");
            }
        }
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn kafkatop_tells_partitions_and_lag() {
    let Some(kafkatop) = installed("kafkatop") else {
        return;
    };
    let broker = node().await.unwrap();
    let tells = |what: &str| -> Value {
        let mut command = Command::new(&kafkatop);
        command.args(["--kafka-broker", &broker.kafka, "--all", what]);
        serde_json::from_str(&tool::run(&mut command).unwrap()).unwrap()
    };
    let group = json!({
        "state": "ConsumerGroupState.EMPTY",
        "topics": {TOPIC: {"partitions": 3, "lag_max": 4, "lag_min": 0}},
    });
    assert_eq!(tells("--summary-json"), json!({GROUP: group}));
    let partition = |id: i32| json!({"id": id, "leader": 1, "replicas": [1], "nisrs": 1});
    let partitions = [partition(0), partition(1), partition(2)];
    let topics = tells("--topicinfo-parts");
    let of_topic = topics.pointer("/topics/orders");
    assert_eq!(
        of_topic,
        Some(&json!({"name": TOPIC, "partitions": 3, "partinfo": partitions}))
    );
}
