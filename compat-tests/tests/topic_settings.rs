//! Each setting of a topic that acts: changed on a topic that is there, and what is different afterwards. The broker's own settings
//! are changed while it runs.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use compat_tests::{
    client,
    cluster::Broker,
    tool::{self, eventually, now_ms},
};
use rdkafka::{
    ClientConfig, Offset,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{FutureProducer, FutureRecord},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A broker, a topic of it, and a producer that tries once.
struct Case {
    broker: Broker,
    admin: AdminClient<DefaultClientContext>,
    topic: &'static str,
}

impl Case {
    async fn start(topic: &'static str, settings: &[&str]) -> Self {
        let mut all = vec!["flush.policy=os", "log.retention.check.interval.ms=50"];
        all.extend(settings);
        let broker = Broker::start(&all).unwrap();
        client::create_topic(&broker.kafka, topic, &[])
            .await
            .unwrap();
        let admin = ClientConfig::new()
            .set("bootstrap.servers", &broker.kafka)
            .create()
            .unwrap();
        Self {
            broker,
            admin,
            topic,
        }
    }

    async fn alter(&self, of: ResourceSpecifier<'_>, settings: &[(&str, &str)]) {
        let config = settings
            .iter()
            .fold(AlterConfig::new(of), |c, (k, v)| c.set(k, v));
        for result in self
            .admin
            .alter_configs([&config], &AdminOptions::new())
            .await
            .unwrap()
        {
            result.unwrap();
        }
    }

    async fn set(&self, settings: &[(&str, &str)]) {
        self.alter(ResourceSpecifier::Topic(self.topic), settings)
            .await;
    }

    async fn set_broker(&self, settings: &[(&str, &str)]) {
        self.alter(ResourceSpecifier::Broker(1), settings).await;
    }

    /// The offset, or why it was refused.
    async fn send(
        &self,
        bytes: usize,
        timestamp: i64,
        acks: &str,
    ) -> Result<i64, RDKafkaErrorCode> {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.broker.kafka)
            .set("acks", acks)
            .set("retries", "0")
            .set("message.timeout.ms", "10000")
            .create()
            .unwrap();
        let value = vec![b'x'; bytes];
        let record = FutureRecord::<(), _>::to(self.topic)
            .payload(&value)
            .timestamp(timestamp);
        match producer.send(record, PATIENCE).await {
            Ok(delivered) => Ok(delivered.offset),
            Err((KafkaError::MessageProduction(code), _)) => Err(code),
            Err((error, _)) => panic!("{error}"),
        }
    }

    async fn sent(&self, bytes: usize) -> i64 {
        self.send(bytes, now_ms(), "all").await.unwrap()
    }

    /// Log start and end, as a consumer is told.
    fn ends(&self) -> (i64, i64) {
        let consumer = client::consumer(&self.broker.kafka, self.topic, Offset::Beginning).unwrap();
        consumer.fetch_watermarks(self.topic, 0, PATIENCE).unwrap()
    }

    fn folder(&self, name: &str) -> PathBuf {
        let partition = format!("1/partitions/{}-0/{name}", self.topic);
        self.broker.data_dir().join(partition)
    }

    fn segments(&self, ending: &str) -> Vec<PathBuf> {
        let mut found: Vec<_> = fs::read_dir(self.folder("segments"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with(ending))
            .collect();
        found.sort();
        found
    }

    fn segment_bytes(&self) -> u64 {
        let files = self.segments(".log");
        files.iter().map(|f| fs::metadata(f).unwrap().len()).sum()
    }

    fn syncs(&self) -> u64 {
        let (_, page) = tool::http_get(&self.broker.http, "/metrics").unwrap();
        let line = page
            .lines()
            .find(|l| l.starts_with("chronos_log_fsync_duration_seconds_count"))
            .unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        eventually(PATIENCE, || {
            anyhow::ensure!(holds(), "{what}: {:?} {:?}", self.ends(), self.segments(""));
            Ok(())
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn retention_by_time_gives_up_whole_segments_and_moves_the_start() {
    let case = Case::start("by-time", &[]).await;
    case.set(&[
        ("segment.bytes", "1048576"),
        ("file.delete.delay.ms", "60000"),
    ])
    .await;
    for _ in 0..30 {
        case.sent(100_000).await;
    }
    assert_eq!((case.ends(), case.segments(".log").len()), ((0, 30), 3));
    case.set(&[
        ("segment.bytes", "1048576"),
        ("file.delete.delay.ms", "60000"),
        ("retention.ms", "1"),
    ])
    .await;
    // Kafka closes the open segment when it has expired, too: everything goes.
    case.until("all is old", || case.ends() == (30, 30)).await;
    assert_eq!(case.segments(".deleted").len(), 3, "file.delete.delay.ms");
    case.set(&[("file.delete.delay.ms", "0")]).await;
    assert_eq!(case.sent(1).await, 30, "offsets go on");
}

#[tokio::test]
async fn retention_by_bytes_keeps_what_fits() {
    let case = Case::start("by-bytes", &[]).await;
    let small = ("segment.bytes", "1048576");
    case.set(&[small, ("file.delete.delay.ms", "0")]).await;
    for _ in 0..40 {
        case.sent(100_000).await;
    }
    case.set(&[
        small,
        ("file.delete.delay.ms", "0"),
        ("retention.bytes", "2000000"),
    ])
    .await;
    case.until("half of it goes", || (10..=20).contains(&case.ends().0))
        .await;
    assert_eq!(case.ends().1, 40);
    case.until("the files go", || case.segments(".deleted").is_empty())
        .await;
    assert!((2_000_000..3_100_000).contains(&case.segment_bytes()));
}

#[tokio::test]
async fn a_segment_is_closed_by_its_age() {
    let case = Case::start("by-age", &[]).await;
    case.sent(10).await;
    case.sent(10).await;
    assert_eq!(case.segments(".log").len(), 1);
    case.set(&[("segment.ms", "1")]).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    case.sent(10).await;
    assert_eq!(case.segments(".log").len(), 2);
}

#[tokio::test]
async fn sizes_and_times_of_records_are_limited() {
    let case = Case::start("limits", &[]).await;
    let hour_ago = now_ms() - 3_600_000;
    case.set(&[("max.message.bytes", "1000")]).await;
    let refused = case.send(2_000, now_ms(), "all").await.unwrap_err();
    assert_eq!(refused, RDKafkaErrorCode::MessageSizeTooLarge);
    case.set(&[("message.timestamp.before.max.ms", "60000")])
        .await;
    let refused = case.send(10, hour_ago, "all").await.unwrap_err();
    assert_eq!(refused, RDKafkaErrorCode::InvalidTimestamp);
    case.set(&[("message.timestamp.after.max.ms", "60000")])
        .await;
    let refused = case.send(10, now_ms() + 3_600_000, "all").await;
    assert_eq!(refused.unwrap_err(), RDKafkaErrorCode::InvalidTimestamp);
    case.set(&[("message.timestamp.type", "LogAppendTime")])
        .await;
    assert_eq!(case.send(2_000, hour_ago, "all").await, Ok(0));
    let found = client::read_all(&case.broker.kafka, case.topic, PATIENCE).unwrap();
    assert!(found.first().unwrap().timestamp.unwrap() > hour_ago + 3_000_000);
}

#[tokio::test]
async fn batches_are_kept_in_the_topics_codec() {
    let case = Case::start("codec", &[]).await;
    case.sent(100_000).await;
    let plain = case.segment_bytes();
    case.set(&[("compression.type", "zstd")]).await;
    case.sent(100_000).await;
    let packed = case.segment_bytes() - plain;
    assert!(plain > 100_000 && packed < 5_000, "{plain}, then {packed}");
    let found = client::read_all(&case.broker.kafka, case.topic, PATIENCE).unwrap();
    assert!(found.iter().all(|f| f.value.len() == 100_000));
}

/// As Kafka 4.3 (KIP-966): no more replicas have to be in sync than a partition has.
#[tokio::test]
async fn one_replica_is_enough_where_there_is_one() {
    let case = Case::start("replicas", &[]).await;
    case.set(&[("min.insync.replicas", "2")]).await;
    assert_eq!(case.send(10, now_ms(), "all").await, Ok(0));
}

#[tokio::test]
async fn flush_settings_sync_whatever_the_policy() {
    let case = Case::start("flush", &[]).await;
    case.sent(10).await;
    let before = case.syncs();
    for _ in 0..5 {
        case.sent(10).await;
    }
    assert_eq!(
        case.syncs(),
        before,
        "flush.policy=os syncs nothing by itself"
    );
    case.set(&[("flush.messages", "1")]).await;
    for _ in 0..5 {
        case.sent(10).await;
    }
    assert!(case.syncs() >= before + 5, "flush.messages");
    case.set(&[("flush.ms", "20")]).await;
    let before = case.syncs();
    case.sent(10).await;
    case.until("flush.ms", || case.syncs() > before).await;
}

#[tokio::test]
async fn a_finer_index_has_more_entries() {
    let mut sizes = Vec::new();
    for interval in ["1", "1048576"] {
        let mut case = Case::start("index", &[]).await;
        case.set(&[("index.interval.bytes", interval)]).await;
        for _ in 0..50 {
            case.sent(1_000).await;
        }
        case.broker.stop().unwrap();
        let index: PathBuf = case.folder("index").join(format!("{:020}.index", 0));
        sizes.push(len(&index));
    }
    assert!(sizes[0] > sizes[1] + 400, "{sizes:?}");
}

fn len(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[tokio::test]
async fn what_is_not_done_yet_is_refused() {
    let case = Case::start("refused", &[]).await;
    case.set(&[("cleanup.policy", "compact,delete")]).await;
    for (key, value) in [
        ("unclean.leader.election.enable", "true"),
        ("remote.storage.enable", "true"),
    ] {
        let refused = client::create_topic(&case.broker.kafka, "other", &[(key, value)]).await;
        let why = refused.unwrap_err().to_string();
        assert!(
            why.contains("InvalidConfig") || why.contains("Invalid config"),
            "{why}"
        );
    }
}

#[tokio::test]
async fn the_brokers_settings_change_while_it_runs() {
    let mut case = Case::start("dynamic", &[]).await;
    assert_eq!(case.sent(5_000).await, 0);
    case.set_broker(&[("message.max.bytes", "1000")]).await;
    let refused = case.send(5_000, now_ms(), "all").await.unwrap_err();
    assert_eq!(refused, RDKafkaErrorCode::MessageSizeTooLarge);
    case.broker.kill().unwrap();
    case.broker.restart().unwrap();
    let refused = case.send(5_000, now_ms(), "all").await.unwrap_err();
    assert_eq!(refused, RDKafkaErrorCode::MessageSizeTooLarge, "kept");
    case.set_broker(&[("log.retention.ms", "1")]).await;
    case.until("the cluster's retention", || case.ends() == (1, 1))
        .await;
    assert_eq!(
        case.sent(5_000).await,
        1,
        "AlterConfigs took the limit back"
    );
}
