//! Acked records against `kill -9`: none lost, none doubled, order kept.
#![expect(clippy::print_stdout, reason = "the counts are what the run is for")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use compat_tests::{client, cluster::Broker, ledger, tool};
use futures::{StreamExt, stream::FuturesUnordered};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rdkafka::producer::{FutureProducer, FutureRecord};

const TOPIC: &str = "crash";
const IN_FLIGHT: usize = 200;

/// Produces numbered values until told to stop; returns those that were acked.
async fn load(producer: FutureProducer, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut acked = Vec::new();
    let mut flying = FuturesUnordered::new();
    let mut next = 0u64;
    loop {
        while flying.len() < IN_FLIGHT && !stop.load(Ordering::Relaxed) {
            let (producer, value) = (producer.clone(), format!("v{next}"));
            next += 1;
            flying.push(async move {
                let record = FutureRecord::<(), _>::to(TOPIC).payload(&value);
                let sent = producer.send(record, Duration::from_mins(1)).await;
                sent.is_ok().then_some(value)
            });
        }
        match flying.next().await {
            Some(Some(value)) => acked.push(value),
            Some(None) => {}
            None => return acked,
        }
    }
}

/// An idempotent producer under load, `kill -9` at random moments, each time a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acked_is_found_once_and_in_order() {
    let rounds = tool::setting("CHRONOS_ROUNDS", 8);
    let seed = tool::setting("CHRONOS_SEED", 7);
    let mut random = StdRng::seed_from_u64(seed);
    let mut broker = Broker::start(&["log.segment.bytes=1048576"]).unwrap();
    let producer = client::producer(&broker.kafka, Duration::from_mins(1)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let loading = tokio::spawn(load(producer, Arc::clone(&stop)));
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..500))).await;
        broker.kill().unwrap();
        broker.restart().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let acked = loading.await.unwrap();

    let kafka = broker.kafka.clone();
    let read = move || client::read_all(&kafka, TOPIC, Duration::from_secs(10));
    let found = tokio::task::spawn_blocking(read).await.unwrap().unwrap();
    let balance = ledger::balance(
        acked.iter().map(String::as_str),
        found.iter().map(|f| f.value.as_str()),
    );
    let gaps = found
        .windows(2)
        .filter(|w| w[1].offset != w[0].offset + 1)
        .count();
    let number = |value: &str| value[1..].parse::<u64>().unwrap();
    let out_of_order = found
        .windows(2)
        .filter(|w| number(&w[1].value) <= number(&w[0].value))
        .count();
    println!("rounds {rounds} seed {seed}: {balance:?}, gaps {gaps}, out of order {out_of_order}");
    assert_eq!(
        (balance.lost, balance.doubled, gaps, out_of_order),
        (0, 0, 0, 0),
        "{}",
        broker.log()
    );
    assert!(balance.acked > 0);
}
