//! Bad input gets a clear error and changes nothing: after each case the broker still answers, and its memory did not grow.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{process::Command, time::Duration};

use compat_tests::{
    client,
    cluster::{Broker, binary},
    wire::{Reaction, frame, produce_body, produce_error, send},
};
use kafka_compat::{
    compress,
    protocol::{
        indexmap::IndexMap,
        protocol::StrBytes,
        records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
    },
};

const TOPIC: &str = "bad";

fn batch(headers: &[(&str, &str)], compression: Compression) -> Vec<u8> {
    let record = Record {
        transactional: false,
        control: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: -1,
        timestamp: compat_tests::tool::now_ms(),
        key: None,
        value: Some(bytes::Bytes::from_static(b"value")),
        headers: headers
            .iter()
            .map(|(k, v)| {
                (
                    StrBytes::from_string((*k).into()),
                    Some(v.to_string().into()),
                )
            })
            .collect::<IndexMap<_, _>>(),
        delete_horizon: false,
    };
    let mut out = bytes::BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression,
    };
    RecordBatchEncoder::encode(&mut out, [&record], &options).unwrap();
    out.to_vec()
}

fn assert_alive(broker: &Broker) {
    // ApiVersions v0: an empty body.
    let answer = send(&broker.kafka, &frame(18, 0, b"")).unwrap();
    assert!(
        matches!(answer, Reaction::Answered(_)),
        "{answer:?}\n{}",
        broker.log()
    );
}

#[test]
fn frames_that_make_no_sense_close_the_connection() {
    let broker = Broker::start(&[]).unwrap();
    assert_alive(&broker);
    let before = broker.resident_bytes();
    let lying_array = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let cases: [(&str, Vec<u8>); 9] = [
        ("negative length", vec![0xff, 0xff, 0xff, 0xff]),
        ("oversized length", vec![0x7f, 0xff, 0xff, 0xff]),
        ("length of nothing", vec![0, 0, 0, 0]),
        ("truncated header", vec![0, 0, 0, 3, 0, 3, 0]),
        ("unknown API", frame(99, 0, b"")),
        ("unknown version of Metadata", frame(3, 99, b"")),
        ("unlisted version of Produce", frame(0, 2, b"")),
        ("an array of 2^31-1 topics", frame(3, 4, &lying_array)),
        ("truncated body", frame(3, 4, &[0, 0, 0, 1, 0, 9])),
    ];
    for (name, bytes) in cases {
        assert_eq!(
            send(&broker.kafka, &bytes).unwrap(),
            Reaction::Closed,
            "{name}"
        );
        assert_alive(&broker);
    }
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "memory grew by {grown} bytes");
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let broker = Broker::start(&[]).unwrap();
    let Reaction::Answered(answer) = send(&broker.kafka, &frame(18, 99, b"")).unwrap() else {
        panic!("no answer");
    };
    assert_eq!(answer[..4], 7i32.to_be_bytes(), "correlation id");
    assert_eq!(answer[4..6], 35i16.to_be_bytes(), "UNSUPPORTED_VERSION");
    let apis = i32::from_be_bytes(answer[6..10].try_into().unwrap());
    assert_eq!(apis, 1, "as Kafka: only ApiVersions itself");
    assert_eq!(answer[10..12], 18i16.to_be_bytes());
}

#[tokio::test]
async fn batches_that_a_broker_refuses_get_kafkas_code_and_change_nothing() {
    let broker = Broker::start(&["message.max.bytes=100000"]).unwrap();
    client::create_topic(&broker.kafka, TOPIC, &[])
        .await
        .unwrap();
    let good = batch(&[], Compression::None);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let header = |name: &str, value: &str| batch(&[(name, value)], Compression::None);
    let far = (compat_tests::tool::now_ms() + 400 * 86_400_000).to_string();
    let both = batch(
        &[
            ("chronos-deliver-at", "1900000000000"),
            ("chronos-deliver-after", "5s"),
        ],
        Compression::Zstd,
    );
    let mut bomb = good[..61].to_vec();
    bomb[22] |= 1;
    bomb.extend(compress::compress(compress::Codec::Gzip(-1), &vec![0; 200 << 20]).unwrap());
    let cases: [(&str, Vec<u8>, i16); 15] = [
        ("no batch", Vec::new(), 87),
        ("bad checksum", with(good.len() - 1, b'X'), 2),
        ("magic 1", with(16, 1), 87),
        ("cut off", good[..good.len() - 1].to_vec(), 87),
        ("two batches", [good.clone(), good.clone()].concat(), 87),
        ("too large", vec![0; 100_001], 10),
        (
            "deliver-at is text",
            header("chronos-deliver-at", "tomorrow"),
            87,
        ),
        (
            "deliver-at is in seconds",
            header("chronos-deliver-at", "1900000000"),
            87,
        ),
        (
            "deliver-at is too far",
            header("chronos-deliver-at", &far),
            32,
        ),
        ("both headers", both, 87),
        (
            "deliver-after is text",
            header("chronos-deliver-after", "soon"),
            87,
        ),
        ("schedule key", header("chronos-schedule-key", ""), 87),
        ("cancel", header("chronos-cancel", "one"), 87),
        ("empty message id", header("chronos-message-id", ""), 87),
        ("decompression bomb, too large first", bomb, 10),
    ];
    for (name, records, code) in cases {
        let request = frame(0, 7, &produce_body(TOPIC, &records));
        let Reaction::Answered(answer) = send(&broker.kafka, &request).unwrap() else {
            panic!("{name}: no answer\n{}", broker.log());
        };
        assert_eq!(produce_error(TOPIC, &answer), Some(code), "{name}");
        let found = client::read_all(&broker.kafka, TOPIC, Duration::from_secs(10)).unwrap();
        assert!(found.is_empty(), "{name}: {found:?}");
    }
    let request = frame(0, 7, &produce_body(TOPIC, &good));
    let Reaction::Answered(answer) = send(&broker.kafka, &request).unwrap() else {
        panic!("no answer")
    };
    assert_eq!(produce_error(TOPIC, &answer), Some(0));
    let found = client::read_all(&broker.kafka, TOPIC, Duration::from_secs(10)).unwrap();
    assert_eq!(
        found.iter().map(|f| f.offset).collect::<Vec<_>>(),
        [0],
        "refused batches took no offsets"
    );
}

#[test]
fn a_node_that_cannot_start_says_why() {
    let broker = Broker::start(&[]).unwrap();
    let data = broker.data_dir();
    let elsewhere = broker.scratch().join("elsewhere");
    let start = |data: &std::path::Path, listen: &str, set: &str| {
        let output = Command::new(binary().unwrap())
            .args(["--data-dir", &data.to_string_lossy(), "--listen", listen])
            .args([
                "--http-listen",
                "127.0.0.1:0",
                "--grpc-listen",
                "127.0.0.1:0",
                "--set",
                set,
            ])
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let any = "127.0.0.1:0";
    let (code, why) = start(&elsewhere, any, "log.segment.byte=1");
    assert_eq!(code, Some(2));
    assert!(
        why.contains("unknown setting log.segment.byte") && why.contains("log.segment.bytes"),
        "{why}"
    );
    let (code, why) = start(&elsewhere, any, "num.partitions=0");
    assert_eq!(code, Some(2));
    assert!(
        why.contains("num.partitions=0") && why.contains("at least 1"),
        "{why}"
    );
    let (code, why) = start(&data, any, "num.partitions=1");
    assert_eq!(code, Some(1));
    assert!(why.contains("in use by process"), "{why}");
    let (code, why) = start(&elsewhere, &broker.kafka, "num.partitions=1");
    assert_eq!(code, Some(1));
    assert!(why.contains("cannot bind"), "{why}");
    assert_alive(&broker);
}
