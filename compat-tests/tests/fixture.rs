//! Data folders of every release are opened by every later one. Goal: records, reserved offsets, what fired and what waits are as
//! they were written. Method: a copy of the folder, a start, and a look from outside. `CHRONOS_WRITE_FIXTURES=1` writes the
//! folder of this release anew.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use compat_tests::{client, cluster::Broker, tool};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, FutureRecord, Producer},
};

const RELEASES: [&str; 7] = [
    "v0.1.0",
    "v0.1.0-data-plane",
    "v0.1.0-timers",
    WITH_KEYS,
    WITH_JOURNAL,
    WITH_CARRY,
    WITH_TRANSACTIONS,
];
/// The first that knew schedule keys; it has timer files of version 2.
const WITH_KEYS: &str = "v0.1.0-keys";
/// The first that had a journal; it was not stopped: only the journal has the end of some segments.
const WITH_JOURNAL: &str = "v0.1.0-journal";
/// The first that carried records forward: of one that waits, there is nothing but the carry.
const WITH_CARRY: &str = "v0.1.0-carry";
/// The first that knew groups and transactions; one is open, and holds a record.
const WITH_TRANSACTIONS: &str = "v0.1.0-transactions";
/// The year 2100: this one waits in every run of this test.
const FAR: i64 = 4_102_444_800_000;
const PATIENCE: Duration = Duration::from_secs(10);
const SETTINGS: [&str; 1] = ["schedule.max.delay.ms=9000000000000"];
/// Of the one that is written.
const RETENTION: [&str; 4] = [
    SETTINGS[0],
    "log.retention.check.interval.ms=200",
    "offsets.topic.num.partitions=1",
    "transaction.state.log.num.partitions=1",
];

fn folder(release: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(release)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(&name));
        } else if !name.to_string_lossy().starts_with("LOG") && name != "lock" && name != "LOCK" {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// Holds a record under the one schedule key there is.
async fn send_keyed(kafka: &str, value: &str) {
    let producer = client::producer(kafka, PATIENCE).unwrap();
    let due = FAR.to_string();
    let header = |key, value| Header {
        key,
        value: Some(value),
    };
    let headers = OwnedHeaders::new()
        .insert(header("chronos-deliver-at", due.as_str()))
        .insert(header("chronos-schedule-key", "the key"));
    let record = FutureRecord::<(), _>::to("keyed")
        .partition(0)
        .payload(value)
        .headers(headers);
    producer.send(record, PATIENCE).await.unwrap();
}

/// Holds a record, and many others that go at once: it is carried out of its segment.
async fn carry(broker: &Broker) {
    let settings = [
        ("retention.ms", "1"),
        ("segment.bytes", "1048576"),
        ("file.delete.delay.ms", "0"),
    ];
    client::create_topic(&broker.kafka, "carried", &settings)
        .await
        .unwrap();
    let producer = client::producer(&broker.kafka, PATIENCE).unwrap();
    client::send_held(&producer, "carried", "waits", FAR)
        .await
        .unwrap();
    let value = vec![b'x'; 500_000];
    for _ in 0..6 {
        let record = FutureRecord::<(), _>::to("carried").payload(&value);
        producer.send(record, PATIENCE).await.unwrap();
    }
    let segments = broker.data_dir().join("1/partitions/carried-0/segments");
    tool::eventually(PATIENCE, || {
        let files = fs::read_dir(&segments)?.collect::<Result<Vec<_>, _>>()?;
        let bytes: u64 = files.iter().map(|f| f.metadata().unwrap().len()).sum();
        anyhow::ensure!(bytes < 1_000, "{bytes} bytes are left");
        Ok(())
    })
    .await
    .unwrap();
}

fn transactional(kafka: &str, id: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("transactional.id", id)
        .set("transaction.timeout.ms", "900000")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

fn of_group(kafka: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "fixture")
        .create()
        .unwrap()
}

/// A record that is seen and one that is held.
fn send_both(producer: &BaseProducer, value: &str) {
    let due = FAR.to_string();
    let held = OwnedHeaders::new().insert(Header {
        key: "chronos-deliver-at",
        value: Some(&due),
    });
    producer.begin_transaction().unwrap();
    for headers in [OwnedHeaders::new(), held] {
        let record = BaseRecord::<(), _>::to("transactions").payload(value);
        producer
            .send(record.headers(headers))
            .map_err(|(e, _)| e)
            .unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// A transaction that was committed with an offset, one that was aborted, and one that is open.
async fn transactions(kafka: &str) {
    client::create_topic(kafka, "transactions", &[])
        .await
        .unwrap();
    let producer = transactional(kafka, "ended");
    send_both(&producer, "aborted");
    producer.abort_transaction(PATIENCE).unwrap();
    send_both(&producer, "committed");
    let group = of_group(kafka).group_metadata().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset("plain", 0, Offset::Offset(7))
        .unwrap();
    producer
        .send_offsets_to_transaction(&offsets, &group, PATIENCE)
        .unwrap();
    producer.commit_transaction(PATIENCE).unwrap();
    let open = transactional(kafka, "open");
    send_both(&open, "open");
    // Its end would be an abort.
    std::mem::forget(open);
}

/// What is committed is seen and waits; what was open is past its timeout: it is aborted when the node starts, and its id goes on.
async fn check_transactions(broker: &Broker) {
    tool::eventually(PATIENCE, || {
        let (_, page) = tool::http_get(&broker.http, "/metrics")?;
        let line = "chronos_schedule_pending_messages{topic=\"transactions\"} 1\n";
        anyhow::ensure!(page.contains(line), "{line}: {page}");
        Ok(())
    })
    .await
    .unwrap();
    // That reader is of the default kind: it reads what is committed, up to what is open.
    let seen = client::read_all(&broker.kafka, "transactions", PATIENCE).unwrap();
    let seen: Vec<_> = seen.iter().map(|f| f.value.as_str()).collect();
    assert_eq!(seen, ["committed"]);
    drop(transactional(&broker.kafka, "open"));
    let mut asked = TopicPartitionList::new();
    asked.add_partition("plain", 0);
    let found = of_group(&broker.kafka)
        .committed_offsets(asked, PATIENCE)
        .unwrap();
    let found = found.find_partition("plain", 0).unwrap();
    assert_eq!(found.offset(), Offset::Offset(7));
}

/// Plain records, one that fired, one that waits, one that was cancelled, a topic that grew and one that was deleted.
async fn write(release: &str) {
    let mut broker = Broker::start(&RETENTION).unwrap();
    for topic in ["plain", "held", "gone", "keyed"] {
        client::create_topic(&broker.kafka, topic, &[("max.message.bytes", "100000")])
            .await
            .unwrap();
    }
    let producer = client::producer(&broker.kafka, PATIENCE).unwrap();
    for i in 0..10 {
        let value = format!("plain {i}");
        let record = FutureRecord::<(), _>::to("plain").payload(&value);
        producer.send(record, PATIENCE).await.unwrap();
    }
    let due = tool::now_ms() + 500;
    client::send_held(&producer, "held", "fired", due)
        .await
        .unwrap();
    client::send_held(&producer, "held", "waits", FAR)
        .await
        .unwrap();
    tool::eventually(PATIENCE, || {
        let found = client::read_all(&broker.kafka, "held", PATIENCE)?;
        anyhow::ensure!(found.len() == 1);
        Ok(())
    })
    .await
    .unwrap();
    // Held, and cancelled by the record behind it.
    client::send_held(&producer, "held", "cancelled", FAR)
        .await
        .unwrap();
    let cancel = OwnedHeaders::new().insert(Header {
        key: "chronos-cancel",
        value: Some("3"),
    });
    let record = FutureRecord::<(), [u8]>::to("held")
        .partition(0)
        .headers(cancel);
    producer.send(record, PATIENCE).await.unwrap();
    for value in ["replaced", "waits"] {
        send_keyed(&broker.kafka, value).await;
    }
    client::delete_topic(&broker.kafka, "gone").await.unwrap();
    carry(&broker).await;
    transactions(&broker.kafka).await;
    broker.kill().unwrap();
    let to = folder(release);
    if to.exists() {
        fs::remove_dir_all(&to).unwrap();
    }
    copy(&broker.data_dir(), &to);
    lose_power(&to);
}

/// What the segments were not synced with is gone, as far as it is known that it was not; the journal's files lose what was never
/// written in them.
fn lose_power(node: &Path) {
    for partition in ["held-0", "keyed-0"] {
        let segment = format!("1/partitions/{partition}/segments/00000000000000000000.log");
        let path = node.join(segment);
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 100);
        fs::write(&path, bytes).unwrap();
    }
    for half in ["a", "b"] {
        let path = node.join(format!("1/journal/{half}.journal"));
        let mut bytes = fs::read(&path).unwrap();
        let used = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
        bytes.truncate(used.next_multiple_of(4096));
        fs::write(&path, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_every_release_is_opened_and_is_what_it_was() {
    if std::env::var_os("CHRONOS_WRITE_FIXTURES").is_some() {
        write(RELEASES.last().unwrap()).await;
    }
    for release in RELEASES {
        let temporary = tempfile::tempdir().unwrap();
        copy(&folder(release), temporary.path());
        let mut broker = Broker::start_with_data(temporary.path(), &SETTINGS).unwrap();
        if release == WITH_JOURNAL {
            let log = broker.log();
            let replayed = log.lines().find(|line| line.contains("journal replayed"));
            let replayed = replayed.expect("the journal was read");
            assert!(!replayed.contains("written_bytes=0"), "{replayed}");
        }
        for _ in 0..2 {
            let plain = client::read_all(&broker.kafka, "plain", PATIENCE).unwrap();
            let values: Vec<_> = plain.iter().map(|f| (f.offset, f.value.clone())).collect();
            let expected: Vec<_> = (0..10).map(|i| (i, format!("plain {i}"))).collect();
            assert_eq!(values, expected, "{release}");
            let held = client::read_all(&broker.kafka, "held", PATIENCE).unwrap();
            let values: Vec<_> = held.iter().map(|f| (f.offset, f.value.as_str())).collect();
            assert_eq!(values, [(2, "fired")], "{release}");
            let (_, page) = tool::http_get(&broker.http, "/metrics").unwrap();
            let waiting = "chronos_schedule_pending_messages{topic=\"held\"} 1";
            assert!(page.contains(waiting), "{release}: {page}");
            let carried = page.contains("chronos_schedule_pending_messages{topic=\"carried\"} 1");
            let carries = [WITH_CARRY, WITH_TRANSACTIONS].contains(&release);
            assert_eq!(carried, carries, "{release}: {page}");
            if release == WITH_TRANSACTIONS {
                check_transactions(&broker).await;
            }
            if [WITH_KEYS, WITH_JOURNAL, WITH_CARRY, WITH_TRANSACTIONS].contains(&release) {
                // The newer one takes the place of the one that waits, whoever wrote it down.
                send_keyed(&broker.kafka, "newer").await;
                let (_, page) = tool::http_get(&broker.http, "/metrics").unwrap();
                let waiting = "chronos_schedule_pending_messages{topic=\"keyed\"} 1";
                assert!(page.contains(waiting), "{page}");
            }
            broker.kill().unwrap();
            broker.restart().unwrap();
        }
        assert!(!broker.log().contains("WARN"), "{}", broker.log());
    }
}
