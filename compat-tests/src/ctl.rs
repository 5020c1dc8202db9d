//! `chronosctl` against a broker, as a person or a script uses it.

use std::process::{Command, Output};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::cluster::{Broker, binary};

/// Runs it to its end, whatever that is.
pub fn run(broker: &Broker, args: &[&str]) -> anyhow::Result<Output> {
    Command::new(binary()?.with_file_name("chronosctl"))
        .args(["--bootstrap", &broker.kafka, "--admin", &broker.grpc])
        .args(args)
        .output()
        .context("starting chronosctl")
}

/// What it printed; it must have succeeded.
pub fn text(broker: &Broker, args: &[&str]) -> anyhow::Result<String> {
    let done = run(broker, args)?;
    let said = String::from_utf8(done.stdout)?;
    let complained = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{args:?}: {said}{complained}");
    Ok(said)
}

/// What it printed as JSON, a value a line; it must have succeeded.
pub fn rows(broker: &Broker, args: &[&str]) -> anyhow::Result<Vec<Value>> {
    let said = text(broker, &[args, &["-o", "json"]].concat())?;
    let lines = said.lines();
    lines
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

/// What it complained of; it must have failed, and not for its usage.
pub fn refused(broker: &Broker, args: &[&str]) -> anyhow::Result<String> {
    let done = run(broker, args)?;
    let said = String::from_utf8([done.stdout, done.stderr].concat())?;
    ensure!(
        done.status.code() == Some(1),
        "{args:?}: {} {said}",
        done.status
    );
    Ok(said)
}
