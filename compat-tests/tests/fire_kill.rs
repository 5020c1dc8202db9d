//! SIGKILL at syncs and writes of a fire, by strace: a few rounds of what `make soak` does two hundred times.
#![expect(clippy::print_stdout, reason = "the counts are what the run is for")]

use std::process::Command;

use compat_tests::{cluster, tool};

#[test]
fn killed_at_each_of_the_first_syncs_and_writes_of_a_fire() {
    let rounds = tool::setting("CHRONOS_FIRE_KILLS", 8).to_string();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/faults/fire_kill.py");
    let mut command = Command::new(tool::python().unwrap());
    command.args(["-B", program, "--rounds", &rounds]);
    command.env("CHRONOSDB_BIN", cluster::binary().unwrap());
    println!("{}", tool::run(&mut command).unwrap());
}
