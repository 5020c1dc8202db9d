//! Groups against `kill -9`: an offset whose commit was answered is never taken back, and members go on.
#![expect(clippy::print_stdout, reason = "the counts are what the run is for")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use compat_tests::{client, cluster::Broker, tool};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::FutureRecord,
};

const GROUPS: usize = 12;
const PATIENCE: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_mins(1);

fn settings() -> [&'static str; 3] {
    [
        "group.initial.rebalance.delay.ms=0",
        "group.consumer.min.heartbeat.interval.ms=500",
        "group.consumer.heartbeat.interval.ms=500",
    ]
}

/// A member of the protocol of KIP-848: the broker says how long its session is.
fn new_member(brokers: &str, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("group.protocol", "consumer")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("reconnect.backoff.max.ms", "100")
        .set("socket.timeout.ms", "3000")
        .create()
        .unwrap()
}

fn member(brokers: &str, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "500")
        .set("reconnect.backoff.max.ms", "100")
        .set("socket.timeout.ms", "3000")
        .create()
        .unwrap()
}

/// What is known of a group's offset: the last that was sent, and the last that was answered.
#[derive(Debug, Default)]
struct Known {
    sent: AtomicI64,
    acked: AtomicI64,
}

/// Commits larger and larger offsets of groups that nobody is a member of.
fn commit_on(brokers: &str, known: &[Known], mine: usize, stop: &AtomicBool) {
    let consumers: Vec<_> = (0..known.len())
        .filter(|group| group % 3 == mine)
        .map(|group| (group, member(brokers, &format!("group-{group}"))))
        .collect();
    while !stop.load(Ordering::Relaxed) {
        for (group, consumer) in &consumers {
            let known = &known[*group];
            let offset = known.sent.fetch_add(1, Ordering::Relaxed) + 1;
            let mut list = TopicPartitionList::new();
            list.add_partition_offset("t", 0, Offset::Offset(offset))
                .unwrap();
            list.find_partition("t", 0)
                .unwrap()
                .set_metadata(format!("m{offset}"));
            if consumer.commit(&list, CommitMode::Sync).is_ok() {
                known.acked.store(offset, Ordering::Relaxed);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_is_never_taken_back() {
    let rounds = tool::setting("CHRONOS_GROUP_ROUNDS", 6);
    let seed = tool::setting("CHRONOS_SEED", 21);
    let mut random = StdRng::seed_from_u64(seed);
    let mut broker = Broker::start(&settings()).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    let known: Arc<Vec<Known>> = Arc::new((0..GROUPS).map(|_| Known::default()).collect());
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..3)
            .map(|mine| {
                let (brokers, known, stop) =
                    (broker.kafka.clone(), Arc::clone(&known), Arc::clone(&stop));
                thread::spawn(move || commit_on(&brokers, &known, mine, &stop))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(300..1_500))).await;
        broker.kill().unwrap();
        stop.store(true, Ordering::Relaxed);
        broker.restart().unwrap();
        for worker in workers {
            worker.join().unwrap();
        }
        for (group, known) in known.iter().enumerate() {
            let consumer = member(&broker.kafka, &format!("group-{group}"));
            let mut asked = TopicPartitionList::new();
            asked.add_partition("t", 0);
            let found = consumer.committed_offsets(asked, PATIENCE).unwrap();
            let found = found.find_partition("t", 0).unwrap();
            let offset = found.offset().to_raw().unwrap();
            let (acked, sent) = (
                known.acked.load(Ordering::Relaxed),
                known.sent.load(Ordering::Relaxed),
            );
            if acked > 0 {
                assert!(
                    (acked..=sent).contains(&offset),
                    "group {group}: {offset}, acked {acked}, sent {sent}, round {round}"
                );
                assert_eq!(found.metadata(), format!("m{offset}"), "group {group}");
            }
        }
    }
    let acked: i64 = known
        .iter()
        .map(|known| known.acked.load(Ordering::Relaxed))
        .sum();
    println!("rounds {rounds} seed {seed}: {acked} commits acked, none taken back");
    assert!(acked > 100, "{acked}");
}

/// What members did: records by partition and offset, and the commits that were answered.
#[derive(Debug, Default)]
struct Done {
    read: BTreeMap<(i32, i64), u32>,
    committed: BTreeMap<i32, i64>,
    went_back: Vec<String>,
}

fn work(consumer: &BaseConsumer, done: &Mutex<Done>, stop: &AtomicBool) {
    consumer.subscribe(&["work"]).unwrap();
    let mut last: BTreeMap<i32, i64> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let (partition, offset) = (message.partition(), message.offset());
        {
            let mut done = done.lock().unwrap();
            let committed = done.committed.get(&partition).copied().unwrap_or(0);
            let goes_on = last.get(&partition).is_some_and(|last| offset == last + 1);
            // One that has the partition anew starts where the last commit was.
            if offset < committed && !goes_on {
                done.went_back.push(format!(
                    "partition {partition}: {offset} after {committed} was committed"
                ));
            }
            *done.read.entry((partition, offset)).or_default() += 1;
        }
        last.insert(partition, offset);
        if consumer.commit_message(&message, CommitMode::Sync).is_ok() {
            let mut done = done.lock().unwrap();
            let committed = done.committed.entry(partition).or_default();
            *committed = (*committed).max(offset + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_go_on_where_the_last_commit_was() {
    go_on(member).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_the_consumer_protocol_go_on_where_the_last_commit_was() {
    go_on(new_member).await;
}

async fn go_on(join: fn(&str, &str) -> BaseConsumer) {
    let rounds = tool::setting("CHRONOS_GROUP_ROUNDS", 3).min(10);
    let records = 400 * rounds;
    let mut broker = Broker::start(&settings()).unwrap();
    let admin_topic = [("min.insync.replicas", "1")];
    client::create_topic(&broker.kafka, "work", &admin_topic)
        .await
        .unwrap();
    let admin: rdkafka::admin::AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &broker.kafka)
        .create()
        .unwrap();
    let more = rdkafka::admin::NewPartitions::new("work", 4);
    admin
        .create_partitions([&more], &rdkafka::admin::AdminOptions::new())
        .await
        .unwrap();
    let done = Arc::new(Mutex::new(Done::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (brokers, done, stop) =
                (broker.kafka.clone(), Arc::clone(&done), Arc::clone(&stop));
            thread::spawn(move || work(&join(&brokers, "workers"), &done, &stop))
        })
        .collect();
    let producer = client::producer(&broker.kafka, LONG).unwrap();
    let mut written = 0;
    for round in 0..rounds {
        for n in 0..records / rounds {
            let value = format!("{round}-{n}");
            let partition = i32::try_from(n % 4).unwrap();
            let record = FutureRecord::<(), _>::to("work")
                .partition(partition)
                .payload(&value);
            producer.send(record, LONG).await.unwrap();
            written += 1;
        }
        broker.kill().unwrap();
        broker.restart().unwrap();
    }
    tool::eventually(LONG, || {
        let read = done.lock().unwrap().read.len();
        anyhow::ensure!(read == written, "{read} of {written} read");
        Ok(())
    })
    .await
    .unwrap();
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().unwrap();
    }
    let done = done.lock().unwrap();
    let again: u32 = done.read.values().map(|times| times - 1).sum();
    println!(
        "rounds {rounds}: {written} records, each read; {again} again after a kill; went back {}",
        done.went_back.len()
    );
    assert_eq!(done.went_back, Vec::<String>::new());
}
