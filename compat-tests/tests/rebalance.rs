//! Ten members of a group that join, leave and die in random order, by each protocol: `Rebalance` of the Java suite, which checks them.
//! `CHRONOS_REBALANCE_SECONDS` is how long each protocol runs, `CHRONOS_SEED` what the order comes from.
#![expect(clippy::print_stdout, reason = "counts and seeds are the result")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::process::Command;

use compat_tests::cluster::Broker;

fn setting(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

/// What `scripts/clients.sh` made of the Java suite.
fn java() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"),
        PathBuf::from,
    );
    cache.join("chronosdb/clients/java")
}

/// What the program said; `None` without Java.
fn run(protocol: &str, seconds: &str, more: &[&str]) -> Option<(bool, String)> {
    let java = java();
    if !java.join(".done").exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "the Java suite is not there: see scripts/clients.sh"
        );
        println!("skipped: the Java suite is not there");
        return None;
    }
    let broker = Broker::start(&[
        "group.initial.rebalance.delay.ms=0",
        "group.min.session.timeout.ms=1000",
        "group.consumer.min.heartbeat.interval.ms=500",
        "group.consumer.heartbeat.interval.ms=500",
        "group.consumer.min.session.timeout.ms=3000",
        "group.consumer.session.timeout.ms=3000",
    ])
    .unwrap();
    let output = Command::new("java")
        .arg("-cp")
        .arg(format!("{0}/classes:{0}/deps/*", java.display()))
        .args(["Rebalance", &broker.kafka, protocol])
        .args([seconds, &setting("CHRONOS_SEED", "1")])
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let all = format!(
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        broker.log()
    );
    Some((output.status.success(), all))
}

fn holds(protocol: &str) {
    let seconds = setting("CHRONOS_REBALANCE_SECONDS", "30");
    if let Some((success, said)) = run(protocol, &seconds, &[]) {
        assert!(success && said.contains(" 0 violations"), "{said}");
    }
}

/// The checks themselves: a member reads again what was committed.
#[test]
fn a_member_that_goes_back_is_noticed() {
    if let Some((success, said)) = run("eager", "5", &["spoiled"]) {
        assert!(!success && said.contains("was committed"), "{said}");
    }
}

#[test]
fn eager() {
    holds("eager");
}

#[test]
fn cooperative() {
    holds("cooperative");
}

#[test]
fn the_consumer_protocol() {
    holds("consumer");
}
