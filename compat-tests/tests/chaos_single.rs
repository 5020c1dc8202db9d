//! SIGKILL of the broker under groups, transactions, a copier, zombies and late requests: a few rounds of `make chaos-single`.
#![expect(clippy::print_stdout, reason = "the counts are what the run is for")]

use std::process::Command;

use compat_tests::{cluster, tool};

#[test]
fn nothing_is_lost_doubled_or_torn_when_the_broker_is_killed_again_and_again() {
    let rounds = tool::setting("CHRONOS_CHAOS_ROUNDS", 4).to_string();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/faults/chaos_single.py");
    let mut command = Command::new(tool::python().unwrap());
    command.args(["-B", program, "--rounds", &rounds]);
    command.env("CHRONOSDB_BIN", cluster::binary().unwrap());
    println!("{}", tool::run(&mut command).unwrap());
}
