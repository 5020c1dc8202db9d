//! Message ids against `kill -9`, with producers that send everything more than once: each id is in the log once, whatever was killed,
//! and each that was acked is there.
#![expect(clippy::print_stdout, reason = "the counts are what the run is for")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use compat_tests::{client, cluster::Broker, ledger, tool};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};

const TOPIC: &str = "once";
const PATIENCE: Duration = Duration::from_secs(30);
/// Producers that work at once: half of them idempotent, of whom the log itself knows retries; the others are known by ids alone.
const PRODUCERS: u64 = 4;
/// Ids sent together.
const WINDOW: u64 = 40;

fn producer(brokers: &str, is_idempotent: bool) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", is_idempotent.to_string())
        .set("linger.ms", "1")
        .set("batch.num.messages", "17")
        .set(
            "compression.type",
            if is_idempotent { "lz4" } else { "none" },
        )
        .set("message.timeout.ms", PATIENCE.as_millis().to_string())
        .set("reconnect.backoff.max.ms", "100")
        .set("retry.backoff.ms", "20")
        .create()
        .unwrap()
}

/// Sends ids until told to stop, each once more now and then, and after every error; those that were acked. Some wait for a moment.
async fn produce(
    brokers: String,
    me: u64,
    seed: u64,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
) -> BTreeSet<String> {
    let mut random = StdRng::seed_from_u64(seed + me);
    let mut acked = BTreeSet::new();
    let mut producer = producer(&brokers, me.is_multiple_of(2));
    let mut number = 0;
    let mut again: Vec<String> = Vec::new();
    while !stop.load(Ordering::Relaxed) || !again.is_empty() {
        let mut ids = std::mem::take(&mut again);
        if !stop.load(Ordering::Relaxed) {
            for _ in 0..WINDOW {
                number += 1;
                ids.push(format!("p{me}-{number}"));
                // Of what was sent before, something comes once more.
                if random.random_bool(0.2) {
                    ids.push(format!("p{me}-{}", random.random_range(1..=number)));
                }
            }
        }
        let sends = ids.iter().map(|id| {
            let mut headers = OwnedHeaders::new().insert(Header {
                key: "chronos-message-id",
                value: Some(id),
            });
            // The same ones each time.
            if id.ends_with('7') {
                headers = headers.insert(Header {
                    key: "chronos-deliver-after",
                    value: Some("300ms"),
                });
            }
            let record = FutureRecord::<(), _>::to(TOPIC)
                .partition(0)
                .payload(id)
                .headers(headers);
            producer.send(record, PATIENCE)
        });
        let done = futures::future::join_all(sends).await;
        sent.fetch_add(ids.len() as u64, Ordering::Relaxed);
        for (id, done) in ids.into_iter().zip(done) {
            match done {
                Ok(_) => {
                    acked.insert(id);
                }
                Err(_) => again.push(id),
            }
        }
        if !again.is_empty() {
            // One that gave up may not go on; another does not know what the first sent.
            producer = self::producer(&brokers, me.is_multiple_of(2));
        }
    }
    acked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_id_is_there_once_whatever_was_killed() {
    let rounds = tool::setting("CHRONOS_DEDUP_ROUNDS", 6);
    let seed = tool::setting("CHRONOS_SEED", 11);
    let mut random = StdRng::seed_from_u64(seed);
    // Ids go to the index all the time, and checkpoints are written, so that kills meet them.
    let settings = [
        "dedup.index.interval.ms=50",
        "log.flush.offset.checkpoint.interval.ms=100",
    ];
    let mut broker = Broker::start(&settings).unwrap();
    client::create_topic(&broker.kafka, TOPIC, &[])
        .await
        .unwrap();
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|me| {
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            tokio::spawn(produce(broker.kafka.clone(), me, seed, stop, sent))
        })
        .collect();
    let (mut losses, mut stops) = (0, 0);
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(random.random_range(200..900))).await;
        if round % 7 == 6 {
            assert!(broker.stop().unwrap().success());
            stops += 1;
        } else {
            broker.kill().unwrap();
        }
        // The index is derived: it may be gone, or of an earlier time.
        let index = broker.data_dir().join("1/index/message-ids");
        if round % 3 == 2 && index.exists() {
            std::fs::remove_dir_all(&index).unwrap();
            losses += 1;
        }
        broker.restart().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut acked = BTreeSet::new();
    for producer in producers {
        acked.extend(producer.await.unwrap());
    }
    // The last of the held ones is due in a moment.
    let held = acked.iter().filter(|id| id.ends_with('7')).count();
    tool::eventually(PATIENCE, || {
        let found = client::read_all(&broker.kafka, TOPIC, PATIENCE)?;
        let fired = found.iter().filter(|f| f.value.ends_with('7')).count();
        anyhow::ensure!(fired >= held, "{fired} of {held} fired");
        Ok(())
    })
    .await
    .unwrap();
    let found = client::read_all(&broker.kafka, TOPIC, PATIENCE).unwrap();
    let balance = ledger::balance(
        acked.iter().map(String::as_str),
        found.iter().map(|f| f.value.as_str()),
    );
    println!(
        "seed {seed}: {rounds} kills ({stops} of them clean stops), index lost {losses} times, {} sent, {balance:?}",
        sent.load(Ordering::Relaxed)
    );
    assert_eq!(
        (balance.lost, balance.doubled, balance.unacked_found),
        (0, 0, 0)
    );
}
