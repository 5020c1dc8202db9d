//! Transactions against `kill -9`: none is torn, nothing aborted is seen, nothing committed is lost; held records take part. And the
//! recipe of docs/transactions.md: retries with back-off, exactly once, without a retry topic.
#![expect(clippy::print_stdout, reason = "the counts are what the run is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "threads of the test's own, in real time"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use compat_tests::{client, cluster::Broker, tool};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::{BorrowedMessage, Header, Headers, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, FutureRecord, Producer},
    types::RDKafkaErrorCode,
};

const PRODUCERS: usize = 4;
const PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(20);
const DELIVER_AFTER: &str = "chronos-deliver-after";

/// What is known of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Committed,
    Aborted,
    /// Its end was asked for, and nobody answered.
    Unknown,
}

/// By producer and number: how a transaction ended, and how many records it wrote.
type Ledger = BTreeMap<(usize, u32), (Outcome, usize)>;

fn transactional(brokers: &str, id: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", id)
        .set("transaction.timeout.ms", "10000")
        .set("reconnect.backoff.max.ms", "100")
        .set("retry.backoff.ms", "20")
        .set("linger.ms", "1")
        .create()
        .unwrap()
}

/// Until it succeeds, or can never.
fn retried(mut step: impl FnMut() -> KafkaResult<()>, stop: &AtomicBool) -> KafkaResult<()> {
    loop {
        match step() {
            Err(KafkaError::Transaction(e))
                if e.is_retriable() && !stop.load(Ordering::Relaxed) =>
            {
                thread::sleep(Duration::from_millis(10));
            }
            done => return done,
        }
    }
}

/// Transactions of one producer, again and again, until told to stop.
fn produce_on(brokers: &str, me: usize, seed: u64, stop: &AtomicBool) -> Ledger {
    let mut random = StdRng::seed_from_u64(seed + me as u64);
    let mut ledger = Ledger::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let producer = transactional(brokers, &format!("tx-{me}"));
        if retried(|| producer.init_transactions(PATIENCE), stop).is_err() {
            continue;
        }
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let records = random.random_range(1..8);
            if !transaction(
                &producer,
                &mut random,
                (me, number),
                records,
                &mut ledger,
                stop,
            ) {
                break;
            }
        }
    }
    ledger
}

/// One transaction; false where the producer is of no use any more.
fn transaction(
    producer: &BaseProducer,
    random: &mut StdRng,
    (me, number): (usize, u32),
    records: usize,
    ledger: &mut Ledger,
    stop: &AtomicBool,
) -> bool {
    if producer.begin_transaction().is_err() {
        return false;
    }
    ledger.insert((me, number), (Outcome::Aborted, records));
    for n in 0..records {
        let payload = format!("{me}:{number}:{n}");
        let partition = i32::try_from(n).unwrap() % PARTITIONS;
        let mut record = BaseRecord::<(), _>::to("t")
            .partition(partition)
            .payload(&payload);
        // Every third waits, for up to a second and a half.
        if n % 3 == 2 {
            let after = format!("{}ms", random.random_range(0..1_500));
            let header = Header {
                key: DELIVER_AFTER,
                value: Some(&after),
            };
            record = record.headers(OwnedHeaders::new().insert(header));
        }
        if producer.send(record).is_err() {
            return false;
        }
    }
    if random.random_bool(0.3) {
        // What is sent stays in the queue where this comes first: then it has to be aborted on the broker.
        let _ = producer.flush(Duration::from_secs(2)).is_ok();
        return retried(|| producer.abort_transaction(PATIENCE), stop).is_ok();
    }
    match retried(|| producer.commit_transaction(PATIENCE), stop) {
        Ok(()) => {
            ledger.insert((me, number), (Outcome::Committed, records));
            true
        }
        Err(KafkaError::Transaction(e)) if e.txn_requires_abort() => {
            retried(|| producer.abort_transaction(PATIENCE), stop).is_ok()
        }
        Err(_) => {
            ledger.insert((me, number), (Outcome::Unknown, records));
            false
        }
    }
}

/// All that a consumer of committed records gets, by partition, until all partitions end and nothing is held any more.
fn read_committed(broker: &Broker, topic: &str) -> Vec<Vec<String>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker.kafka)
        .set("group.id", "checker")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut assigned = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assigned
            .add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assigned).unwrap();
    let mut found = vec![Vec::new(); usize::try_from(PARTITIONS).unwrap()];
    let mut quiet = Instant::now();
    // The last held record is due a second and a half after its transaction's end, and that within the transaction's timeout.
    while quiet.elapsed() < Duration::from_secs(4) {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let partition = usize::try_from(message.partition()).unwrap();
            let payload = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
            let held = message
                .headers()
                .is_some_and(|h| h.iter().any(|h| h.key == "chronos-due-at"));
            found[partition].push(if held {
                format!("{payload} held")
            } else {
                payload
            });
            quiet = Instant::now();
        }
    }
    found
}

#[test]
fn no_transaction_is_torn() {
    let rounds = tool::setting("CHRONOS_TRANSACTION_ROUNDS", 4);
    let seed = tool::setting("CHRONOS_SEED", 5);
    let mut random = StdRng::seed_from_u64(seed);
    let mut broker = Broker::start(&["num.partitions=4"]).unwrap();
    client::warm_up(&broker.kafka, "t").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..PRODUCERS)
        .map(|me| {
            let (brokers, stop) = (broker.kafka.clone(), Arc::clone(&stop));
            thread::spawn(move || produce_on(&brokers, me, seed, &stop))
        })
        .collect();
    for _ in 0..rounds {
        thread::sleep(Duration::from_millis(random.random_range(500..2_500)));
        broker.kill().unwrap();
        broker.restart().unwrap();
    }
    thread::sleep(Duration::from_secs(1));
    stop.store(true, Ordering::Relaxed);
    let mut ledger = Ledger::new();
    for worker in workers {
        ledger.extend(worker.join().unwrap());
    }
    // What hangs is aborted when a producer of that name comes again.
    for me in 0..PRODUCERS {
        let producer = transactional(&broker.kafka, &format!("tx-{me}"));
        producer.init_transactions(PATIENCE).unwrap();
    }
    let found = read_committed(&broker, "t");
    let mut seen: HashMap<(usize, u32), usize> = HashMap::new();
    let mut warmed_up = 0;
    for partition in &found {
        let mut last: HashMap<usize, u32> = HashMap::new();
        let mut each = HashMap::new();
        for payload in partition {
            *each.entry(payload.trim_end_matches(" held")).or_insert(0) += 1;
            let is_held = payload.ends_with(" held");
            let parts: Vec<&str> = payload.trim_end_matches(" held").split(':').collect();
            let [me, number, _] = parts[..] else {
                warmed_up += 1;
                continue;
            };
            let key = (me.parse().unwrap(), number.parse().unwrap());
            *seen.entry(key).or_default() += 1;
            if !is_held {
                let last = last.entry(key.0).or_insert(0);
                assert!(
                    *last <= key.1,
                    "producer {} went back from {last} to {}",
                    key.0,
                    key.1
                );
                *last = key.1;
            }
        }
        let doubled: Vec<_> = each.iter().filter(|(_, n)| **n > 1).collect();
        assert!(doubled.is_empty(), "{doubled:?}");
    }
    let (mut committed, mut aborted, mut unknown) = (0, 0, 0);
    for (key, (outcome, records)) in &ledger {
        let got = seen.remove(key).unwrap_or(0);
        match outcome {
            Outcome::Committed => {
                assert_eq!(got, *records, "{key:?} was committed");
                committed += 1;
            }
            Outcome::Aborted => {
                assert_eq!(got, 0, "{key:?} was aborted");
                aborted += 1;
            }
            Outcome::Unknown => {
                assert!(
                    got == 0 || got == *records,
                    "{key:?} is torn: {got} of {records}"
                );
                unknown += 1;
            }
        }
    }
    assert!(seen.is_empty(), "from nowhere: {seen:?}, {warmed_up}");
    println!(
        "rounds {rounds} seed {seed}: committed {committed} aborted {aborted} unknown {unknown}: lost 0 doubled 0 torn 0 aborted and seen 0"
    );
    assert!(committed > 50, "{committed}");
}

const ATTEMPTS: u32 = 3;

fn worker_consumer(brokers: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "workers")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "500")
        .set("reconnect.backoff.max.ms", "100")
        .create()
        .unwrap()
}

fn attempt_of(message: &impl Message) -> u32 {
    let headers = message.headers();
    let attempt = headers.and_then(|h| h.iter().find(|h| h.key == "attempt"));
    let attempt = attempt.and_then(|h| std::str::from_utf8(h.value?).ok()?.parse().ok());
    attempt.unwrap_or(1)
}

/// Reads a job, and in one transaction either says that it is done, or holds its next attempt; the offset is part of it.
fn attempts(brokers: &str, me: usize, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let consumer = worker_consumer(brokers);
        consumer.subscribe(&["work"]).unwrap();
        let producer = transactional(brokers, &format!("worker-{me}"));
        if retried(|| producer.init_transactions(PATIENCE), stop).is_err() {
            continue;
        }
        while !stop.load(Ordering::Relaxed) {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
                continue;
            };
            if attempt_once(&consumer, &producer, &message, stop).is_err() {
                // Begins again where the last committed transaction ended.
                break;
            }
        }
    }
}

fn attempt_once(
    consumer: &BaseConsumer,
    producer: &BaseProducer,
    message: &BorrowedMessage<'_>,
    stop: &AtomicBool,
) -> KafkaResult<()> {
    let attempt = attempt_of(message);
    let job = message.payload().unwrap();
    producer.begin_transaction()?;
    let next = (attempt + 1).to_string();
    let headers = OwnedHeaders::new().insert(Header {
        key: "attempt",
        value: Some(&next),
    });
    let record = if attempt < ATTEMPTS {
        // It failed: once more, later each time.
        let after = format!("{}ms", 100 << attempt);
        let headers = headers.insert(Header {
            key: DELIVER_AFTER,
            value: Some(&after),
        });
        BaseRecord::<[u8], [u8]>::to("work").headers(headers)
    } else {
        BaseRecord::to("done").headers(headers)
    };
    producer
        .send(record.payload(job))
        .map_err(|(error, _)| error)?;
    let mut offsets = TopicPartitionList::new();
    let next = Offset::Offset(message.offset() + 1);
    offsets.add_partition_offset(message.topic(), message.partition(), next)?;
    let group = consumer
        .group_metadata()
        .ok_or(KafkaError::Global(RDKafkaErrorCode::UnknownGroup))?;
    retried(
        || producer.send_offsets_to_transaction(&offsets, &group, PATIENCE),
        stop,
    )?;
    retried(|| producer.commit_transaction(PATIENCE), stop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_with_back_off_happen_exactly_once() {
    let jobs = tool::setting("CHRONOS_RETRY_JOBS", 60);
    let mut broker =
        Broker::start(&["group.initial.rebalance.delay.ms=0", "num.partitions=2"]).unwrap();
    for topic in ["work", "done"] {
        client::warm_up(&broker.kafka, topic).unwrap();
    }
    let producer = client::producer(&broker.kafka, PATIENCE).unwrap();
    for job in 0..jobs {
        let record = FutureRecord::<(), _>::to("work");
        let payload = format!("job {job}");
        producer
            .send(record.payload(&payload), PATIENCE)
            .await
            .map_err(|(e, _)| e)
            .unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..2)
        .map(|me| {
            let (brokers, stop) = (broker.kafka.clone(), Arc::clone(&stop));
            thread::spawn(move || attempts(&brokers, me, &stop))
        })
        .collect();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        broker.kill().unwrap();
        broker.restart().unwrap();
    }
    let kafka = broker.kafka.clone();
    let done = tokio::task::spawn_blocking(move || wait_for_done(&kafka, jobs))
        .await
        .unwrap();
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().unwrap();
    }
    let twice: Vec<_> = done.iter().filter(|(_, n)| **n != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    println!("jobs {jobs}, attempts {ATTEMPTS} each, kills 2: each done once");
}

/// Jobs that are done, and how often; until all are, and nothing more comes.
fn wait_for_done(brokers: &str, jobs: u64) -> BTreeMap<String, u32> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "judge")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut assigned = TopicPartitionList::new();
    for partition in 0..2 {
        assigned
            .add_partition_offset("done", partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assigned).unwrap();
    let mut done = BTreeMap::new();
    let (mut quiet, deadline) = (Instant::now(), Instant::now() + Duration::from_mins(2));
    while (done.len() as u64) < jobs || quiet.elapsed() < Duration::from_secs(2) {
        assert!(
            Instant::now() < deadline,
            "{} of {jobs} are done",
            done.len()
        );
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let payload = String::from_utf8_lossy(message.payload().unwrap()).into_owned();
            if payload.starts_with("job ") {
                assert_eq!(attempt_of(&message), ATTEMPTS + 1, "{payload}");
                *done.entry(payload).or_default() += 1;
                quiet = Instant::now();
            }
        }
    }
    done
}
