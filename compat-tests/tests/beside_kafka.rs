//! Apache Kafka as the measure: its answers to the same requests, and its own tools, unchanged.
#![expect(clippy::print_stdout, reason = "what each case or step said")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use compat_tests::{
    cluster::{self, Broker},
    tool,
};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg("-B").arg(format!("{HERE}/{script}"));
    command.env("CHRONOSDB_BIN", cluster::binary().unwrap());
    command
}

/// Every case in every version that both answer; each difference is listed in COMPAT.md with its reason.
#[test]
fn the_oracle_finds_no_difference_that_is_not_listed() {
    println!("{}", tool::run(&mut python("oracle/oracle.py")).unwrap());
}

#[test]
fn the_page_lists_the_oracles_differences() {
    let page = std::fs::read_to_string(format!("{HERE}/COMPAT.md")).unwrap();
    let section = tool::run(python("oracle/oracle.py").arg("--write-page")).unwrap();
    assert!(page.ends_with(&section), "{section}");
}

#[test]
fn kafkas_tools_work_unchanged() {
    let broker = Broker::start(&[]).unwrap();
    let mut tools = python("tools/kafka-tools.py");
    tools.arg(&broker.kafka);
    tools.args(["--without", "client-metrics"]);
    println!("{}", tool::run(&mut tools).unwrap());
}
