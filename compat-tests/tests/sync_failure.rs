//! A sync that fails: nothing is acked after it, and what was acked before is there after a restart.
#![expect(clippy::print_stdout, reason = "a step that is skipped says so")]

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use compat_tests::{client, cluster::Broker, tool};
use rdkafka::producer::FutureRecord;

const TOPIC: &str = "sync";

/// `strace` that makes every `fdatasync` of a process fail, until dropped.
struct FailingSyncs(Child);

impl FailingSyncs {
    fn attach(pid: u32) -> anyhow::Result<Self> {
        let mut strace = Command::new("strace")
            .args(["-f", "-p", &pid.to_string(), "-e", "trace=fdatasync"])
            .args(["-e", "inject=fdatasync:error=EIO", "-o", "/dev/null"])
            .stderr(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        let stderr = strace.stderr.take();
        if let Some(stderr) = stderr {
            BufReader::new(stderr).read_line(&mut said)?;
        }
        anyhow::ensure!(said.contains("attached"), "strace: {said}");
        Ok(Self(strace))
    }
}

impl Drop for FailingSyncs {
    fn drop(&mut self) {
        // It may have ended with the process that it traced.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_stops_the_acks_and_loses_nothing_acked() {
    let mut broker = Broker::start(&[]).unwrap();
    let producer = client::producer(&broker.kafka, Duration::from_secs(3)).unwrap();
    let send = |value: String| {
        let producer = &producer;
        async move {
            let record = FutureRecord::<(), _>::to(TOPIC)
                .payload(&value)
                .partition(0);
            producer.send(record, Duration::ZERO).await.is_ok()
        }
    };
    for i in 0..50 {
        assert!(send(format!("acked {i}")).await);
    }
    let strace = match FailingSyncs::attach(broker.pid()) {
        Ok(strace) => strace,
        Err(why) => {
            assert!(
                std::env::var_os("CI").is_none() || !tool::is_root(),
                "{why:#}"
            );
            println!("skipped: strace cannot be used here: {why:#}");
            return;
        }
    };
    assert!(
        !send("never acked".into()).await,
        "an ack after a failed sync"
    );
    let (status, why) = tool::http_get(&broker.http, "/readyz").unwrap();
    assert_eq!(status, 503, "{why}");
    assert!(why.contains("sync-0"), "{why}");
    drop(strace);
    // The disk works again, but nobody can say what the failed sync left behind: only a restart helps.
    assert!(!send("never acked either".into()).await);
    broker.kill().unwrap();
    broker.restart().unwrap();
    let found = client::read_all(&broker.kafka, TOPIC, Duration::from_secs(10)).unwrap();
    let acked: Vec<_> = found
        .iter()
        .filter(|f| f.value.starts_with("acked"))
        .collect();
    assert_eq!(acked.len(), 50);
    let patient = client::producer(&broker.kafka, Duration::from_secs(10)).unwrap();
    let record = FutureRecord::<(), _>::to(TOPIC)
        .payload("after")
        .partition(0);
    patient.send(record, Duration::from_secs(10)).await.unwrap();
}
