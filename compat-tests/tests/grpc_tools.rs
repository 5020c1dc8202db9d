//! The gRPC API with a stock tool, buf: its files pass lint and do not break what was released; every method is called through
//! reflection, as somebody does who has no files.
#![expect(clippy::print_stdout, reason = "a test says what it skips")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::{path::Path, process::Command, time::Duration};

use anyhow::Context;
use compat_tests::{client, cluster::Broker, tool};
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::FutureRecord,
};
use serde_json::{Value, json};

/// buf in `proto/`, or why not: a desk without Node.js skips, CI does not.
fn buf(args: &[&str]) -> anyhow::Result<Option<String>> {
    let buf = match tool::buf() {
        Ok(buf) => buf,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            println!("skipped: {why}");
            return Ok(None);
        }
    };
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let mut command = Command::new(buf);
    command.args(args).current_dir(proto);
    tool::run(&mut command).map(Some)
}

#[test]
fn the_files_pass_lint_and_break_nothing_that_was_released() {
    buf(&["lint"]).unwrap();
    buf(&["breaking", "--against", "baseline.binpb"]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_answers_through_reflection() {
    let broker = Broker::start(&[]).unwrap();
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    let producer = client::producer(&broker.kafka, Duration::from_secs(10)).unwrap();
    let due = tool::now_ms() + 3_600_000;
    let mut names = Vec::new();
    for i in 0..6 {
        let id = client::send_held(&producer, "t", &format!("v{i}"), due)
            .await
            .unwrap();
        names.push(format!("topics/t/partitions/0/scheduledMessages/{id}"));
    }
    let api = format!("http://{}/chronos.admin.v1", broker.grpc);
    let curl = |method: &str, body: &Value| -> Option<Value> {
        let said = buf(&[
            "curl",
            "--protocol",
            "grpc",
            "--http2-prior-knowledge",
            "-d",
            &body.to_string(),
            &format!("{api}.{method}"),
        ])
        .unwrap()?;
        // Of a stream, the first answer.
        let mut answers = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
        Some(answers.next().unwrap().unwrap())
    };
    let at = json!({"topic": "t"});
    let tomorrow = "2099-01-01T00:00:00Z";
    let Some(listed) = curl(
        "ScheduleService/ListScheduledMessages",
        &json!({"filter": at, "pageSize": 4}),
    ) else {
        return;
    };
    assert_eq!(listed["messages"].as_array().unwrap().len(), 4);
    let ask = |method: &str, body: Value| curl(method, &body).unwrap();
    let got = ask(
        "ScheduleService/GetScheduledMessage",
        json!({"name": names[0]}),
    );
    assert_eq!(got["message"]["value"], "djA=", "{got}");
    let moved = ask(
        "ScheduleService/RescheduleScheduledMessage",
        json!({"name": names[0], "deliverTime": "2027-01-01T00:00:00Z"}),
    );
    assert_eq!(moved["deliverTime"], "2027-01-01T00:00:00Z");
    let cancelled = ask(
        "ScheduleService/CancelScheduledMessages",
        json!({"topic": "t", "partition": 0, "scheduleIds": ["1"]}),
    );
    let result = &cancelled["outcomes"][0]["result"];
    assert_eq!(*result, "CANCEL_RESULT_CANCELLED", "{cancelled}");
    ask(
        "ScheduleService/DeliverScheduledMessageNow",
        json!({"name": names[2]}),
    );
    let filter = json!({"topic": "t", "deliverBefore": tomorrow});
    let matched = ask(
        "ScheduleService/BatchCancelScheduledMessages",
        json!({"filter": filter, "dryRun": true}),
    );
    assert!(matched["cancelled"].is_null(), "{matched}");
    let stats = ask("ScheduleService/GetScheduleStats", at.clone());
    assert!(stats["pending"].as_str().is_some(), "{stats}");

    dedup_and_replay(&broker, &ask);

    none_is_left_out(&broker);
    // A stream without an end: the first answer is enough.
    let first = watch(&broker).unwrap();
    assert_eq!(first["pending"], "4", "{first}");
}

/// What is called here is all that there is.
fn none_is_left_out(broker: &Broker) {
    let methods = buf(&[
        "curl",
        "--http2-prior-knowledge",
        "--protocol",
        "grpc",
        "--list-methods",
        &format!("http://{}", broker.grpc),
    ])
    .unwrap()
    .unwrap();
    for method in [
        "ScheduleService/ListScheduledMessages",
        "ScheduleService/GetScheduledMessage",
        "ScheduleService/RescheduleScheduledMessage",
        "ScheduleService/CancelScheduledMessages",
        "ScheduleService/DeliverScheduledMessageNow",
        "ScheduleService/BatchCancelScheduledMessages",
        "ScheduleService/GetScheduleStats",
        "ScheduleService/WatchSchedule",
        "DedupService/CheckMessageIds",
        "DedupService/LookupMessageId",
        "DedupService/ForgetMessageIds",
        "DedupService/GetDedupStats",
        "ReplayService/StreamReplay",
        "ReplayService/CreateReplayJob",
        "ReplayService/GetReplayJob",
        "ReplayService/ListReplayJobs",
        "ReplayService/WatchReplayJob",
        "ReplayService/PauseReplayJob",
        "ReplayService/ResumeReplayJob",
        "ReplayService/CancelReplayJob",
        "ReplayService/DeleteReplayJob",
    ] {
        let path = format!("chronos.admin.v1.{method}");
        assert!(methods.contains(&path), "{path}: {methods}");
    }
    let ours = methods.lines().filter(|m| m.contains("chronos.admin"));
    assert_eq!(
        ours.count(),
        21,
        "a new method wants a call here: {methods}"
    );
}

/// What was produced has a message id: it is taken, until it is forgotten; and it can be replayed.
fn dedup_and_replay(broker: &Broker, ask: &dyn Fn(&str, Value) -> Value) {
    let producer = client::producer(&broker.kafka, Duration::from_secs(10)).unwrap();
    let headers = OwnedHeaders::new().insert(Header {
        key: "chronos-message-id",
        value: Some("one"),
    });
    let record = FutureRecord::<(), _>::to("t").payload("v").headers(headers);
    let sent = futures::executor::block_on(producer.send(record, Duration::from_secs(10)));
    let offset = sent.unwrap().offset.to_string();
    // Base64 of "one".
    let ids = json!({"topic": "t", "messageIds": ["b25l"]});
    let checked = ask("DedupService/CheckMessageIds", ids.clone());
    assert_eq!(
        checked["uses"][0]["state"], "MESSAGE_ID_STATE_TAKEN",
        "{checked}"
    );
    let found = ask(
        "DedupService/LookupMessageId",
        json!({"topic": "t", "messageId": "b25l"}),
    );
    assert_eq!(found["uses"][0]["offset"], offset.as_str(), "{found}");
    let forgotten = ask("DedupService/ForgetMessageIds", ids.clone());
    assert_eq!(
        forgotten["uses"][0]["state"], "MESSAGE_ID_STATE_TAKEN",
        "{forgotten}"
    );
    let checked = ask("DedupService/CheckMessageIds", ids);
    assert_eq!(
        checked["uses"][0]["state"], "MESSAGE_ID_STATE_FREE",
        "{checked}"
    );
    let stats = ask("DedupService/GetDedupStats", json!({}));
    assert_eq!(stats["topics"][0]["misses"], "1", "{stats}");
    let replayed = ask(
        "ReplayService/StreamReplay",
        json!({"topic": "t", "filter": {"messageId": "one"}}),
    );
    assert_eq!(
        replayed["records"][0]["offset"],
        offset.as_str(),
        "{replayed}"
    );
}

/// The first answer of the stream, which has no end of its own.
fn watch(broker: &Broker) -> anyhow::Result<Value> {
    let url = format!(
        "http://{}/chronos.admin.v1.ScheduleService/WatchSchedule",
        broker.grpc
    );
    let mut command = Command::new("timeout");
    command
        .arg("3")
        .arg(tool::buf()?)
        .args([
            "curl",
            "--protocol",
            "grpc",
            "--http2-prior-knowledge",
            "-d",
        ])
        .args([r#"{"interval": "0.1s"}"#, &url]);
    let said = command.output()?.stdout;
    let said = String::from_utf8(said)?;
    let answers = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
    answers.flatten().next().context("no answer")
}
