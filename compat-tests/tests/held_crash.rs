//! Held records against `kill -9`: none lost, none doubled, none early.
#![expect(clippy::print_stdout, reason = "the counts are what the run is for")]

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use compat_tests::{client, cluster::Broker, ledger, tool};
use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rdkafka::{
    Offset,
    message::{Header, OwnedHeaders},
    producer::FutureRecord,
};

const TOPIC: &str = "held";

/// Follows the topic from its start and notes when each value came first, until told to stop. A consumer outlives the kills.
fn follow(kafka: &str, stop: &AtomicBool) -> anyhow::Result<HashMap<String, i64>> {
    let consumer = client::consumer(kafka, TOPIC, Offset::Beginning)?;
    let mut arrivals = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        // Errors pass: the broker is down half of the time.
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) {
            let value = client::to_found(&message).value;
            arrivals.entry(value).or_insert_with(tool::now_ms);
        }
    }
    Ok(arrivals)
}

/// Produces records due over some seconds, kills the broker every second until all are due, then reads all and balances.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_held_record_fires_exactly_once_and_never_early() {
    let records = tool::setting("CHRONOS_HELD_RECORDS", 2_000);
    let span_ms = i64::try_from(tool::setting("CHRONOS_HELD_SECONDS", 5)).unwrap() * 1_000;
    let seed = tool::setting("CHRONOS_SEED", 42);
    let mut random = StdRng::seed_from_u64(seed);
    let mut broker = Broker::start(&[]).unwrap();
    let producer = client::producer(&broker.kafka, Duration::from_secs(30)).unwrap();

    // All are accepted before the first is due: 40,000 a second at least.
    let start = tool::now_ms() + 1_500.max(i64::try_from(records / 40).unwrap());
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

    let stop = Arc::new(AtomicBool::new(false));
    let (kafka, stopped) = (broker.kafka.clone(), Arc::clone(&stop));
    let following = tokio::task::spawn_blocking(move || follow(&kafka, &stopped));

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
    // The follower has what a reader found, a moment later.
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    let arrivals = following.await.unwrap().unwrap();
    let lateness = |f: &client::Found| Some(arrivals.get(&f.value)? - due_at[f.value.as_str()]);
    // A fired record's timestamp is its due time, or its append time when it fired over a second late: before neither.
    let early = found
        .iter()
        .filter(|f| {
            f.timestamp.unwrap() < due_at[f.value.as_str()]
                || lateness(f).is_some_and(|late| late < 0)
        })
        .count();
    let wrong_due = found
        .iter()
        .filter(|f| f.due_at != Some(due_at[f.value.as_str()]))
        .count();
    let mut late: Vec<i64> = found.iter().filter_map(lateness).collect();
    late.sort_unstable();
    let median = late.get(late.len() / 2).copied().unwrap_or(-1);
    let worst = late.last().copied().unwrap_or(-1);
    println!(
        "held {} kills {kills} seed {seed}: lost {} doubled {} early {early}, lateness at a consumer: median {median} ms, worst {worst} ms (kills and restarts included), {} seen live",
        balance.acked,
        balance.lost,
        balance.doubled,
        late.len()
    );
    assert_eq!(
        (balance.lost, balance.doubled, early, wrong_due),
        (0, 0, 0, 0),
        "{}",
        broker.log()
    );
    assert_eq!(found.len(), dues.len());
}
