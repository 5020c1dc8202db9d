//! Kafka Streams under `exactly_once_v2`, it and the broker killed once: what `make soak` does ten times.
#![expect(clippy::print_stdout, reason = "the counts are what the run is for")]

use std::process::Command;

use compat_tests::{cluster, tool};

#[test]
fn totals_of_words_are_exact_when_streams_and_broker_are_killed() {
    let rounds = tool::setting("CHRONOS_STREAMS_ROUNDS", 1).to_string();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/streams/word_count.py");
    let mut command = Command::new(tool::python().unwrap());
    command.args(["-B", program, "--rounds", &rounds]);
    command.env("CHRONOSDB_BIN", cluster::binary().unwrap());
    println!("{}", tool::run(&mut command).unwrap());
}
