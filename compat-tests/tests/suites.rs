//! Other clients' suites: the scenarios of `suites/SCENARIOS.md` with each client, which `suites/run.py` starts.
#![expect(clippy::print_stdout, reason = "what each scenario said")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use compat_tests::cluster::Broker;

/// The exit code for a client whose toolchain is not there.
const NOT_THERE: i32 = 3;

fn passes(client: &str) {
    let broker = Broker::start(&[
        "group.initial.rebalance.delay.ms=0",
        // Often enough that a rebalance is noticed at once.
        "group.consumer.min.heartbeat.interval.ms=500",
        "group.consumer.heartbeat.interval.ms=500",
        "log.cleaner.backoff.ms=100",
    ])
    .unwrap();
    let output = Command::new("python3")
        .arg("-B")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/suites/run.py"))
        .args([&broker.kafka, client])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    if output.status.code() == Some(NOT_THERE) && std::env::var_os("CI").is_none() {
        return;
    }
    assert!(
        output.status.success() && said.contains(" passed, 0 failed"),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        broker.log()
    );
}

#[test]
fn confluent_kafka_for_python() {
    passes("confluent-kafka");
}

#[test]
fn kafka_python() {
    passes("kafka-python");
}

#[test]
fn aiokafka() {
    passes("aiokafka");
}

#[test]
fn kcat() {
    passes("kcat");
}

#[test]
fn kafkajs() {
    passes("kafkajs");
}

#[test]
fn kafka_clients_for_java() {
    passes("kafka-clients");
}

#[test]
fn franz_go() {
    passes("franz-go");
}

#[test]
fn sarama() {
    passes("sarama");
}
