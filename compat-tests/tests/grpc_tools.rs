//! The gRPC API with two tools that know it by its description alone: buf, and `chronosctl rpc`. Its files pass lint and do not break
//! what was released; every method is called by both.
#![expect(clippy::print_stdout, reason = "a test says what it skips")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

use std::{cell::RefCell, collections::BTreeSet, path::Path, process::Command, time::Duration};

use anyhow::Context;
use compat_tests::{
    client,
    cluster::{Broker, binary},
    tool,
};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, CommitMode, Consumer},
    message::{Header, OwnedHeaders},
    producer::FutureRecord,
};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(10);

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

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    Buf,
    Chronosctl,
}

/// A tool that calls methods of a node, and remembers which.
struct Caller<'a> {
    tool: Tool,
    broker: &'a Broker,
    called: RefCell<BTreeSet<String>>,
}

impl Caller<'_> {
    fn command(&self, method: &str, body: &Value) -> anyhow::Result<Command> {
        // A stream without an end is cut: the first answer is enough.
        let mut command = Command::new("timeout");
        command.arg(if method.contains("/Watch") { "3" } else { "30" });
        match self.tool {
            Tool::Buf => {
                let url = format!("http://{}/chronos.admin.v1.{method}", self.broker.grpc);
                command.arg(tool::buf()?).args(["curl", "--protocol"]);
                command.args(["grpc", "--http2-prior-knowledge", "-d"]);
                command.args([&body.to_string(), &url]);
            }
            Tool::Chronosctl => {
                command.arg(binary()?.with_file_name("chronosctl"));
                command.args(["--admin", &self.broker.grpc, "-o", "json"]);
                command.args(["rpc", method, &body.to_string()]);
            }
        }
        Ok(command)
    }

    /// The first answer, or what the tool complained of.
    fn call(&self, method: &str, body: &Value) -> anyhow::Result<Result<Value, String>> {
        self.called.borrow_mut().insert(method.to_owned());
        let output = self.command(method, body)?.output()?;
        let said = String::from_utf8(output.stdout)?;
        let mut answers = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
        Ok(match answers.next() {
            Some(answer) if output.status.success() || method.contains("/Watch") => Ok(answer?),
            // A message without fields.
            None if output.status.success() => Ok(json!({})),
            _ => Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr))),
        })
    }

    #[expect(clippy::needless_pass_by_value, reason = "bodies are written in place")]
    fn ask(&self, method: &str, body: Value) -> Value {
        let answer = self.call(method, &body).unwrap();
        assert!(answer.is_ok(), "{method} {body}: {answer:?}");
        answer.unwrap()
    }

    /// It is refused for that reason.
    #[expect(clippy::needless_pass_by_value, reason = "bodies are written in place")]
    fn refused(&self, method: &str, body: Value, reason: &str) {
        let answer = self.call(method, &body).unwrap();
        // buf shows details as they are on the wire, and the code by its name.
        let is_told = |why: &String| why.contains("\"google.rpc.ErrorInfo\"");
        let has_reason = |why: &String| match self.tool {
            Tool::Buf => is_told(why),
            Tool::Chronosctl => why.contains(reason),
        };
        assert!(
            answer.as_ref().is_err_and(has_reason),
            "{method} {body}: {answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buf_calls_every_method_through_reflection() {
    if let Err(why) = tool::buf() {
        assert!(std::env::var_os("CI").is_none(), "{why}");
        println!("skipped: {why}");
        return;
    }
    every_method(Tool::Buf).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chronosctl_calls_every_method() {
    every_method(Tool::Chronosctl).await;
}

async fn every_method(tool: Tool) {
    let broker = Broker::start(&[]).unwrap();
    let caller = Caller {
        tool,
        broker: &broker,
        called: RefCell::default(),
    };
    topics(&caller);
    client::create_topic(&broker.kafka, "t", &[]).await.unwrap();
    held(&caller).await;
    message_ids(&caller).await;
    replay(&caller).await;
    groups(&caller).await;
    cluster(&caller);
    maintenance(&caller);
    assert_eq!(*caller.called.borrow(), all_methods(&broker));
}

/// What there is, by the node's own account.
fn all_methods(broker: &Broker) -> BTreeSet<String> {
    let mut command = Command::new(binary().unwrap().with_file_name("chronosctl"));
    let said = tool::run(command.args(["rpc", "-o", "json", "--admin", &broker.grpc])).unwrap();
    let rows = said.lines().map(|line| serde_json::from_str(line).unwrap());
    let names = rows.map(|row: Value| row["method"].as_str().unwrap().to_owned());
    let names: BTreeSet<String> = names.collect();
    assert!(names.len() > 40, "{names:?}");
    names
}

/// A group that nobody was ever in, on a node without groups.
fn a_first_group(caller: &Caller<'_>) {
    let dry = json!({"groupId": "first", "topics": ["made"], "offset": "0", "dryRun": true});
    let would = caller.ask("GroupService/ResetGroupOffsets", dry);
    assert_eq!(would["resets"].as_array().unwrap().len(), 4, "{would}");
    let begin = json!({"groupId": "first", "topics": ["made"], "place": "GROUP_PLACE_START"});
    caller.ask("GroupService/ResetGroupOffsets", begin);
    let told = caller.ask("GroupService/GetGroup", json!({"groupId": "first"}));
    assert_eq!(
        told["group"]["offsets"].as_array().unwrap().len(),
        4,
        "{told}"
    );
    caller.ask("GroupService/DeleteGroup", json!({"groupId": "first"}));
    let inner = json!({"topic": "__consumer_offsets", "partition": 0, "dryRun": true});
    caller.refused(
        "TopicService/TruncatePartition",
        inner,
        "INVALID_TOPIC_EXCEPTION",
    );
}

fn topics(caller: &Caller<'_>) {
    let make = json!({"topic": "made", "partitionCount": 2, "settings": {"retention.ms": "7000"},
        "requestId": "make-1"});
    let check = json!({"topic": "made", "partitionCount": 2, "validateOnly": true});
    let would = caller.ask("TopicService/CreateTopic", check);
    assert_eq!(would["topic"]["partitionCount"], 2, "{would}");
    caller.refused(
        "TopicService/GetTopic",
        json!({"topic": "made"}),
        "TOPIC_NOT_FOUND",
    );
    let made = caller.ask("TopicService/CreateTopic", make.clone());
    let id = made["topic"]["topicId"].as_str().unwrap().to_owned();
    assert_eq!(
        caller.ask("TopicService/CreateTopic", make),
        made,
        "a repeated request"
    );
    let again = json!({"topic": "made"});
    caller.refused("TopicService/CreateTopic", again, "TOPIC_ALREADY_EXISTS");
    for (wrong, reason) in [
        (json!({"topic": "a/b"}), "INVALID_TOPIC_EXCEPTION"),
        (
            json!({"topic": "a", "partitionCount": 0}),
            "INVALID_PARTITIONS",
        ),
        (
            json!({"topic": "a", "replicationFactor": 3}),
            "INVALID_REPLICATION_FACTOR",
        ),
        (
            json!({"topic": "a", "replicationFactor": 99_999}),
            "INVALID_ARGUMENT",
        ),
        (
            json!({"topic": "a", "settings": {"no.such": "1"}}),
            "INVALID_CONFIG",
        ),
    ] {
        caller.refused("TopicService/CreateTopic", wrong, reason);
    }
    let got = caller.ask("TopicService/GetTopic", json!({"topic": "made"}));
    let settings = got["topic"]["settings"].as_array().unwrap();
    let retention = settings
        .iter()
        .find(|s| s["name"] == "retention.ms")
        .unwrap();
    assert_eq!(retention["value"], "7000");
    assert_eq!(retention["source"], "SETTING_SOURCE_TOPIC");
    // Page by page, and the token is of no other request.
    caller.ask("TopicService/CreateTopic", json!({"topic": "other"}));
    let page = caller.ask("TopicService/ListTopics", json!({"pageSize": 1}));
    assert_eq!(page["topics"][0]["name"], "made", "{page}");
    let token = &page["nextPageToken"];
    let next = json!({"pageSize": 1, "pageToken": token});
    let next = caller.ask("TopicService/ListTopics", next);
    assert_eq!(next["topics"][0]["name"], "other", "{next}");
    let crossed = json!({"pageToken": token, "prefix": "m"});
    caller.refused("TopicService/ListTopics", crossed, "INVALID_ARGUMENT");
    // All or none.
    let half = json!({"topic": "made", "set": {"retention.ms": "8000", "segment.bytes": "-7"}});
    caller.refused("TopicService/UpdateTopicConfig", half, "INVALID_CONFIG");
    let change =
        json!({"topic": "made", "set": {"max.message.bytes": "9000"}, "reset": ["retention.ms"]});
    let changed = caller.ask("TopicService/UpdateTopicConfig", change);
    let value = |topic: &Value, name: &str| {
        let settings = topic["topic"]["settings"].as_array().unwrap();
        let found = settings.iter().find(|s| s["name"] == name).unwrap();
        found["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(value(&changed, "max.message.bytes"), "9000");
    assert_eq!(value(&changed, "retention.ms"), "604800000");
    let fewer = json!({"topic": "made", "partitionCount": 1});
    caller.refused("TopicService/AddPartitions", fewer, "INVALID_PARTITIONS");
    let more = json!({"topic": "made", "partitionCount": 4});
    let grown = caller.ask("TopicService/AddPartitions", more);
    assert_eq!(grown["topic"]["partitionCount"], 4);
    let of_made = json!({"topic": "made"});
    let listed = caller.ask("TopicService/ListPartitions", of_made);
    assert_eq!(listed["partitions"].as_array().unwrap().len(), 4);
    let none = json!({"topic": "made", "partition": 4});
    caller.refused("TopicService/GetPartition", none, "TOPIC_NOT_FOUND");
    records_of_a_topic(caller);
    a_first_group(caller);
    let another = json!({"topic": "made", "topicId": "00000000-0000-0000-0000-000000000000"});
    caller.refused("TopicService/DeleteTopic", another, "TOPIC_ID_DIFFERS");
    let gone = json!({"topic": "made", "topicId": id, "requestId": "gone-1"});
    let first = caller.ask("TopicService/DeleteTopic", gone.clone());
    assert_eq!(
        caller.ask("TopicService/DeleteTopic", gone),
        first,
        "a repeated request"
    );
    caller.refused(
        "TopicService/DeleteTopic",
        json!({"topic": "made"}),
        "TOPIC_NOT_FOUND",
    );
    caller.ask("TopicService/DeleteTopic", json!({"topic": "other"}));
}

/// Three records a second apart: where a time is, and what is left when the first are deleted.
fn records_of_a_topic(caller: &Caller<'_>) {
    let producer = client::producer(&caller.broker.kafka, PATIENCE).unwrap();
    let base = tool::now_ms() / 1_000 * 1_000 - 60_000;
    for i in 0..3 {
        let record = FutureRecord::<(), _>::to("made").payload("v").partition(1);
        let sent = producer.send(record.timestamp(base + i * 1_000), PATIENCE);
        futures::executor::block_on(sent).unwrap();
    }
    let time = prost_types::Timestamp {
        seconds: base / 1_000 + 1,
        nanos: 0,
    };
    let time = time.to_string();
    let ask = json!({"topic": "made", "partitions": [1, 0], "time": time});
    let found = caller.ask("TopicService/ListOffsetsForTimes", ask);
    assert_eq!(found["offsets"][1]["offset"], "1", "{found}");
    assert!(found["offsets"][0]["offset"].is_null(), "{found}");
    let dry = json!({"topic": "made", "partition": 1, "beforeOffset": "2", "dryRun": true});
    let would = caller.ask("TopicService/TruncatePartition", dry);
    assert_eq!(would["logStartOffset"], "2");
    let partition = json!({"topic": "made", "partition": 1});
    let start = |caller: &Caller<'_>| {
        let got = caller.ask("TopicService/GetPartition", partition.clone());
        let start = &got["partition"]["logStartOffset"];
        start.as_str().unwrap_or("0").to_owned()
    };
    assert_eq!(start(caller), "0");
    let far = json!({"topic": "made", "partition": 1, "beforeOffset": "9"});
    caller.refused("TopicService/TruncatePartition", far, "OFFSET_OUT_OF_RANGE");
    let cut = json!({"topic": "made", "partition": 1, "beforeOffset": "2"});
    caller.ask("TopicService/TruncatePartition", cut);
    assert_eq!(start(caller), "2");
}

async fn held(caller: &Caller<'_>) {
    let producer = client::producer(&caller.broker.kafka, PATIENCE).unwrap();
    let due = tool::now_ms() + 3_600_000;
    let mut names = Vec::new();
    for i in 0..6 {
        let id = client::send_held(&producer, "t", &format!("v{i}"), due)
            .await
            .unwrap();
        names.push(format!("topics/t/partitions/0/scheduledMessages/{id}"));
    }
    let at = json!({"topic": "t"});
    let list = json!({"filter": at, "pageSize": 4});
    let listed = caller.ask("ScheduleService/ListScheduledMessages", list);
    assert_eq!(listed["messages"].as_array().unwrap().len(), 4);
    let first = json!({"name": names[0]});
    let got = caller.ask("ScheduleService/GetScheduledMessage", first);
    assert_eq!(got["message"]["value"], "djA=", "{got}");
    let later = prost_types::Timestamp {
        seconds: due / 1_000 + 3_600,
        nanos: 0,
    };
    let later = later.to_string();
    let moved = caller.ask(
        "ScheduleService/RescheduleScheduledMessage",
        json!({"name": names[0], "deliverTime": later}),
    );
    assert_eq!(moved["deliverTime"], later);
    let cancelled = caller.ask(
        "ScheduleService/CancelScheduledMessages",
        json!({"topic": "t", "partition": 0, "scheduleIds": ["1"]}),
    );
    let result = &cancelled["outcomes"][0]["result"];
    assert_eq!(*result, "CANCEL_RESULT_CANCELLED", "{cancelled}");
    let third = json!({"name": names[2]});
    caller.ask("ScheduleService/DeliverScheduledMessageNow", third);
    let filter = json!({"topic": "t", "deliverBefore": "2099-01-01T00:00:00Z"});
    let matched = caller.ask(
        "ScheduleService/BatchCancelScheduledMessages",
        json!({"filter": filter, "dryRun": true}),
    );
    assert!(
        matched["cancelled"].is_null() || matched["cancelled"] == "0",
        "{matched}"
    );
    let stats = caller.ask("ScheduleService/GetScheduleStats", at);
    assert!(stats["pending"].as_str().is_some(), "{stats}");
    let every = json!({"interval": "0.1s"});
    let first = caller.ask("ScheduleService/WatchSchedule", every);
    assert_eq!(first["pending"], "4", "{first}");
}

/// A record that has an id: it is taken, until it is forgotten.
async fn message_ids(caller: &Caller<'_>) {
    let producer = client::producer(&caller.broker.kafka, PATIENCE).unwrap();
    let headers = OwnedHeaders::new().insert(Header {
        key: "chronos-message-id",
        value: Some("one"),
    });
    let record = FutureRecord::<(), _>::to("t").payload("v").headers(headers);
    let sent = producer.send(record, PATIENCE).await;
    let offset = sent.unwrap().offset.to_string();
    // Base64 of "one".
    let ids = json!({"topic": "t", "messageIds": ["b25l"]});
    let checked = caller.ask("DedupService/CheckMessageIds", ids.clone());
    let state = |answer: &Value| answer["uses"][0]["state"].as_str().unwrap().to_owned();
    assert_eq!(state(&checked), "MESSAGE_ID_STATE_TAKEN", "{checked}");
    let one = json!({"topic": "t", "messageId": "b25l"});
    let found = caller.ask("DedupService/LookupMessageId", one);
    assert_eq!(found["uses"][0]["offset"], offset.as_str(), "{found}");
    let forgotten = caller.ask("DedupService/ForgetMessageIds", ids.clone());
    assert_eq!(state(&forgotten), "MESSAGE_ID_STATE_TAKEN", "{forgotten}");
    let checked = caller.ask("DedupService/CheckMessageIds", ids);
    assert_eq!(state(&checked), "MESSAGE_ID_STATE_FREE", "{checked}");
    let stats = caller.ask("DedupService/GetDedupStats", json!({}));
    assert_eq!(stats["topics"][0]["misses"], "1", "{stats}");
    let replay = json!({"topic": "t", "filter": {"messageId": "one"}});
    let replayed = caller.ask("ReplayService/StreamReplay", replay);
    assert_eq!(
        replayed["records"][0]["offset"],
        offset.as_str(),
        "{replayed}"
    );
}

async fn replay(caller: &Caller<'_>) {
    let kafka = &caller.broker.kafka;
    client::create_topic(kafka, "again", &[]).await.unwrap();
    // More than it appends while it is looked at.
    let producer = client::producer(kafka, PATIENCE).unwrap();
    for _ in 0..100 {
        let record = FutureRecord::<(), _>::to("t").payload("v");
        producer.send(record, PATIENCE).await.unwrap();
    }
    let job = json!({"jobId": "j", "topic": "t", "targetTopic": "again", "recordsPerSecond": "1"});
    let made = caller.ask("ReplayService/CreateReplayJob", job);
    assert_eq!(made["job"]["jobId"], "j", "{made}");
    let same = json!({"jobId": "j"});
    let state = |method: &str| {
        let answer = caller.ask(&format!("ReplayService/{method}"), same.clone());
        answer["job"]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state("PauseReplayJob"), "REPLAY_JOB_STATE_PAUSED");
    assert_eq!(state("GetReplayJob"), "REPLAY_JOB_STATE_PAUSED");
    assert_eq!(state("WatchReplayJob"), "REPLAY_JOB_STATE_PAUSED");
    assert_eq!(state("ResumeReplayJob"), "REPLAY_JOB_STATE_RUNNING");
    let listed = caller.ask("ReplayService/ListReplayJobs", json!({}));
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(state("CancelReplayJob"), "REPLAY_JOB_STATE_CANCELLED");
    caller.ask("ReplayService/DeleteReplayJob", same.clone());
    caller.refused("ReplayService/GetReplayJob", same, "JOB_NOT_FOUND");
}

/// A group that reads two of three records and leaves.
async fn groups(caller: &Caller<'_>) {
    let kafka = &caller.broker.kafka;
    let producer = client::producer(kafka, PATIENCE).unwrap();
    client::create_topic(kafka, "read", &[]).await.unwrap();
    for _ in 0..3 {
        let record = FutureRecord::<(), _>::to("read").payload("v");
        producer.send(record, PATIENCE).await.unwrap();
    }
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", "readers")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    consumer.subscribe(&["read"]).unwrap();
    let mut read = Vec::new();
    while read.len() < 3 {
        if let Some(message) = consumer.poll(PATIENCE) {
            read.push(message.unwrap().detach());
        }
    }
    let mut places = rdkafka::TopicPartitionList::new();
    places
        .add_partition_offset("read", 0, rdkafka::Offset::Offset(2))
        .unwrap();
    consumer.commit(&places, CommitMode::Sync).unwrap();
    let long = json!({"groupId": "x".repeat(40_000), "topics": ["read"], "offset": "1"});
    caller.refused("GroupService/ResetGroupOffsets", long, "INVALID_ARGUMENT");
    let id = json!({"groupId": "readers"});
    let told = caller.ask("GroupService/GetGroup", id.clone());
    let group = &told["group"];
    assert_eq!(group["summary"]["state"], "Stable", "{told}");
    assert_eq!(group["lag"], "1", "{told}");
    assert_eq!(
        group["members"][0]["assignment"][0]["topic"], "read",
        "{told}"
    );
    let to_start = json!({"groupId": "readers", "place": "GROUP_PLACE_START", "requestId": "r"});
    caller.refused(
        "GroupService/ResetGroupOffsets",
        to_start.clone(),
        "NON_EMPTY_GROUP",
    );
    caller.refused("GroupService/DeleteGroup", id.clone(), "NON_EMPTY_GROUP");
    drop(consumer);
    let left = || {
        let told = caller.ask("GroupService/GetGroup", id.clone());
        let state = told["group"]["summary"]["state"]
            .as_str()
            .unwrap_or_default();
        (state == "Empty").then_some(()).context("it has members")
    };
    tool::eventually(PATIENCE, left).await.unwrap();
    let listed = caller.ask("GroupService/ListGroups", json!({"states": ["empty"]}));
    assert_eq!(listed["groups"][0]["groupId"], "readers", "{listed}");
    let wrong = json!({"groupId": "readers"});
    caller.refused("GroupService/ResetGroupOffsets", wrong, "INVALID_ARGUMENT");
    let dry = json!({"groupId": "readers", "shift": "-1", "dryRun": true});
    let would = caller.ask("GroupService/ResetGroupOffsets", dry);
    assert_eq!(would["resets"][0]["offset"], "1", "{would}");
    let reset = caller.ask("GroupService/ResetGroupOffsets", to_start.clone());
    assert_eq!(reset["resets"][0]["previousOffset"], "2", "{reset}");
    let again = caller.ask("GroupService/ResetGroupOffsets", to_start);
    assert_eq!(again, reset, "a repeated request");
    let told = caller.ask("GroupService/GetGroup", id.clone());
    assert_eq!(told["group"]["lag"], "3", "{told}");
    caller.ask("GroupService/DeleteGroup", id.clone());
    caller.refused("GroupService/GetGroup", id, "GROUP_ID_NOT_FOUND");
}

fn cluster(caller: &Caller<'_>) {
    let told = caller.ask("ClusterService/GetCluster", json!({}));
    assert_eq!(told["clusterId"].as_str().unwrap().len(), 22, "{told}");
    let nodes = caller.ask("ClusterService/ListNodes", json!({}));
    assert_eq!(nodes["nodes"][0]["controller"], true, "{nodes}");
    let node = caller.ask("ClusterService/GetNode", json!({}));
    let resident = node["node"]["state"]["residentBytes"].as_str().unwrap();
    assert!(resident.parse::<u64>().unwrap() > 1 << 20, "{node}");
    let none = json!({"nodeId": 77});
    caller.refused("ClusterService/GetNode", none, "NODE_NOT_FOUND");
    let two = json!({"pageSize": 2});
    let page = caller.ask("ClusterService/ListPartitionLeaders", two);
    assert_eq!(page["leaders"].as_array().unwrap().len(), 2, "{page}");
    let next = json!({"pageSize": 2, "pageToken": page["nextPageToken"]});
    let next = caller.ask("ClusterService/ListPartitionLeaders", next);
    assert_ne!(next["leaders"][0], page["leaders"][0]);
    let health = caller.ask("ClusterService/GetHealth", json!({}));
    // A machine whose disk is nearly full is told of.
    assert_ne!(health["status"], "HEALTH_STATUS_UNHEALTHY", "{health}");
    let raft = caller.ask("ClusterService/GetRaftStatus", json!({}));
    assert_eq!(raft["logEnd"], raft["applied"], "{raft}");
}

fn maintenance(caller: &Caller<'_>) {
    let version = caller.ask("MaintenanceService/GetVersion", json!({}));
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"), "{version}");
    let one = json!({"names": ["num.partitions"]});
    let config = caller.ask("MaintenanceService/GetConfig", one);
    assert_eq!(config["settings"][0]["value"], "1", "{config}");
    let none = json!({"names": ["no.such"]});
    caller.refused("MaintenanceService/GetConfig", none, "SETTING_NOT_FOUND");
    caller.ask("MaintenanceService/ReloadConfig", json!({"dryRun": true}));
    let change = json!({"logger": "storage", "level": "debug", "expireAfter": "3600s"});
    let changed = caller.ask("MaintenanceService/SetLogLevel", change);
    assert_eq!(changed["level"]["level"], "DEBUG", "{changed}");
    let levels = caller.ask("MaintenanceService/ListLogLevels", json!({}));
    let levels = levels["levels"].as_array().unwrap();
    let storage = levels.iter().find(|l| l["logger"] == "storage").unwrap();
    assert!(storage["expireTime"].is_string(), "{storage}");
    for (wrong, reason) in [
        (json!({"logger": "x", "level": "INFO"}), "LOGGER_NOT_FOUND"),
        (
            json!({"logger": "storage", "level": "LOUD"}),
            "INVALID_ARGUMENT",
        ),
        (
            json!({"logger": "storage", "expireAfter": "90000s"}),
            "INVALID_ARGUMENT",
        ),
    ] {
        caller.refused("MaintenanceService/SetLogLevel", wrong, reason);
    }
    let bundle = caller.ask("MaintenanceService/CreateSupportBundle", json!({}));
    // Base64 of a gzip's first bytes.
    assert!(
        bundle["chunk"].as_str().unwrap().starts_with("H4sI"),
        "{bundle}"
    );
}
