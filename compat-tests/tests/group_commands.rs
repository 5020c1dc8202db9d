//! `chronosctl group` and `chronosctl txn` as a person or a script uses them.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed; what is skipped is told"
)]

use std::time::Duration;

use compat_tests::{client, cluster::Broker, ctl, tool};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(20);
const SETTINGS: [&str; 1] = ["group.initial.rebalance.delay.ms=0"];

fn rows(broker: &Broker, args: &[&str]) -> Vec<serde_json::Value> {
    ctl::rows(broker, args).unwrap()
}

fn refused(broker: &Broker, args: &[&str]) -> String {
    ctl::refused(broker, args).unwrap()
}

fn produce(broker: &Broker, partition: &str, count: usize) {
    for i in 0..count {
        let value = format!("value {i}");
        rows(broker, &["produce", "t", "-p", partition, "-v", &value]);
    }
}

fn member(broker: &Broker, group: &str) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker.kafka)
        .set("group.id", group)
        .set("client.id", "app")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&["t"]).unwrap();
    consumer
}

/// Reads so many records, and commits.
fn read(consumer: &BaseConsumer, count: usize) {
    let until = Instant::now() + PATIENCE;
    let mut left = count;
    while left > 0 && Instant::now() < until {
        // A rebalance ends a poll with nothing.
        if let Some(message) = consumer.poll(Duration::from_secs(1)) {
            message.unwrap();
            left -= 1;
        }
    }
    assert_eq!(left, 0, "records that did not come");
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
}

#[tokio::test]
async fn a_group_is_listed_and_described_while_it_reads_and_when_it_is_left() {
    let broker = Broker::start(&SETTINGS).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    produce(&broker, "0", 5);
    let consumer = member(&broker, "billing");
    read(&consumer, 3);
    let listed = rows(&broker, &["group", "list"]);
    let expected = serde_json::json!([{"group": "billing", "type": "classic", "protocol": "consumer",
        "state": "Stable", "members": 1, "lag": listed[0]["lag"]}]);
    assert_eq!(serde_json::Value::from(listed.clone()), expected);

    let offsets = rows(&broker, &["group", "describe", "billing"]);
    assert_eq!(offsets.len(), 1);
    let row = &offsets[0];
    assert_eq!((&row["topic"], &row["end"]), (&"t".into(), &5.into()));
    assert_eq!(
        (&row["client"], &row["host"]),
        (&"app".into(), &"127.0.0.1".into())
    );
    let committed = row["committed"].as_i64().unwrap();
    assert!((3..=5).contains(&committed), "{row}");
    assert_eq!(row["lag"], 5 - committed);
    assert_eq!(listed[0]["lag"], row["lag"]);

    let views = ["group", "describe", "billing", "--state", "--members"];
    let shown = rows(&broker, &views);
    assert_eq!(
        (&shown[0]["state"], &shown[0]["members"]),
        (&"Stable".into(), &1.into())
    );
    assert_eq!(shown[1]["member"], row["member"]);
    assert_eq!(shown[1]["assigned"], serde_json::json!(["t-0"]));

    for busy in [
        &["group", "seek", "billing", "--to", "earliest"][..],
        &["group", "delete", "billing"],
    ] {
        assert!(refused(&broker, busy).contains("has members"));
    }
    drop(consumer);
    tool::eventually(PATIENCE, || {
        let listed = rows(&broker, &["group", "list", "--state", "empty"]);
        anyhow::ensure!(listed.len() == 1, "{listed:?}");
        Ok(())
    })
    .await
    .unwrap();
    let left = rows(&broker, &["group", "describe", "billing"]);
    assert!(left[0]["member"].is_null(), "{left:?}");
    assert!(refused(&broker, &["group", "describe", "nobody"]).contains("no group nobody"));
}

#[tokio::test]
async fn a_group_that_nobody_is_in_goes_where_it_is_told_to() {
    let broker = Broker::start(&SETTINGS).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    produce(&broker, "0", 4);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let before = tool::now_ms().to_string();
    tokio::time::sleep(Duration::from_millis(20)).await;
    produce(&broker, "0", 6);
    let seek = |place: &[&str]| {
        let moved = rows(&broker, &[&["group", "seek", "g"], place].concat());
        assert_eq!(moved.len(), 1, "{moved:?}");
        (
            moved[0]["before"].as_i64(),
            moved[0]["after"].as_i64(),
            moved[0]["note"].as_str().map(str::to_owned),
        )
    };
    assert!(refused(&broker, &["group", "seek", "g", "--to", "1"]).contains("name a --topic"));
    assert_eq!(
        seek(&["--to", "earliest", "-t", "t", "-p", "0"]),
        (None, Some(0), None)
    );
    assert_eq!(seek(&["--to", "7"]), (Some(0), Some(7), None));
    assert_eq!(
        seek(&["--shift", "-2", "--dry-run"]),
        (Some(7), Some(5), None)
    );
    assert_eq!(seek(&["--shift", "-2"]), (Some(7), Some(5), None));
    assert_eq!(seek(&["--to-time", &before]), (Some(5), Some(4), None));
    assert_eq!(seek(&["--to-time", "-1h"]).1, Some(0));
    let (_, after, note) = seek(&["--to-time", "+1h"]);
    assert_eq!(
        (after, note.unwrap().contains("no record is that late")),
        (Some(10), true)
    );
    let (_, after, note) = seek(&["--shift", "5"]);
    assert_eq!(
        (after, note.unwrap().as_str()),
        (Some(10), "beyond the end")
    );
    assert_eq!(seek(&["--to", "latest"]).1, Some(10));
    for (wrong, why) in [
        (&["--to", "1", "-t", "nope"][..], "no topic nope"),
        (&["--to", "1", "-t", "t", "-p", "9"], "no partition 9"),
        (&["--to", "1", "-p", "0"], "of one --topic"),
        (&["--to-time", "tomorrow"], "tomorrow"),
    ] {
        let said = refused(&broker, &[&["group", "seek", "g"], wrong].concat());
        assert!(said.contains(why), "{wrong:?}: {said}");
    }
    let usage = ctl::run(
        &broker,
        &["group", "seek", "g", "--to", "1", "--shift", "1"],
    )
    .unwrap();
    assert_eq!(usage.status.code(), Some(2));

    let gone = ctl::run(&broker, &["group", "delete", "g", "nobody", "-o", "json"]).unwrap();
    let said = String::from_utf8(gone.stdout).unwrap();
    assert_eq!(gone.status.code(), Some(1), "{said}");
    assert!(
        said.contains(r#"{"group":"g","done":true,"error":null}"#),
        "{said}"
    );
    assert!(said.contains("there is no such group"), "{said}");
    assert_eq!(rows(&broker, &["group", "list"]).len(), 0);
}

/// The example of docs/groups.md.
#[tokio::test]
async fn held_records_are_no_lag_and_their_offsets_count_until_they_are_passed() {
    let broker = Broker::start(&SETTINGS).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    produce(&broker, "0", 21);
    let lag = || rows(&broker, &["group", "list"])[0]["lag"].as_i64();
    rows(
        &broker,
        &["group", "seek", "g", "--to", "latest", "-t", "t"],
    );
    assert_eq!(lag(), Some(0));
    for _ in 0..3 {
        rows(
            &broker,
            &[
                "produce",
                "t",
                "-p",
                "0",
                "-v",
                "x",
                "--deliver-after",
                "1h",
            ],
        );
    }
    assert_eq!(lag(), Some(0), "what waits is no lag");
    produce(&broker, "0", 1);
    assert_eq!(lag(), Some(4), "three reserved offsets and a record");
    let consumer = member(&broker, "g");
    read(&consumer, 1);
    assert_eq!(lag(), Some(0), "all is read");
    let (_, page) = tool::http_get(&broker.http, "/metrics").unwrap();
    let told = r#"chronos_group_lag_offsets{group="g",topic="t"} 0"#;
    assert!(page.contains(told), "{page}");
}

/// Until a broker has transactions, the command names the API that is missing.
#[tokio::test]
async fn an_open_transaction_is_listed_described_and_aborted() {
    let broker = Broker::start(&SETTINGS).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    let asked = ctl::run(&broker, &["txn", "list"]).unwrap();
    if !asked.status.success() {
        let said = String::from_utf8_lossy(&asked.stderr);
        assert!(said.contains("does not offer ListTransactions"), "{said}");
        eprintln!("SKIPPED: this broker does not advertise ListTransactions");
        return;
    }
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &broker.kafka)
        .set("transactional.id", "pay-1")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let record = BaseRecord::<(), _>::to("t").partition(0).payload("x");
    producer.send(record).unwrap();
    producer.flush(PATIENCE).unwrap();

    let listed = rows(&broker, &["txn", "list", "--state", "Ongoing"]);
    assert_eq!(listed[0]["transactional_id"], "pay-1");
    assert_eq!(
        rows(&broker, &["txn", "list", "--older-than", "1h"]).len(),
        0
    );
    let described = rows(&broker, &["txn", "describe", "pay-1"]);
    assert_eq!(described[0]["partitions"], serde_json::json!(["t-0"]));
    assert_eq!(described[0]["producer_id"], listed[0]["producer_id"]);
    let find = [
        "txn",
        "find-hanging",
        "-t",
        "t",
        "--max-transaction-timeout",
        "0s",
    ];
    assert_eq!(rows(&broker, &find).len(), 0, "its coordinator knows of it");
    assert!(refused(&broker, &["txn", "describe", "nobody"]).contains("no such transactional id"));

    let place = ["txn", "abort", "-t", "t", "-p", "0", "--start-offset"];
    let wrong = refused(&broker, &[&place[..], &["77"]].concat());
    assert!(wrong.contains("no open transaction of t-0"), "{wrong}");
    let aborted = rows(&broker, &[&place[..], &["0"]].concat());
    assert_eq!(aborted[0]["aborted"], true);
    let again = refused(&broker, &[&place[..], &["0"]].concat());
    assert!(again.contains("no open transaction"), "{again}");
}
