//! Other clients' suites: the same scenarios in Python (confluent-kafka, librdkafka inside) and Java (kafka-clients).
#![expect(clippy::print_stdout, reason = "what each scenario said")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use compat_tests::{cluster::Broker, tool};

/// Runs a suite, whose last line says how many scenarios passed and failed.
fn run(command: &mut Command, broker: &Broker) {
    let output = command.arg(&broker.kafka).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(
        output.status.success() && said.lines().any(|line| line.ends_with(" 0 failed")),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        broker.log()
    );
}

#[test]
fn confluent_kafka_for_python() {
    let broker = Broker::start(&[]).unwrap();
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/suites/python/suite.py");
    run(
        Command::new(tool::python().unwrap()).arg("-B").arg(suite),
        &broker,
    );
}

#[test]
fn kafka_clients_for_java() {
    let broker = Broker::start(&[]).unwrap();
    let class_path = tool::java_class_path().unwrap();
    run(
        Command::new("java").args(["-cp", &class_path, "Suite"]),
        &broker,
    );
}
