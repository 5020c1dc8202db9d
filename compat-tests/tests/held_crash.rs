//! Held records against `kill -9`: none lost, none doubled, none early.
#![expect(clippy::print_stdout, reason = "the counts are what the run is for")]

use std::{collections::HashMap, time::Duration};

use compat_tests::{client, cluster::Broker, ledger, tool};
use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::FutureRecord,
};

const TOPIC: &str = "held";

/// Produces records due over some seconds, kills the broker every second until all are due, then reads all and balances.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_held_record_fires_exactly_once_and_never_early() {
    let records = tool::setting("CHRONOS_HELD_RECORDS", 2_000);
    let span_ms = i64::try_from(tool::setting("CHRONOS_HELD_SECONDS", 5)).unwrap() * 1_000;
    let seed = tool::setting("CHRONOS_SEED", 42);
    let mut random = StdRng::seed_from_u64(seed);
    let mut broker = Broker::start(&[]).unwrap();
    let producer = client::producer(&broker.kafka, Duration::from_secs(30)).unwrap();

    let start = tool::now_ms() + 1_500;
    let dues: Vec<(String, i64)> = (0..records)
        .map(|i| (format!("r{i}"), start + random.random_range(0..span_ms)))
        .collect();
    let sent = dues.iter().map(|(value, due)| {
        let due = due.to_string();
        let headers = OwnedHeaders::new().insert(Header {
            key: "chronos-deliver-at",
            value: Some(due.as_bytes()),
        });
        let record = FutureRecord::<(), _>::to(TOPIC)
            .payload(value)
            .headers(headers);
        producer.send(record, Duration::from_secs(30))
    });
    let acked = join_all(sent).await.into_iter().flatten().count();
    assert_eq!(acked, dues.len());

    let mut kills = 0;
    while tool::now_ms() < start + span_ms {
        tokio::time::sleep(Duration::from_secs(1)).await;
        broker.kill().unwrap();
        kills += 1;
        broker.restart().unwrap();
    }
    let last_restart = tool::now_ms();
    let due_at: HashMap<&str, i64> = dues.iter().map(|(v, due)| (v.as_str(), *due)).collect();
    let kafka = broker.kafka.clone();
    let found = loop {
        let kafka = kafka.clone();
        let read = move || client::read_all(&kafka, TOPIC, Duration::from_secs(10));
        let found = tokio::task::spawn_blocking(read).await.unwrap().unwrap();
        if found.len() >= dues.len() || tool::now_ms() > last_restart + 20_000 {
            break found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };

    let balance = ledger::balance(
        dues.iter().map(|(value, _)| value.as_str()),
        found.iter().map(|f| f.value.as_str()),
    );
    // A fired record's timestamp is its due time, or its append time when it fired over a second late: before neither.
    let early = found
        .iter()
        .filter(|f| f.timestamp.unwrap() < due_at[f.value.as_str()])
        .count();
    let wrong_due = found
        .iter()
        .filter(|f| f.due_at != Some(due_at[f.value.as_str()]))
        .count();
    let worst = found
        .iter()
        .map(|f| f.timestamp.unwrap() - due_at[f.value.as_str()])
        .max()
        .unwrap_or(0);
    println!(
        "held {} kills {kills} seed {seed}: lost {} doubled {} early {early}, worst lateness {worst} ms (restarts included)",
        balance.acked, balance.lost, balance.doubled
    );
    assert_eq!(
        (balance.lost, balance.doubled, early, wrong_due),
        (0, 0, 0, 0),
        "{}",
        broker.log()
    );
    assert_eq!(found.len(), dues.len());
}
