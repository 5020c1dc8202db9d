//! A full disk: clients are told, readers go on, held records wait, and everything comes back by itself when there is room.
#![expect(clippy::print_stdout, reason = "a step that is skipped says so")]

use std::{fs, path::Path, process::Command, time::Duration};

use compat_tests::{client, cluster::Broker, tool};
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::FutureRecord,
};
use tempfile::TempDir;

const TOPIC: &str = "full";
const SIZE: &str = "size=24m";

/// A small file system of its own, unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        let target = dir.path().to_string_lossy().into_owned();
        tool::run(Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs", &target]))?;
        Ok(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The broker is gone by now; a leftover mount goes with the machine.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// Fills what is left with one file.
fn fill(disk: &Path) -> std::path::PathBuf {
    let ballast = disk.join("ballast");
    let mut block = 1 << 20;
    let mut bytes = Vec::new();
    while block >= 4096 {
        let mut next = bytes.clone();
        next.resize(bytes.len() + block, 7);
        match fs::write(&ballast, &next) {
            Ok(()) => bytes = next,
            Err(_full) => block /= 2,
        }
    }
    // The broker may have taken some of the room meanwhile: full is full.
    let _ = fs::write(&ballast, &bytes);
    ballast
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_keeps_reads_and_comes_back_by_itself() {
    let Ok(disk) = SmallDisk::mount() else {
        assert!(
            std::env::var_os("CI").is_none() || !tool::is_root(),
            "mounting failed"
        );
        println!("skipped: mounting a small file system needs root");
        return;
    };
    let mut broker =
        Broker::start_with_data(&disk.path().join("data"), &["log.segment.bytes=1048576"]).unwrap();
    client::create_topic(&broker.kafka, TOPIC, &[])
        .await
        .unwrap();
    let producer = client::producer(&broker.kafka, Duration::from_mins(1)).unwrap();
    let send = |value: String| {
        let producer = producer.clone();
        async move {
            let record = FutureRecord::<(), _>::to(TOPIC)
                .payload(&value)
                .partition(0);
            producer.send(record, Duration::from_secs(30)).await
        }
    };
    send("before".into()).await.unwrap();
    let due = tool::now_ms() + 2_000;
    for i in 0..20 {
        client::send_held(&producer, TOPIC, &format!("held {i}"), due)
            .await
            .unwrap();
    }

    let ballast = fill(disk.path());
    // A client without patience gets the broker's error, or its own timeout after it.
    let hasty = client::producer(&broker.kafka, Duration::from_secs(5)).unwrap();
    let big = "x".repeat(100_000);
    let refused = hasty
        .send(
            FutureRecord::<(), _>::to(TOPIC).payload(&big).partition(0),
            Duration::ZERO,
        )
        .await
        .unwrap_err()
        .0;
    let code = refused.rdkafka_error_code();
    assert!(
        matches!(refused, KafkaError::MessageProduction(_))
            && matches!(
                code,
                Some(RDKafkaErrorCode::KafkaStorageError | RDKafkaErrorCode::MessageTimedOut)
            ),
        "{refused}"
    );
    let (_, page) = tool::http_get(&broker.http, "/metrics").unwrap();
    assert!(page.contains("error=\"KafkaStorageError\""), "{page}");
    // While it is full the held records come due, and a patient client keeps trying.
    let waiting = tokio::spawn(send("during".into()));
    tool::eventually(Duration::from_secs(10), || {
        anyhow::ensure!(tool::now_ms() > due + 500);
        Ok(())
    })
    .await
    .unwrap();
    let kafka = broker.kafka.clone();
    let read = move || client::read_all(&kafka, TOPIC, Duration::from_secs(10));
    let found = tokio::task::spawn_blocking(read.clone())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.first().unwrap().value, "before", "reads go on");

    fs::remove_file(ballast).unwrap();
    waiting.await.unwrap().unwrap();
    let expected = 22;
    let found = tool::eventually(Duration::from_secs(10), || {
        let found = read()?;
        anyhow::ensure!(found.len() >= expected, "{} found", found.len());
        Ok(found)
    })
    .await
    .unwrap();
    check(&found, due);
    // Metadata changes work again, too, and all of it is there after a kill.
    client::create_topic(&broker.kafka, "after", &[])
        .await
        .unwrap();
    broker.kill().unwrap();
    broker.restart().unwrap();
    let found = tokio::task::spawn_blocking(read).await.unwrap().unwrap();
    check(&found, due);
}

fn check(found: &[client::Found], due: i64) {
    let mut values: Vec<&str> = found.iter().map(|f| f.value.as_str()).collect();
    values.sort_unstable();
    let mut expected: Vec<String> = (0..20).map(|i| format!("held {i}")).collect();
    expected.extend(["before".to_owned(), "during".to_owned()]);
    expected.sort_unstable();
    assert_eq!(values, expected, "each once");
    let held: Vec<_> = found
        .iter()
        .filter(|f| f.value.starts_with("held"))
        .collect();
    assert!(
        held.iter()
            .all(|f| f.due_at == Some(due) && f.timestamp >= Some(due))
    );
    let order: Vec<&str> = held.iter().map(|f| f.value.as_str()).collect();
    let produced: Vec<String> = (0..20).map(|i| format!("held {i}")).collect();
    assert_eq!(order, produced, "equal due times fire in produced order");
}
