//! Replay jobs: what is appended where, and that each record is there once whatever was killed.
#![expect(clippy::print_stdout, reason = "the counts are what the run is for")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::too_many_lines, reason = "one node, one history")]

use std::{collections::BTreeMap, time::Duration};

use compat_tests::{client, cluster::Broker, ctl, tool};
use futures::future::join_all;
use proto::admin::v1::{self as pb, replay_service_client::ReplayServiceClient};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{Header, Headers, OwnedHeaders},
    producer::FutureRecord,
};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

const PATIENCE: Duration = Duration::from_secs(30);
/// Three days ago: the target's retention keeps it.
fn base_ms() -> i64 {
    tool::now_ms() - 3 * 86_400_000
}

async fn connect(broker: &Broker) -> ReplayServiceClient<Channel> {
    let admin = format!("http://{}", broker.grpc);
    ReplayServiceClient::connect(admin).await.unwrap()
}

/// A record as a consumer got it: partition, offset, timestamp, key, value, names of headers with their values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Got {
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    value: String,
    headers: Vec<(String, String)>,
}

/// Everything in a topic of so many partitions, up to its ends.
fn read(broker: &Broker, topic: &str, partitions: i32) -> Vec<Got> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker.kafka)
        .set("group.id", "none")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // What is there once is there once for everybody.
        .set("isolation.level", "read_uncommitted")
        .create()
        .unwrap();
    let mut assigned = TopicPartitionList::new();
    for partition in 0..partitions {
        let from = Offset::Beginning;
        assigned
            .add_partition_offset(topic, partition, from)
            .unwrap();
    }
    consumer.assign(&assigned).unwrap();
    let (mut found, mut ends) = (Vec::new(), 0);
    while ends < partitions {
        match consumer.poll(PATIENCE).unwrap() {
            Err(KafkaError::PartitionEOF(_)) => ends += 1,
            Err(error) => unreachable!("{error}"),
            Ok(message) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let headers = message.headers().map(|headers| {
                    let pair = |h: Header<'_, &[u8]>| {
                        (h.key.to_owned(), text(h.value.unwrap_or_default()))
                    };
                    headers.iter().map(pair).collect()
                });
                found.push(Got {
                    partition: message.partition(),
                    offset: message.offset(),
                    timestamp: message.timestamp().to_millis().unwrap(),
                    key: message.key().map(text),
                    value: text(message.payload().unwrap_or_default()),
                    headers: headers.unwrap_or_default(),
                });
            }
        }
    }
    found
}

/// Records over all partitions, a millisecond from one to the next.
async fn fill(broker: &Broker, topic: &str, partitions: i32, count: i64, base: i64) {
    let producer = client::producer(&broker.kafka, PATIENCE).unwrap();
    let sends = (0..count).map(|n| {
        let (key, value, id) = (format!("k{}", n % 7), n.to_string(), format!("id-{n}"));
        let producer = producer.clone();
        async move {
            let header = |key, value| Header {
                key,
                value: Some(value),
            };
            let headers = OwnedHeaders::new()
                .insert(header("colour", if n % 2 == 0 { "red" } else { "blue" }))
                .insert(header("chronos-message-id", id.as_str()));
            let record = FutureRecord::to(topic)
                .partition(i32::try_from(n).unwrap() % partitions)
                .timestamp(base + n)
                .key(&key)
                .payload(&value)
                .headers(headers);
            producer.send(record, PATIENCE).await.unwrap();
        }
    });
    join_all(sends).await;
}

fn job(id: &str, target: &str) -> pb::CreateReplayJobRequest {
    pb::CreateReplayJobRequest {
        job_id: id.into(),
        topic: "source".into(),
        target_topic: target.into(),
        ..pb::CreateReplayJobRequest::default()
    }
}

async fn ended(client: &mut ReplayServiceClient<Channel>, id: &str) -> pb::ReplayJob {
    let job_id = id.to_owned();
    let request = pb::WatchReplayJobRequest { job_id };
    let mut told = client.watch_replay_job(request).await.unwrap().into_inner();
    let mut last = pb::ReplayJob::default();
    while let Some(answer) = tokio::time::timeout(PATIENCE, told.message())
        .await
        .unwrap()
        .unwrap()
    {
        last = answer.job.unwrap();
    }
    last
}

async fn create(
    client: &mut ReplayServiceClient<Channel>,
    request: pb::CreateReplayJobRequest,
) -> Result<pb::ReplayJob, Status> {
    let answer = client.create_replay_job(request).await;
    answer.map(|answer| answer.into_inner().job.unwrap())
}

fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map_or_else(String::new, |info| info.reason.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_appends_what_was_asked_for() {
    let broker = Broker::start(&[]).unwrap();
    let base = base_ms();
    for (topic, partitions) in [
        ("source", "3"),
        ("same", "3"),
        ("keyed", "5"),
        ("later", "3"),
    ] {
        ctl::rows(&broker, &["topic", "create", topic, "-p", partitions]).unwrap();
    }
    fill(&broker, "source", 3, 300, base).await;
    let mut client = connect(&broker).await;

    // As they were, without our headers.
    let made = create(&mut client, job("plain", "same")).await.unwrap();
    assert_eq!((made.topic.as_str(), made.spans.len()), ("source", 3));
    let done = ended(&mut client, "plain").await;
    assert_eq!(
        (done.state(), done.records),
        (pb::ReplayJobState::Completed, 300)
    );
    assert!((done.progress - 1.0).abs() < f64::EPSILON);
    let copy = read(&broker, "same", 3);
    assert_eq!(copy.len(), 300);
    for got in &copy {
        let n: i64 = got.value.parse().unwrap();
        assert_eq!((i64::from(got.partition), got.offset), (n % 3, n / 3));
        assert_eq!(got.timestamp, base + n);
        assert_eq!(
            got.headers,
            [(
                "colour".to_owned(),
                if n % 2 == 0 { "red" } else { "blue" }.to_owned()
            )]
        );
    }
    // The same request once more is the same job; another one of that id is refused.
    assert_eq!(
        create(&mut client, job("plain", "same"))
            .await
            .unwrap()
            .records,
        300
    );
    let other = create(&mut client, job("plain", "keyed"))
        .await
        .unwrap_err();
    assert_eq!(
        (other.code(), reason(&other).as_str()),
        (Code::AlreadyExists, "JOB_EXISTS")
    );

    // A range and a filter, by key, other headers, at a limit.
    let at = |ms: i64| prost_types::Timestamp {
        seconds: ms / 1_000,
        nanos: i32::try_from(ms % 1_000).unwrap() * 1_000_000,
    };
    let range = pb::ReplayRange {
        start_time: Some(at(base + 100)),
        end_time: Some(at(base + 200)),
        ..pb::ReplayRange::default()
    };
    let red = pb::Header {
        key: "colour".into(),
        value: Some("red".into()),
    };
    let request = pb::CreateReplayJobRequest {
        range: Some(range.clone()),
        filter: Some(pb::ReplayFilter {
            header: Some(red),
            ..pb::ReplayFilter::default()
        }),
        partitioning: pb::ReplayPartitioning::Key.into(),
        keep_chronos_headers: true,
        remove_headers: vec!["colour".into()],
        set_headers: vec![pb::Header {
            key: "replayed".into(),
            value: Some("yes".into()),
        }],
        new_timestamps: true,
        records_per_second: 200,
        ..job("some", "keyed")
    };
    let began = tool::now_ms();
    create(&mut client, request).await.unwrap();
    let done = ended(&mut client, "some").await;
    assert_eq!(
        (done.state(), done.records),
        (pb::ReplayJobState::Completed, 50)
    );
    assert!(tool::now_ms() - began >= 150, "50 records at 200 a second");
    let some = read(&broker, "keyed", 5);
    assert_eq!(some.len(), 50);
    let mut where_is = BTreeMap::new();
    for got in &some {
        let n: i64 = got.value.parse().unwrap();
        assert!((100..200).contains(&n) && n % 2 == 0 && got.timestamp >= began);
        assert_eq!(
            got.headers,
            [
                ("chronos-message-id".to_owned(), format!("id-{n}")),
                ("replayed".to_owned(), "yes".to_owned())
            ]
        );
        // A key has one partition.
        let first = *where_is.entry(got.key.clone()).or_insert(got.partition);
        assert_eq!(first, got.partition);
    }

    // Held, and due by their timestamps: the last hundredth of a second in a tenth of one, from now on.
    let request = pb::CreateReplayJobRequest {
        range: Some(range),
        delivery: Some(pb::ReplayDelivery {
            start_time: Some(at(tool::now_ms() + 500)),
            speed: 0.1,
        }),
        ..job("later", "later")
    };
    let first_due = request.delivery.unwrap().start_time.unwrap();
    let first_due = first_due.seconds * 1_000 + i64::from(first_due.nanos / 1_000_000);
    create(&mut client, request).await.unwrap();
    let done = ended(&mut client, "later").await;
    assert_eq!(
        (done.state(), done.records),
        (pb::ReplayJobState::Completed, 100)
    );
    tool::eventually(PATIENCE, || {
        let got = read(&broker, "later", 3);
        anyhow::ensure!(got.len() == 100, "{} were delivered", got.len());
        Ok(())
    })
    .await
    .unwrap();
    for got in read(&broker, "later", 3) {
        let n: i64 = got.value.parse().unwrap();
        assert_eq!(got.timestamp, first_due + (n - 100) * 10, "its due time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_paused_resumed_cancelled_and_forgotten() {
    let mut broker = Broker::start(&[]).unwrap();
    for topic in ["source", "target", "gone"] {
        ctl::rows(&broker, &["topic", "create", topic, "-p", "2"]).unwrap();
    }
    fill(&broker, "source", 2, 2_000, base_ms()).await;
    let slow = [
        "--records-per-second",
        "200",
        "--job",
        "slow",
        "--into",
        "target",
    ];
    let state = |broker: &Broker| -> serde_json::Value {
        let rows = ctl::rows(broker, &["replay", "get", "slow"]).unwrap();
        rows.into_iter().next().unwrap()
    };
    let args = [&["replay", "start", "source"][..], &slow].concat();
    assert_eq!(ctl::rows(&broker, &args).unwrap()[0]["state"], "running");
    tool::eventually(PATIENCE, || {
        let now = state(&broker);
        anyhow::ensure!(now["records"].as_i64() > Some(50), "{now}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(
        ctl::rows(&broker, &["replay", "pause", "slow"]).unwrap()[0]["state"],
        "paused"
    );
    tool::eventually(PATIENCE, || {
        let before = read(&broker, "target", 2).len();
        let now = state(&broker);
        anyhow::ensure!(
            now["records"].as_u64() == Some(before as u64),
            "{before}: {now}"
        );
        Ok(())
    })
    .await
    .unwrap();
    let paused_at = read(&broker, "target", 2).len();
    // A paused job stays so, whatever happens to the node.
    broker.kill().unwrap();
    broker.restart().unwrap();
    assert_eq!(state(&broker)["state"], "paused");
    assert!(
        ctl::rows(&broker, &["replay", "delete", "slow"]).is_err(),
        "it has not ended"
    );
    ctl::rows(&broker, &["replay", "resume", "slow"]).unwrap();
    tool::eventually(PATIENCE, || {
        let now = read(&broker, "target", 2).len();
        anyhow::ensure!(now > paused_at, "{now}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(
        ctl::rows(&broker, &["replay", "cancel", "slow"]).unwrap()[0]["state"],
        "cancelled"
    );
    assert!(
        ctl::rows(&broker, &["replay", "resume", "slow"]).is_err(),
        "it has ended"
    );
    let got = read(&broker, "target", 2);
    let mut values: Vec<_> = got.iter().map(|got| &got.value).collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), got.len(), "each once");
    ctl::rows(&broker, &["replay", "delete", "slow"]).unwrap();
    assert!(ctl::rows(&broker, &["replay", "list"]).unwrap().is_empty());

    // The target goes away under a job.
    let args = [
        "replay",
        "start",
        "source",
        "--into",
        "gone",
        "--job",
        "lost",
        "--records-per-second",
        "200",
    ];
    ctl::rows(&broker, &args).unwrap();
    client::delete_topic(&broker.kafka, "gone").await.unwrap();
    let mut client = connect(&broker).await;
    let lost = ended(&mut client, "lost").await;
    assert_eq!(lost.state(), pb::ReplayJobState::Failed);
    assert!(lost.failure.contains("deleted"), "{}", lost.failure);
    // What cannot be made.
    let wrong = [
        (job("", "target"), Code::InvalidArgument),
        (job("a b", "target"), Code::InvalidArgument),
        (job("x", "nowhere"), Code::NotFound),
        // Made by the readers above.
        (job("x", "__consumer_offsets"), Code::InvalidArgument),
        (
            pb::CreateReplayJobRequest {
                speed: f64::NAN,
                ..job("x", "target")
            },
            Code::InvalidArgument,
        ),
        (
            pb::CreateReplayJobRequest {
                delivery: Some(pb::ReplayDelivery::default()),
                ..job("x", "target")
            },
            Code::InvalidArgument,
        ),
        (
            pb::CreateReplayJobRequest {
                range: Some(pb::ReplayRange {
                    offsets: vec![pb::OffsetRange {
                        partition: 0,
                        start_offset: 9_999_999,
                        end_offset: None,
                    }],
                    ..pb::ReplayRange::default()
                }),
                ..job("x", "target")
            },
            Code::OutOfRange,
        ),
    ];
    for (request, code) in wrong {
        let refused = create(&mut client, request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{request:?}: {refused}");
    }
    let unknown = pb::GetReplayJobRequest { job_id: "x".into() };
    let unknown = client.get_replay_job(unknown).await.unwrap_err();
    assert_eq!(reason(&unknown), "JOB_NOT_FOUND");
}

/// Jobs into a topic of other partitions and into one that holds, killed again and again: each record once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_record_is_appended_once_whatever_was_killed() {
    let rounds = tool::setting("CHRONOS_REPLAY_ROUNDS", 2);
    let seed = tool::setting("CHRONOS_SEED", 3);
    let mut random = StdRng::seed_from_u64(seed);
    let count = 20_000;
    let settings = ["log.flush.offset.checkpoint.interval.ms=200"];
    let mut broker = Broker::start(&settings).unwrap();
    for (topic, partitions) in [("source", "3"), ("plain", "2"), ("held", "4")] {
        ctl::rows(&broker, &["topic", "create", topic, "-p", partitions]).unwrap();
    }
    let base = base_ms();
    fill(&broker, "source", 3, count, base).await;
    let mut kills = 0;
    for round in 0..rounds {
        let (plain, held) = (format!("plain-{round}"), format!("held-{round}"));
        let mut client = connect(&broker).await;
        // A second or two each.
        let pace = i64::from(random.random_range(8_000..20_000));
        let request = pb::CreateReplayJobRequest {
            records_per_second: pace,
            partitioning: pb::ReplayPartitioning::Key.into(),
            set_headers: vec![pb::Header {
                key: "round".into(),
                value: Some(plain.clone().into()),
            }],
            ..job(&plain, "plain")
        };
        create(&mut client, request).await.unwrap();
        let due = tool::now_ms() + 1_000;
        let start = |ms: i64| prost_types::Timestamp {
            seconds: ms / 1_000,
            nanos: i32::try_from(ms % 1_000).unwrap() * 1_000_000,
        };
        let request = pb::CreateReplayJobRequest {
            records_per_second: pace,
            range: Some(pb::ReplayRange {
                start_time: Some(start(base)),
                ..pb::ReplayRange::default()
            }),
            delivery: Some(pb::ReplayDelivery {
                start_time: Some(start(due)),
                speed: 100.0,
            }),
            set_headers: vec![pb::Header {
                key: "round".into(),
                value: Some(held.clone().into()),
            }],
            ..job(&held, "held")
        };
        create(&mut client, request).await.unwrap();
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(random.random_range(50..400))).await;
            broker.kill().unwrap();
            kills += 1;
            broker.restart().unwrap();
        }
        let mut client = connect(&broker).await;
        for id in [&plain, &held] {
            let done = ended(&mut client, id).await;
            assert_eq!(
                done.state(),
                pb::ReplayJobState::Completed,
                "{}",
                done.failure
            );
        }
        for (topic, partitions, id) in [("plain", 2, &plain), ("held", 4, &held)] {
            let is_mine = |got: &Got| {
                got.headers
                    .iter()
                    .any(|(name, value)| name == "round" && value == id)
            };
            tool::eventually(PATIENCE, || {
                let found = read(&broker, topic, partitions)
                    .into_iter()
                    .filter(is_mine)
                    .count();
                anyhow::ensure!(
                    i64::try_from(found)? >= count,
                    "{found} of {count} in {topic}"
                );
                Ok(())
            })
            .await
            .unwrap();
            let found: Vec<Got> = read(&broker, topic, partitions)
                .into_iter()
                .filter(is_mine)
                .collect();
            let mut numbers: Vec<i64> =
                found.iter().map(|got| got.value.parse().unwrap()).collect();
            // In the order of the source, for each partition of it; what is held comes when it is due, or at once if that has passed.
            let mut last = BTreeMap::new();
            let mut by_place = found.clone();
            by_place.sort_by_key(|got| (got.partition, got.offset));
            for got in &by_place {
                let n: i64 = got.value.parse().unwrap();
                let before = last.insert((got.partition, n % 3), n);
                assert!(
                    topic == "held" || before.is_none_or(|before| before < n),
                    "seed {seed}: {before:?} before {n}"
                );
            }
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(
                numbers.len(),
                found.len(),
                "seed {seed}: {id} has some twice"
            );
            assert_eq!(
                i64::try_from(numbers.len()).unwrap(),
                count,
                "seed {seed}: {id}"
            );
        }
    }
    println!(
        "seed {seed}: {rounds} rounds of two jobs, {kills} kills, {count} records each: 0 lost, 0 doubled, in order"
    );
}
