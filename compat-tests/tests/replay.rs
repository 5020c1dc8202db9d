//! Records of a range once more, over gRPC and with the command line.
#![expect(clippy::print_stdout, reason = "the counts are what the run is for")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::BTreeMap, process::Command, time::Duration};

use compat_tests::{
    client,
    cluster::{Broker, binary},
    ctl, tool,
};
use proto::admin::v1::{self as pb, replay_service_client::ReplayServiceClient};
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer},
};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

const PATIENCE: Duration = Duration::from_secs(20);
const TOPIC: &str = "t";
/// A time that lies long ago.
const BASE_MS: i64 = 1_700_000_000_000;

struct Node {
    broker: Broker,
    producer: FutureProducer,
    client: ReplayServiceClient<Channel>,
}

impl Node {
    async fn start(partitions: &str) -> Self {
        let partitions = format!("num.partitions={partitions}");
        // The times of these records are years ago.
        let settings = [&*partitions, "log.retention.ms=-1"];
        let broker = Broker::start(&settings).unwrap();
        let producer = client::producer(&broker.kafka, PATIENCE).unwrap();
        let admin = format!("http://{}", broker.grpc);
        let client = ReplayServiceClient::connect(admin).await.unwrap();
        Self {
            broker,
            producer,
            client,
        }
    }

    async fn send(&self, partition: i32, ms: i64, value: &str) {
        let headers = OwnedHeaders::new().insert(Header {
            key: "colour",
            value: Some(value),
        });
        let key = format!("key {value}");
        let record = FutureRecord::to(TOPIC)
            .partition(partition)
            .timestamp(BASE_MS + ms)
            .key(&key)
            .payload(value)
            .headers(headers);
        self.producer.send(record, PATIENCE).await.unwrap();
    }

    async fn stream(
        &mut self,
        request: pb::StreamReplayRequest,
    ) -> Result<tonic::Streaming<pb::StreamReplayResponse>, Status> {
        let answers = self.client.stream_replay(request).await;
        answers.map(tonic::Response::into_inner)
    }

    /// All answers to the end.
    async fn answers(
        &mut self,
        request: pb::StreamReplayRequest,
    ) -> Result<Vec<pb::StreamReplayResponse>, Status> {
        let mut stream = self.stream(request).await?;
        let mut answers = Vec::new();
        while let Some(answer) = timeout(PATIENCE, stream.message()).await.unwrap()? {
            answers.push(answer);
        }
        assert!(answers.last().unwrap().completed);
        Ok(answers)
    }

    async fn values(&mut self, request: pb::StreamReplayRequest) -> Vec<String> {
        values(&self.answers(request).await.unwrap())
    }
}

fn values(answers: &[pb::StreamReplayResponse]) -> Vec<String> {
    let records = answers.iter().flat_map(|answer| &answer.records);
    let values = records.map(|record| record.value.clone().unwrap_or_default());
    values
        .map(|value| String::from_utf8(value.to_vec()).unwrap())
        .collect()
}

fn all() -> pb::StreamReplayRequest {
    pb::StreamReplayRequest {
        topic: TOPIC.into(),
        ..pb::StreamReplayRequest::default()
    }
}

fn time(ms: i64) -> prost_types::Timestamp {
    let ms = BASE_MS + ms;
    prost_types::Timestamp {
        seconds: ms / 1_000,
        nanos: i32::try_from(ms % 1_000).unwrap() * 1_000_000,
    }
}

fn between(from: i64, to: i64) -> pb::StreamReplayRequest {
    let range = pb::ReplayRange {
        start_time: Some(time(from)),
        end_time: Some(time(to)),
        ..pb::ReplayRange::default()
    };
    pb::StreamReplayRequest {
        range: Some(range),
        ..all()
    }
}

fn of_offsets(start_offset: i64, end_offset: Option<i64>) -> pb::StreamReplayRequest {
    let offsets = pb::OffsetRange {
        partition: 0,
        start_offset,
        end_offset,
    };
    let range = pb::ReplayRange {
        offsets: vec![offsets],
        ..pb::ReplayRange::default()
    };
    pb::StreamReplayRequest {
        range: Some(range),
        ..all()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_times_has_all_its_records_however_they_are_mixed() {
    let mut node = Node::start("2").await;
    // A record of the range lies before, and one behind, records of other times.
    for (partition, ms) in [
        (0, 500),
        (0, 100),
        (0, 900),
        (0, 150),
        (1, 120),
        (0, 101),
        (1, 99),
    ] {
        node.send(partition, ms, &ms.to_string()).await;
    }
    assert_eq!(
        node.values(between(100, 200)).await,
        ["100", "150", "101", "120"]
    );
    assert_eq!(node.values(between(150, 150)).await, Vec::<String>::new());
    assert_eq!(node.values(between(901, 2_000)).await, Vec::<String>::new());
    let merged = pb::StreamReplayRequest {
        order: pb::ReplayOrder::MergedByTime.into(),
        ..between(0, 1_000)
    };
    // Each partition keeps its order.
    let expected = ["120", "99", "500", "100", "900", "150", "101"];
    assert_eq!(node.values(merged).await, expected);
    let limited = pb::StreamReplayRequest { limit: 3, ..all() };
    assert_eq!(node.values(limited).await, ["500", "100", "900"]);
    let one = pb::StreamReplayRequest {
        partitions: vec![1],
        ..all()
    };
    assert_eq!(node.values(one).await, ["120", "99"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_names_key_header_or_id() {
    let mut node = Node::start("1").await;
    for value in ["red", "green", "red"] {
        node.send(0, 1, value).await;
    }
    let id = OwnedHeaders::new().insert(Header {
        key: "chronos-message-id",
        value: Some("id-1"),
    });
    let record = FutureRecord::<(), _>::to(TOPIC)
        .payload("named")
        .headers(id);
    node.producer.send(record, PATIENCE).await.unwrap();
    let with = |filter: pb::ReplayFilter| pb::StreamReplayRequest {
        filter: Some(filter),
        ..all()
    };
    let key = pb::ReplayFilter {
        key: Some("key green".into()),
        ..pb::ReplayFilter::default()
    };
    assert_eq!(node.values(with(key)).await, ["green"]);
    let header = |value: Option<&'static str>| pb::ReplayFilter {
        header: Some(pb::Header {
            key: "colour".into(),
            value: value.map(Into::into),
        }),
        ..pb::ReplayFilter::default()
    };
    assert_eq!(node.values(with(header(Some("red")))).await, ["red", "red"]);
    assert_eq!(
        node.values(with(header(None))).await,
        ["red", "green", "red"]
    );
    let named = pb::ReplayFilter {
        message_id: Some("id-1".into()),
        ..pb::ReplayFilter::default()
    };
    assert_eq!(node.values(with(named)).await, ["named"]);
}

/// Streams that are cut after each answer, across a kill of the node: each record once, and none that came after it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_resumed_where_it_was_cut() {
    let mut node = Node::start("3").await;
    let filler = "x".repeat(50_000);
    let mut sent = BTreeMap::new();
    for i in 0..60_i64 {
        let partition = i32::try_from(i % 3).unwrap();
        node.send(partition, i, &format!("{i} {filler}")).await;
        sent.insert(i.to_string(), 1);
    }
    let mut request = pb::StreamReplayRequest {
        order: pb::ReplayOrder::MergedByTime.into(),
        ..all()
    };
    let (mut found, mut order) = (BTreeMap::new(), Vec::new());
    let mut cuts = 0;
    loop {
        let mut stream = node.stream(request.clone()).await.unwrap();
        let answer = timeout(PATIENCE, stream.message()).await.unwrap();
        let answer = answer.unwrap().unwrap();
        let bytes: usize = answer
            .records
            .iter()
            .map(|r| r.value.as_ref().unwrap().len())
            .sum();
        assert!(bytes <= 256 << 10);
        for value in values(std::slice::from_ref(&answer)) {
            let number = value.split(' ').next().unwrap().to_owned();
            order.push(number.parse::<i64>().unwrap());
            *found.entry(number).or_insert(0) += 1;
        }
        if answer.completed {
            assert_eq!(answer.streamed, 60);
            break;
        }
        request.resume_token = answer.resume_token;
        cuts += 1;
        if cuts == 3 {
            node.send(0, 5, "late").await;
            node.broker.kill().unwrap();
            node.broker.restart().unwrap();
            let admin = format!("http://{}", node.broker.grpc);
            node.client = ReplayServiceClient::connect(admin).await.unwrap();
        }
    }
    assert!(cuts > 8, "{cuts}");
    assert_eq!(found, sent);
    assert!(order.is_sorted());
    let other = pb::StreamReplayRequest {
        limit: 7,
        ..request
    };
    let refused = node.answers(other).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_aborted_or_open_or_held_is_left_out() {
    let mut node = Node::start("1").await;
    node.send(0, 1, "first").await;
    let transactional: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &node.broker.kafka)
        .set("transactional.id", "x")
        .create()
        .unwrap();
    transactional.init_transactions(PATIENCE).unwrap();
    for (value, commits) in [("aborted", false), ("committed", true)] {
        transactional.begin_transaction().unwrap();
        let record = BaseRecord::<(), _>::to(TOPIC).payload(value);
        transactional.send(record).map_err(|(e, _)| e).unwrap();
        transactional.flush(PATIENCE).unwrap();
        if commits {
            transactional.commit_transaction(PATIENCE).unwrap();
        } else {
            transactional.abort_transaction(PATIENCE).unwrap();
        }
    }
    let due = tool::now_ms() + 3_600_000;
    client::send_held(&node.producer, TOPIC, "held", due)
        .await
        .unwrap();
    node.send(0, 2, "last").await;
    transactional.begin_transaction().unwrap();
    let record = BaseRecord::<(), _>::to(TOPIC).payload("open");
    transactional.send(record).map_err(|(e, _)| e).unwrap();
    transactional.flush(PATIENCE).unwrap();
    node.send(0, 3, "behind").await;
    assert_eq!(node.values(all()).await, ["first", "committed", "last"]);
    transactional.commit_transaction(PATIENCE).unwrap();
    let expected = ["first", "committed", "last", "open", "behind"];
    assert_eq!(node.values(all()).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_that_are_gone_are_told_with_what_is_there() {
    let mut node = Node::start("1").await;
    for i in 0..10 {
        node.send(0, i, &i.to_string()).await;
    }
    assert_eq!(node.values(of_offsets(3, Some(6))).await, ["3", "4", "5"]);
    assert_eq!(node.values(of_offsets(8, None)).await, ["8", "9"]);
    assert_eq!(node.values(of_offsets(8, Some(100))).await, ["8", "9"]);
    // One is sent, and the next a second later: cut before that.
    let slow = pb::StreamReplayRequest {
        speed: 0.001,
        ..all()
    };
    let mut stream = node.stream(slow.clone()).await.unwrap();
    let cut = stream.message().await.unwrap().unwrap();
    assert_eq!(cut.records.len(), 1);
    drop(stream);
    let admin: rdkafka::admin::AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &node.broker.kafka)
        .create()
        .unwrap();
    let mut before = rdkafka::TopicPartitionList::new();
    before
        .add_partition_offset(TOPIC, 0, rdkafka::Offset::Offset(4))
        .unwrap();
    let options = rdkafka::admin::AdminOptions::new();
    admin.delete_records(&before, &options).await.unwrap();
    let resumed = pb::StreamReplayRequest {
        resume_token: cut.resume_token,
        ..slow
    };
    for request in [of_offsets(3, None), of_offsets(11, None), resumed] {
        let refused = node.answers(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
        let details = refused.get_details_error_info().unwrap();
        assert_eq!(details.reason, "OFFSET_OUT_OF_RANGE");
        assert_eq!(details.metadata.get("log_start").unwrap(), "4");
    }
    assert_eq!(node.values(of_offsets(4, Some(5))).await, ["4"]);
    let wrong = [
        of_offsets(6, Some(5)),
        between(5, 4),
        pb::StreamReplayRequest { limit: -1, ..all() },
        pb::StreamReplayRequest {
            speed: -1.0,
            ..all()
        },
        pb::StreamReplayRequest { order: 9, ..all() },
        pb::StreamReplayRequest {
            resume_token: "x".into(),
            ..all()
        },
        pb::StreamReplayRequest::default(),
    ];
    for request in wrong {
        let refused = node.answers(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let unknown = pb::StreamReplayRequest {
        topic: "unknown".into(),
        ..all()
    };
    assert_eq!(
        node.answers(unknown).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_in_the_future_is_waited_for_and_a_filter_that_fits_nothing_tells_where_it_is() {
    let mut node = Node::start("2").await;
    node.send(0, 1, "1").await;
    let request = pb::StreamReplayRequest {
        wait: true,
        limit: 3,
        ..all()
    };
    let mut stream = node.stream(request).await.unwrap();
    let first = timeout(PATIENCE, stream.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(values(&[first]), ["1"]);
    node.send(1, 2, "2").await;
    let second = timeout(PATIENCE, stream.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(values(&[second]), ["2"]);
    // Nothing comes for five seconds: a token all the same.
    let beat = timeout(PATIENCE, stream.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(beat.records.is_empty() && !beat.completed && !beat.resume_token.is_empty());
    node.send(0, 3, "3").await;
    let last = timeout(PATIENCE, stream.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(last.completed);
    assert_eq!(values(&[last]), ["3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speed_is_that_of_the_records_times() {
    let mut node = Node::start("1").await;
    for ms in [0, 1_000, 3_000] {
        node.send(0, ms, &ms.to_string()).await;
    }
    let request = pb::StreamReplayRequest {
        speed: 2.0,
        ..all()
    };
    let began = Instant::now();
    let mut stream = node.stream(request).await.unwrap();
    let mut came = Vec::new();
    while let Some(answer) = timeout(PATIENCE, stream.message()).await.unwrap().unwrap() {
        came.extend(answer.records.iter().map(|_| began.elapsed()));
    }
    let [first, second, third] = came.try_into().unwrap();
    // Never early; how late is the machine's affair.
    assert!(first < second && second.saturating_sub(first) >= Duration::from_millis(490));
    assert!(
        third.saturating_sub(first) >= Duration::from_millis(1_490),
        "{first:?} {third:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chronosctl_replays() {
    let node = Node::start("1").await;
    for ms in [100, 200, 300] {
        node.send(0, ms, &ms.to_string()).await;
    }
    let run = |args: &[&str]| {
        let mut command = Command::new(binary().unwrap().with_file_name("chronosctl"));
        command
            .args(["--admin", &node.broker.grpc, "replay", "stream", TOPIC])
            .args(args);
        tool::run(&mut command)
    };
    let from = (BASE_MS + 150).to_string();
    let said = run(&["--from", &from, "-o", "json"]).unwrap();
    let rows: Vec<serde_json::Value> = said
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows.first().unwrap().get("value").unwrap(), "200");
    let said = run(&["--offsets", "0:0..1", "-H", "colour"]).unwrap();
    assert!(said.contains("key 100: 100"), "{said}");
    let wrong = run(&["--offsets", "0:9.."]).unwrap_err().to_string();
    assert!(
        wrong.contains("offset 9 of partition 0 is not in the log, which has 0 to 3"),
        "{wrong}"
    );
    // And measures it.
    let bench = ["bench", "replay", "-t", TOPIC, "--streams", "3"];
    let measured = ctl::rows(&node.broker, &bench).unwrap();
    assert_eq!(measured[0]["records_total"], 9, "{measured:?}");
}

/// What is held comes behind what the log has, in the order in which it is due, marked; each answer can be gone on from, also on a node
/// that was killed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_future_of_a_range_is_read_too() {
    let mut node = Node::start("3").await;
    node.send(0, 1, "past").await;
    let tomorrow = tool::now_ms() + 86_400_000;
    let filler = "x".repeat(40_000);
    let mut expected = Vec::new();
    for i in 0..30_i64 {
        let due = tomorrow + i * 7 % 30 * 1_000;
        let at = due.to_string();
        let headers = OwnedHeaders::new().insert(Header {
            key: "chronos-deliver-at",
            value: Some(at.as_bytes()),
        });
        let (key, value) = (format!("k{}", i % 2), format!("{i} {filler}"));
        let record = FutureRecord::to(TOPIC)
            .partition(i32::try_from(i % 3).unwrap())
            .key(&key)
            .payload(&value)
            .headers(headers);
        node.producer.send(record, PATIENCE).await.unwrap();
        expected.push((due, i.to_string()));
    }
    expected.sort();
    let pending = pb::StreamReplayRequest {
        include_pending: true,
        ..all()
    };
    let first = |value: &String| value.split(' ').next().unwrap().to_owned();
    let values_of = |due: &[(i64, String)]| due.iter().map(|(_, v)| v.clone()).collect::<Vec<_>>();
    // Cut after each answer, and killed after the second one.
    let mut request = pending.clone();
    let (mut found, mut cuts) = (Vec::new(), 0);
    loop {
        let mut stream = node.stream(request.clone()).await.unwrap();
        let answer = timeout(PATIENCE, stream.message()).await.unwrap();
        let answer = answer.unwrap().unwrap();
        for record in &answer.records {
            let value = String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
            let at = record.time.unwrap();
            let ms = at.seconds * 1_000 + i64::from(at.nanos / 1_000_000);
            assert_eq!(record.pending, value != "past");
            found.push((ms, first(&value)));
        }
        if answer.completed {
            assert_eq!(answer.streamed, 31);
            break;
        }
        request.resume_token = answer.resume_token;
        cuts += 1;
        if cuts == 2 {
            node.broker.kill().unwrap();
            node.broker.restart().unwrap();
        }
    }
    assert!(cuts > 3, "{cuts} cuts are too few to mean anything");
    assert_eq!(found.remove(0), (BASE_MS + 1, "past".to_owned()));
    assert_eq!(found, expected);
    // A range's times are due times there; filters and limits are as everywhere.
    let (from, to) = (expected[10].0, expected[20].0);
    let at = |ms: i64| Some(time(ms - BASE_MS));
    let range = pb::ReplayRange {
        start_time: at(from),
        end_time: at(to),
        ..pb::ReplayRange::default()
    };
    let some = pb::StreamReplayRequest {
        range: Some(range),
        ..pending.clone()
    };
    let within = node.values(some.clone()).await;
    let within: Vec<_> = within.iter().map(first).collect();
    assert_eq!(within, values_of(&expected[10..20]));
    let key = pb::ReplayFilter {
        key: Some("k1".into()),
        ..pb::ReplayFilter::default()
    };
    let odd = pb::StreamReplayRequest {
        filter: Some(key),
        limit: 3,
        ..some.clone()
    };
    let odd: Vec<_> = node.values(odd).await.iter().map(first).collect();
    let is_odd = |value: &String| value.parse::<i64>().unwrap() % 2 == 1;
    let mut odd_ones = values_of(&expected[10..20]);
    odd_ones.retain(is_odd);
    odd_ones.truncate(3);
    assert_eq!(odd, odd_ones);
    // Without being asked for, nothing of it; and what waits for it is told when it comes.
    assert_eq!(node.values(all()).await, ["past"]);
    let both = pb::StreamReplayRequest {
        wait: true,
        ..pending
    };
    let refused = node.stream(both).await.err().unwrap();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let rows = ctl::rows(
        &node.broker,
        &["replay", "stream", TOPIC, "--include-pending"],
    );
    let rows = rows.unwrap();
    assert_eq!(rows.len(), 31);
    assert_eq!(rows[30]["pending"], true);
}

/// What is cancelled before its turn does not come; large records are read as they are taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cancelled_before_its_turn_does_not_come() {
    let mut node = Node::start("1").await;
    let filler = "x".repeat(900_000);
    let due = tool::now_ms() + 86_400_000;
    for i in 0..100_i64 {
        let at = (due + i).to_string();
        let headers = OwnedHeaders::new().insert(Header {
            key: "chronos-deliver-at",
            value: Some(at.as_bytes()),
        });
        let value = format!("{i} {filler}");
        let record = FutureRecord::<(), _>::to(TOPIC)
            .payload(&value)
            .headers(headers);
        node.producer.send(record, PATIENCE).await.unwrap();
    }
    let request = pb::StreamReplayRequest {
        include_pending: true,
        ..all()
    };
    let before = node.broker.resident_bytes();
    let mut streams = Vec::new();
    for _ in 0..8 {
        // What is not read of one stream takes the connection's window from the others.
        let admin = format!("http://{}", node.broker.grpc);
        node.client = ReplayServiceClient::connect(admin).await.unwrap();
        let mut stream = node.stream(request.clone()).await.unwrap();
        let first = timeout(PATIENCE, stream.message()).await.unwrap();
        assert_eq!(first.unwrap().unwrap().records.len(), 1);
        streams.push(stream);
    }
    let grown = node.broker.resident_bytes().saturating_sub(before);
    println!("eight streams of large records that nobody reads on: {grown} bytes");
    assert!(grown < 150 << 20, "{grown}");
    let last = ["schedule", "cancel", "-t", TOPIC, "-p", "0", "99"];
    ctl::rows(&node.broker, &last).unwrap();
    let mut found = 1;
    let mut stream = streams.pop().unwrap();
    while let Some(answer) = timeout(PATIENCE, stream.message()).await.unwrap().unwrap() {
        found += answer.records.len();
    }
    assert_eq!(found, 99);
}

/// A client that goes away in the middle leaves nothing behind: no task that reads on, no memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_that_are_left_cost_nothing() {
    const STREAMS: usize = 1_000;
    let mut node = Node::start("2").await;
    let filler = "x".repeat(100_000);
    for i in 0..60_i64 {
        node.send((i % 2).try_into().unwrap(), i, &filler).await;
    }
    let request = pb::StreamReplayRequest {
        order: pb::ReplayOrder::MergedByTime.into(),
        ..all()
    };
    // Some wait for what does not come.
    let waits = pb::StreamReplayRequest {
        wait: true,
        limit: 1_000_000,
        ..all()
    };
    let mut after_some = 0;
    for i in 0..STREAMS {
        if i % 100 == 0 {
            // A connection that resets too much is closed by HTTP/2 itself.
            let admin = format!("http://{}", node.broker.grpc);
            node.client = ReplayServiceClient::connect(admin).await.unwrap();
        }
        let request = if i % 10 == 0 { &waits } else { &request };
        let mut stream = node.stream(request.clone()).await.unwrap();
        let first = timeout(PATIENCE, stream.message()).await.unwrap();
        assert!(!first.unwrap().unwrap().records.is_empty());
        drop(stream);
        if i == STREAMS / 4 {
            after_some = node.broker.resident_bytes();
        }
    }
    let grown = node.broker.resident_bytes().saturating_sub(after_some);
    println!(
        "resident {after_some} after {}, then {grown} more",
        STREAMS / 4
    );
    // Each of them read more than a megabyte.
    assert!(
        grown < 24 << 20,
        "{grown} bytes more than after the first ones"
    );
    // Nobody reads on.
    let cpu = node.broker.cpu_seconds();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(node.broker.cpu_seconds() - cpu < 0.3);
}

/// By when records were appended, which their times do not say; across a kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_of_times_of_appending_has_what_was_appended_then() {
    let mut node = Node::start("2").await;
    let mut marks = Vec::new();
    for round in 0..3_i64 {
        marks.push(tool::now_ms());
        // Times that say nothing.
        for i in 0..4_i64 {
            let partition = i32::try_from(i % 2).unwrap();
            node.send(partition, 90 - round * 10, &format!("{round}-{i}"))
                .await;
        }
        if round == 1 {
            node.broker.kill().unwrap();
            node.broker.restart().unwrap();
            let admin = format!("http://{}", node.broker.grpc);
            node.client = ReplayServiceClient::connect(admin).await.unwrap();
        }
        // Rounds are told apart by more than a second.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
    let appended = |from: Option<i64>, to: Option<i64>| {
        let at = |ms: Option<i64>| ms.map(|ms| time(ms - BASE_MS));
        pb::StreamReplayRequest {
            range: Some(pb::ReplayRange {
                append_start_time: at(from),
                append_end_time: at(to),
                ..pb::ReplayRange::default()
            }),
            ..all()
        }
    };
    let rounds = |values: Vec<String>| {
        let rounds: BTreeMap<String, usize> = values.iter().fold(BTreeMap::new(), |mut all, v| {
            *all.entry(v[..1].to_owned()).or_default() += 1;
            all
        });
        rounds
    };
    // All of the rounds that are asked for; of the one before, what its last second has.
    let first = rounds(node.values(appended(None, Some(marks[1]))).await);
    assert_eq!((first.get("0"), first.len()), (Some(&4), 1), "{first:?}");
    let second = rounds(node.values(appended(Some(marks[1]), Some(marks[2]))).await);
    assert_eq!((second.get("1"), second.get("2")), (Some(&4), None));
    let last = rounds(node.values(appended(Some(marks[2]), None)).await);
    assert_eq!((last.get("2"), last.get("0")), (Some(&4), None));
    // A time that has passed is an end, also for who waits.
    let waits = pb::StreamReplayRequest {
        wait: true,
        ..appended(None, Some(tool::now_ms()))
    };
    assert_eq!(node.values(waits).await.len(), 12);
    let none = node.values(appended(None, Some(marks[0] - 60_000))).await;
    assert!(none.is_empty(), "{none:?}");
    for wrong in [
        appended(Some(marks[1]), Some(marks[0])),
        pb::StreamReplayRequest {
            wait: true,
            ..appended(None, Some(tool::now_ms() + 3_600_000))
        },
    ] {
        let refused = node.stream(wrong).await.err().unwrap();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let from = (marks[2] - 100).to_string();
    let rows = ctl::rows(
        &node.broker,
        &["replay", "stream", TOPIC, "--appended-from", &from],
    );
    assert!(rows.unwrap().len() >= 4);
}
