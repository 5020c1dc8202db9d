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

fn holds(protocol: &str) {
    let java = java();
    if !java.join(".done").exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "the Java suite is not there: see scripts/clients.sh"
        );
        println!("skipped: the Java suite is not there");
        return;
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
        .arg(setting("CHRONOS_REBALANCE_SECONDS", "30"))
        .arg(setting("CHRONOS_SEED", "1"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(
        output.status.success() && said.contains(" 0 violations"),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        broker.log()
    );
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
