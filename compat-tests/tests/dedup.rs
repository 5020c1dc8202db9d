//! A message id is taken once: by batches as no client library would send them on purpose, across restarts, crashes, a lost index and
//! transactions. Method: Produce v7 over a socket, answers and log compared.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::time::Duration;

use compat_tests::{
    client,
    cluster::Broker,
    ctl, tool,
    wire::{Reaction, frame, produce_answer, produce_body, send, send_within},
};
use kafka_compat::protocol::{
    indexmap::IndexMap,
    protocol::StrBytes,
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, FutureRecord, Producer},
};

const PATIENCE: Duration = Duration::from_secs(10);
const INVALID_RECORD: i16 = 87;

/// A producer's id, epoch and next sequence.
type Whose = Option<(i64, i16, i32)>;
/// A value, its message id if it has one, and after how many milliseconds it is due.
type Sent<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

fn batch(whose: Whose, records: &[Sent<'_>], compression: Compression) -> Vec<u8> {
    let (producer_id, producer_epoch, sequence) = whose.unwrap_or((-1, -1, -1));
    let records: Vec<Record> = (0i32..)
        .zip(records)
        .map(|(at, (value, id, after))| {
            let id = id.map(|id| ("chronos-message-id", id));
            let after = after.map(|after| ("chronos-deliver-after", after));
            let headers = id.into_iter().chain(after);
            let headers = headers.map(|(name, value)| {
                let value = bytes::Bytes::copy_from_slice(value.as_bytes());
                (StrBytes::from_static_str(name), Some(value))
            });
            Record {
                transactional: false,
                control: false,
                partition_leader_epoch: -1,
                producer_id,
                producer_epoch,
                timestamp_type: TimestampType::Creation,
                offset: i64::from(at),
                sequence: sequence + at,
                timestamp: tool::now_ms(),
                key: None,
                value: Some(bytes::Bytes::copy_from_slice(value.as_bytes())),
                headers: headers.collect::<IndexMap<_, _>>(),
                delete_horizon: false,
            }
        })
        .collect();
    let mut out = bytes::BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression,
    };
    RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.to_vec()
}

/// Error code and base offset of the answer.
fn produce_bytes(broker: &Broker, topic: &str, batch: &[u8]) -> (i16, i64) {
    let request = frame(0, 7, &produce_body(topic, batch));
    let Reaction::Answered(answer) = send(&broker.kafka, &request).unwrap() else {
        return (-1, -1);
    };
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    let code = i16::from_be_bytes(answer[at..at + 2].try_into().unwrap());
    let base = i64::from_be_bytes(answer[at + 2..at + 10].try_into().unwrap());
    (code, base)
}

fn produce(broker: &Broker, topic: &str, whose: Whose, records: &[Sent<'_>]) -> (i16, i64) {
    produce_bytes(broker, topic, &batch(whose, records, Compression::None))
}

fn values(broker: &Broker, topic: &str) -> Vec<(i64, String)> {
    let found = client::read_all(&broker.kafka, topic, PATIENCE).unwrap();
    found.into_iter().map(|f| (f.offset, f.value)).collect()
}

fn pairs(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    let expected = expected.iter();
    expected
        .map(|(at, value)| (*at, (*value).to_owned()))
        .collect()
}

fn state(broker: &Broker, topic: &str, id: &str) -> (String, Option<i64>) {
    let rows = ctl::rows(broker, &["dedup", "check", topic, id]).unwrap();
    let state = rows[0]["state"].as_str().unwrap().to_owned();
    (state, rows[0]["offset"].as_i64())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_left_out_and_answered_as_what_they_copy() {
    let broker = Broker::start(&[]).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    let send = |whose, records: &[Sent<'_>]| produce(&broker, "t", whose, records);
    let id = |id: &'static str| Some(id);
    // Without a producer's id: a batch of copies alone takes no offset.
    assert_eq!(
        send(None, &[("a", id("1"), None), ("b", id("2"), None)]),
        (0, 0)
    );
    assert_eq!(send(None, &[("a", id("1"), None)]), (0, 0));
    assert_eq!(send(None, &[("b", id("2"), None)]), (0, 1));
    assert_eq!(
        send(None, &[("b", id("2"), None), ("a", id("1"), None)]),
        (0, 1)
    );
    // A batch keeps its offsets, with gaps where copies were; the first of two in one batch counts.
    let mixed = [
        ("x", None, None),
        ("a", id("1"), None),
        ("c", id("3"), None),
        ("c", id("3"), None),
    ];
    assert_eq!(send(None, &mixed), (0, 2));
    assert_eq!(send(None, &[("d", id("4"), None)]), (0, 6));
    // With one: sequences go on, whatever is left out, and a retry gets the same answer.
    let whose = |sequence| Some((77, 0, sequence));
    assert_eq!(
        send(whose(0), &[("a", id("1"), None), ("b", id("2"), None)]),
        (0, 0)
    );
    assert_eq!(
        send(whose(0), &[("a", id("1"), None), ("b", id("2"), None)]),
        (0, 0)
    );
    // They took offsets 7 and 8.
    let half = [("e", id("5"), None), ("a", id("1"), None)];
    assert_eq!(send(whose(2), &half), (0, 9));
    assert_eq!(send(whose(2), &half), (0, 9));
    // Copies that do not lie one after another are answered with the batch's own offset.
    assert_eq!(
        send(whose(4), &[("b", id("2"), None), ("a", id("1"), None)]),
        (0, 11)
    );
    assert_eq!(
        send(whose(9), &[("f", id("6"), None)]).0,
        45,
        "a sequence is missing"
    );
    assert_eq!(send(whose(6), &[("f", id("6"), None)]), (0, 13));
    let expected = [
        (0, "a"),
        (1, "b"),
        (2, "x"),
        (4, "c"),
        (6, "d"),
        (9, "e"),
        (13, "f"),
    ];
    assert_eq!(values(&broker, "t"), pairs(&expected));

    // Every codec, and an id that is none.
    for compression in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let new = format!("{compression:?}");
        let records = [("a", Some("1"), None), ("new", Some(new.as_str()), None)];
        let (code, base) = produce_bytes(&broker, "t", &batch(None, &records, compression));
        assert_eq!(code, 0);
        assert_eq!(state(&broker, "t", &new), ("taken".into(), Some(base + 1)));
    }
    let long = "x".repeat(257);
    for wrong in ["", &long] {
        let refused = send(
            None,
            &[("good", Some("7"), None), ("bad", Some(wrong), None)],
        );
        assert_eq!(refused.0, INVALID_RECORD);
    }
    assert_eq!(state(&broker, "t", "7"), ("free".into(), None));
    let page = tool::http_get(&broker.http, "/metrics").unwrap().1;
    let hits = "chronos_dedup_checks_total{result=\"hit\",topic=\"t\"} 15";
    assert!(page.contains(hits), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_survives_kills_and_the_loss_of_the_index() {
    let mut broker = Broker::start(&[]).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    let id = |id: &'static str| Some(id);
    assert_eq!(produce(&broker, "t", None, &[("a", id("1"), None)]), (0, 0));
    let held = [("later", id("2"), Some("1h"))];
    assert_eq!(produce(&broker, "t", None, &held), (0, 1));
    assert_eq!(produce(&broker, "t", None, &[("b", id("3"), None)]), (0, 2));
    assert_eq!(
        ctl::rows(&broker, &["dedup", "forget", "t", "3"]).unwrap()[0]["state"],
        "forgotten"
    );
    let check = |broker: &Broker| {
        assert_eq!(produce(broker, "t", None, &[("a", id("1"), None)]), (0, 0));
        assert_eq!(
            produce(broker, "t", None, &held),
            (0, 1),
            "the reserved offset"
        );
        assert_eq!(
            produce(broker, "t", None, &[("later", id("2"), None)]),
            (0, 1)
        );
        assert_eq!(state(broker, "t", "3"), ("free".into(), None));
    };
    check(&broker);
    broker.kill().unwrap();
    broker.restart().unwrap();
    check(&broker);
    assert!(broker.stop().unwrap().success());
    let index = broker.data_dir().join("1/index/message-ids");
    assert!(index.join("CURRENT").exists(), "a clean end writes it");
    broker.restart().unwrap();
    check(&broker);
    // The log has it all.
    broker.kill().unwrap();
    std::fs::remove_dir_all(&index).unwrap();
    broker.restart().unwrap();
    check(&broker);
    // Nor is one believed that cannot be read.
    assert!(broker.stop().unwrap().success());
    std::fs::write(index.join("CURRENT"), b"nonsense").unwrap();
    broker.restart().unwrap();
    check(&broker);
    assert_eq!(values(&broker, "t").len(), 2);
    // The forgotten one is appended, and taken again, also after another kill.
    let (code, at) = produce(&broker, "t", None, &[("b2", id("3"), None)]);
    assert_eq!(code, 0);
    broker.kill().unwrap();
    broker.restart().unwrap();
    assert_eq!(
        produce(&broker, "t", None, &[("b3", id("3"), None)]),
        (0, at)
    );
}

/// A log that the index covers, and that no checkpoint speaks of, has ids all the same: its next checkpoint says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_only_the_index_looked_at_is_read_when_the_index_is_lost() {
    let mut broker = Broker::start(&["dedup.index.interval.ms=20"]).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    assert_eq!(
        produce(&broker, "t", None, &[("a", Some("1"), None)]),
        (0, 0)
    );
    tool::eventually(PATIENCE, || {
        let (_, page) = tool::http_get(&broker.http, "/metrics")?;
        anyhow::ensure!(page.contains("chronos_dedup_ids_in_memory 0\n"), "{page}");
        Ok(())
    })
    .await
    .unwrap();
    broker.kill().unwrap();
    broker.restart().unwrap();
    assert!(broker.stop().unwrap().success());
    let index = broker.data_dir().join("1/index/message-ids");
    std::fs::remove_dir_all(&index).unwrap();
    broker.restart().unwrap();
    let copy = produce(&broker, "t", None, &[("a", Some("1"), None)]);
    assert_eq!(copy, (0, 0), "{}", broker.log());
    let log = broker.log();
    assert_eq!(values(&broker, "t"), pairs(&[(0, "a")]), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_window_is_the_topics_and_can_be_changed() {
    let mut broker = Broker::start(&[]).unwrap();
    let short = [("chronos.dedup.window.ms", "300")];
    client::create_topic(&broker.kafka, "short", &short)
        .await
        .unwrap();
    let off = [("chronos.dedup.window.ms", "0")];
    client::create_topic(&broker.kafka, "off", &off)
        .await
        .unwrap();
    let id = Some("1");
    assert_eq!(produce(&broker, "off", None, &[("a", id, None)]), (0, 0));
    assert_eq!(produce(&broker, "off", None, &[("a", id, None)]), (0, 1));
    assert_eq!(produce(&broker, "short", None, &[("a", id, None)]), (0, 0));
    tool::eventually(PATIENCE, || {
        let (_, base) = produce(&broker, "short", None, &[("a", id, None)]);
        anyhow::ensure!(base == 1, "still taken by {base}");
        Ok(())
    })
    .await
    .unwrap();
    // Longer from now on: what is in memory or in the index counts again.
    let set = |topic: &str, window: &str| {
        let setting = format!("chronos.dedup.window.ms={window}");
        alter(&broker, topic, &setting);
    };
    set("short", "3600000");
    assert_eq!(produce(&broker, "short", None, &[("a", id, None)]), (0, 1));
    // What a topic has from before it was switched on is found at the next start.
    set("off", "3600000");
    assert_eq!(produce(&broker, "off", None, &[("a", id, None)]), (0, 2));
    assert_eq!(produce(&broker, "off", None, &[("a", id, None)]), (0, 2));
    // The index has what was taken since, and does not claim to have what was before.
    assert!(broker.stop().unwrap().success());
    broker.restart().unwrap();
    assert_eq!(produce(&broker, "off", None, &[("a", id, None)]), (0, 0));
    assert_eq!(produce(&broker, "short", None, &[("a", id, None)]), (0, 1));
    // A topic made again is another one.
    client::delete_topic(&broker.kafka, "short").await.unwrap();
    client::create_topic(&broker.kafka, "short", &short)
        .await
        .unwrap();
    assert_eq!(state(&broker, "short", "1"), ("free".into(), None));
    assert_eq!(produce(&broker, "short", None, &[("a", id, None)]), (0, 0));
}

fn alter(broker: &Broker, topic: &str, setting: &str) {
    use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
    let admin: AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", &broker.kafka)
        .create()
        .unwrap();
    let (name, value) = setting.split_once('=').unwrap();
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
    let changed = admin.alter_configs([&change], &AdminOptions::new());
    let changed = futures::executor::block_on(changed).unwrap();
    for result in changed {
        result.unwrap();
    }
}

fn transactional(broker: &Broker, id: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &broker.kafka)
        .set("transactional.id", id)
        .set("linger.ms", "0")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

fn send_in(producer: &BaseProducer, value: &str, id: &str) {
    let headers = OwnedHeaders::new().insert(Header {
        key: "chronos-message-id",
        value: Some(id),
    });
    let record = BaseRecord::<(), _>::to("t").payload(value).headers(headers);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
}

/// While a transaction is open, nobody else's copy of what it has written is decided; its end decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transactions_ids_are_decided_by_its_end() {
    let mut broker = Broker::start(&[]).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    for (round, (commits, kills)) in [(true, false), (false, false), (true, true), (false, true)]
        .into_iter()
        .enumerate()
    {
        let id = format!("id-{round}");
        let producer = transactional(&broker, "tx");
        producer.begin_transaction().unwrap();
        send_in(&producer, "in", &id);
        // Its own copies are copies at once.
        send_in(&producer, "again", &id);
        assert_eq!(state(&broker, "t", &id).0, "in transaction");
        if kills {
            broker.kill().unwrap();
            broker.restart().unwrap();
            assert_eq!(state(&broker, "t", &id).0, "in transaction");
        }
        let (other, record) = (
            broker.kafka.clone(),
            batch(None, &[("out", Some(&id), None)], Compression::None),
        );
        let waits = tokio::task::spawn_blocking(move || {
            // acks all, five seconds of patience.
            let request = frame(0, 7, &produce_body("t", &record));
            match send_within(&other, &request, PATIENCE).unwrap() {
                Reaction::Answered(answer) => produce_answer("t", &answer).unwrap(),
                other => panic!("{other:?}"),
            }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waits.is_finished(), "it is not decided yet");
        let taken = state(&broker, "t", &id).1.unwrap();
        if commits {
            producer.commit_transaction(PATIENCE).unwrap();
            assert_eq!(waits.await.unwrap(), (0, taken));
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
            let (code, base) = waits.await.unwrap();
            assert!(code == 0 && base > taken, "{base} beside {taken}");
            assert_eq!(state(&broker, "t", &id), ("taken".into(), Some(base)));
        }
    }
    // Nobody ends this one in time: the copy is refused, and nothing of it is appended.
    let producer = transactional(&broker, "tx");
    producer.begin_transaction().unwrap();
    send_in(&producer, "in", "open");
    let mut body = produce_body(
        "t",
        &batch(None, &[("out", Some("open"), None)], Compression::None),
    );
    // The timeout stands behind the transactional id and the acks.
    body[4..8].copy_from_slice(&200i32.to_be_bytes());
    let Reaction::Answered(answer) = send(&broker.kafka, &frame(0, 7, &body)).unwrap() else {
        unreachable!("an answer within a second");
    };
    let at = 4 + 4 + 2 + 1 + 4 + 4;
    assert_eq!(answer[at..at + 2], 7i16.to_be_bytes(), "REQUEST_TIMED_OUT");
    producer.abort_transaction(PATIENCE).unwrap();
    assert_eq!(state(&broker, "t", "open"), ("free".into(), None));
}

/// A record that fired keeps its id, and is nobody's copy; who produces it once more gets the offset reserved for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_record_is_taken_from_when_it_is_accepted() {
    let broker = Broker::start(&[]).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    let producer = client::producer(&broker.kafka, PATIENCE).unwrap();
    let soon = |value: &'static str| {
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "chronos-deliver-after",
                value: Some("200ms"),
            })
            .insert(Header {
                key: "chronos-message-id",
                value: Some("one"),
            });
        let record = FutureRecord::<(), _>::to("t")
            .payload(value)
            .headers(headers);
        producer.send(record, PATIENCE)
    };
    assert_eq!(soon("first").await.unwrap().offset, 0);
    assert_eq!(soon("second").await.unwrap().offset, 0);
    tool::eventually(PATIENCE, || {
        let found = values(&broker, "t");
        anyhow::ensure!(found.len() == 1 && found[0].1 == "first", "{found:?}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(soon("third").await.unwrap().offset, 0);
    assert_eq!(state(&broker, "t", "one"), ("taken".into(), Some(0)));
    // A cancelled one stays taken until it is forgotten.
    let (_, id) = produce(&broker, "t", None, &[("x", Some("two"), Some("1h"))]);
    ctl::rows(
        &broker,
        &["schedule", "cancel", "-t", "t", "-p", "0", &id.to_string()],
    )
    .unwrap();
    assert_eq!(
        produce(&broker, "t", None, &[("x", Some("two"), None)]),
        (0, id)
    );
    let rows = ctl::rows(&broker, &["dedup", "forget", "t", "two", "none"]).unwrap();
    let states: Vec<_> = rows.iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, ["forgotten", "was free"]);
    let (code, again) = produce(&broker, "t", None, &[("x", Some("two"), None)]);
    assert!(code == 0 && again > id);
    let found = ctl::rows(&broker, &["dedup", "lookup", "t", "two"]).unwrap();
    assert_eq!((found.len(), found[0]["offset"].as_i64()), (1, Some(again)));
    let stats = ctl::rows(&broker, &["dedup", "stats"]).unwrap();
    let topic = &stats[0];
    assert_eq!(
        (&topic["topic"], &topic["copies"], &topic["new"]),
        (&"t".into(), &3.into(), &3.into())
    );
}
