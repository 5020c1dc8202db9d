//! Metadata against `kill -9`: what was acked is kept, no half topic, and nobody's data is taken along.
#![expect(clippy::print_stdout, reason = "the counts are what the run is for")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use compat_tests::{client, cluster::Broker, tool};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rdkafka::{
    ClientConfig,
    admin::{
        AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
        TopicReplication,
    },
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    producer::{FutureProducer, FutureRecord},
};

type Admin = AdminClient<DefaultClientContext>;

/// Names that are created, grown, changed, deleted and created again, over and over.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const SETTING: &str = "max.message.bytes";
const PATIENCE: Duration = Duration::from_secs(3);

/// What a topic is like; `value` is in its first record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Topic {
    partitions: usize,
    setting: String,
    value: String,
}

/// What is known of a name: acked, or not known since the answer to its last change was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Is(Option<Topic>),
    Unsure,
}

struct Changer {
    admin: Admin,
    producer: FutureProducer,
    random: StdRng,
    known: BTreeMap<&'static str, Known>,
    serial: u64,
    acked: u64,
}

impl Changer {
    /// One change of one name.
    async fn change(&mut self) {
        let name = NAMES[self.random.random_range(0..NAMES.len())];
        let Known::Is(before) = self.known[name].clone() else {
            return self.delete(name).await;
        };
        // Unsure until the answer is there.
        match before {
            None => self.create(name).await,
            Some(topic) => match self.random.random_range(0..4) {
                0 => self.grow(name, topic).await,
                1 => self.alter(name, topic).await,
                _ => self.delete(name).await,
            },
        }
    }

    fn learn(&mut self, name: &'static str, is: Option<Topic>) {
        self.acked += 1;
        self.known.insert(name, Known::Is(is));
    }

    async fn create(&mut self, name: &'static str) {
        self.known.insert(name, Known::Unsure);
        self.serial += 1;
        let topic = Topic {
            partitions: self.random.random_range(1..4),
            setting: self.random.random_range(100_000..200_000).to_string(),
            value: format!("{name}{}", self.serial),
        };
        let partitions = i32::try_from(topic.partitions).unwrap();
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1))
            .set(SETTING, &topic.setting);
        let created = self.admin.create_topics([&new], &options()).await;
        if !matches!(created.as_deref(), Ok([Ok(_)])) {
            return;
        }
        let record = FutureRecord::<(), _>::to(name)
            .partition(0)
            .payload(&topic.value);
        if self.producer.send(record, PATIENCE).await.is_ok() {
            self.learn(name, Some(topic));
        }
    }

    async fn grow(&mut self, name: &'static str, topic: Topic) {
        self.known.insert(name, Known::Unsure);
        let partitions = topic.partitions + 1;
        let grown = NewPartitions::new(name, partitions);
        let done = self.admin.create_partitions([&grown], &options()).await;
        if matches!(done.as_deref(), Ok([Ok(_)])) {
            self.learn(
                name,
                Some(Topic {
                    partitions,
                    ..topic
                }),
            );
        }
    }

    async fn alter(&mut self, name: &'static str, topic: Topic) {
        self.known.insert(name, Known::Unsure);
        let setting = self.random.random_range(100_000..200_000).to_string();
        let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set(SETTING, &setting);
        let done = self.admin.alter_configs([&change], &options()).await;
        if matches!(done.as_deref(), Ok([Ok(_)])) {
            self.learn(name, Some(Topic { setting, ..topic }));
        }
    }

    async fn delete(&mut self, name: &'static str) {
        self.known.insert(name, Known::Unsure);
        let deleted = self.admin.delete_topics(&[name], &options()).await;
        if matches!(deleted.as_deref(), Ok([Ok(_)])) {
            self.learn(name, None);
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(PATIENCE))
        .operation_timeout(Some(PATIENCE))
}

/// What the broker says of a name; every partition must answer for its offsets.
async fn describe(broker: &Broker, admin: &Admin, name: &str) -> anyhow::Result<Option<Topic>> {
    let reader: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker.kafka)
        .set("group.id", "none")
        .create()?;
    let metadata = reader.fetch_metadata(None, PATIENCE)?;
    let Some(topic) = metadata.topics().iter().find(|t| t.name() == name) else {
        return Ok(None);
    };
    for partition in topic.partitions() {
        reader.fetch_watermarks(name, partition.id(), PATIENCE)?;
    }
    let resource = ResourceSpecifier::Topic(name);
    let described = admin.describe_configs([&resource], &options()).await?;
    let settings = described.into_iter().next().unwrap().unwrap();
    let setting = settings.get(SETTING).unwrap().value.clone().unwrap();
    let records = client::read_all(&broker.kafka, name, PATIENCE)?;
    Ok(Some(Topic {
        partitions: topic.partitions().len(),
        setting,
        value: records.first().map(|r| r.value.clone()).unwrap_or_default(),
    }))
}

/// Changes go on until the broker is killed at a random moment; after each restart every acked change must be there, and what
/// nobody was told of may be either way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_agreed_survives_and_nothing_is_half_done() {
    let rounds = tool::setting("CHRONOS_METADATA_ROUNDS", 10);
    let seed = tool::setting("CHRONOS_SEED", 11);
    let mut random = StdRng::seed_from_u64(seed);
    // A producer that still knows a deleted topic would make it again by asking about it.
    let mut broker = Broker::start(&["auto.create.topics.enable=false"]).unwrap();
    let mut changer = Changer {
        admin: ClientConfig::new()
            .set("bootstrap.servers", &broker.kafka)
            .set("reconnect.backoff.max.ms", "100")
            .create()
            .unwrap(),
        producer: client::producer(&broker.kafka, PATIENCE).unwrap(),
        random: StdRng::seed_from_u64(seed + 1),
        known: NAMES.iter().map(|name| (*name, Known::Is(None))).collect(),
        serial: 0,
        acked: 0,
    };
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let changing = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                changer.change().await;
            }
            changer
        });
        tokio::time::sleep(Duration::from_millis(random.random_range(100..900))).await;
        stop.store(true, Ordering::Relaxed);
        broker.kill().unwrap();
        broker.restart().unwrap();
        changer = changing.await.unwrap();
        for name in NAMES {
            let found = describe(&broker, &changer.admin, name).await;
            let found =
                found.unwrap_or_else(|e| panic!("round {round}, {name}: {e:#}\n{}", broker.log()));
            match &changer.known[name] {
                Known::Is(acked) => {
                    assert_eq!(&found, acked, "round {round}, {name}\n{}", broker.log());
                }
                Known::Unsure => {
                    // A topic whose record was never acked may lack it; it is deleted next.
                    let whole = found.clone().filter(|t| !t.value.is_empty());
                    if whole == found {
                        changer.known.insert(name, Known::Is(found));
                    }
                }
            }
        }
    }
    println!(
        "rounds {rounds} seed {seed}: {} acked changes, none lost",
        changer.acked
    );
    assert!(changer.acked > rounds);
}
