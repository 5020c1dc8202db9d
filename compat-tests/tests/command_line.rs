//! `chronosctl` and `chronosdb` as a person or a script uses them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{process::Command, time::Duration};

use compat_tests::{
    cluster::{Broker, binary},
    ctl, tool,
};

fn ok(broker: &Broker, args: &[&str]) -> String {
    ctl::text(broker, args).unwrap()
}

#[test]
fn topics_are_created_listed_described_and_deleted() {
    let broker = Broker::start(&[]).unwrap();
    let create = [
        "topic",
        "create",
        "orders",
        "-p",
        "3",
        "-c",
        "max.message.bytes=5000",
    ];
    ok(&broker, &create);
    assert_eq!(
        ok(&broker, &["topic", "list", "-o", "json"]),
        "{\"topic\":\"orders\",\"partitions\":3}\n"
    );
    let described = ok(&broker, &["topic", "describe", "orders", "-o", "json"]);
    assert!(
        described.contains("\"max.message.bytes\":\"5000\""),
        "{described}"
    );
    assert!(described.contains("\"end_offset\":0"), "{described}");
    let again = ctl::run(&broker, &create).unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stdout).contains("already exists"));
    ok(&broker, &["topic", "delete", "orders"]);
    // Groups are kept in a topic of the node's own.
    assert_eq!(ok(&broker, &["topic", "list", "-o", "json"]), "");
    let internal = ok(&broker, &["topic", "list", "--internal", "-o", "json"]);
    assert!(internal.contains("__consumer_offsets"), "{internal}");
    let missing = ctl::run(&broker, &["topic", "describe", "orders"]).unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no topic orders"));
}

#[test]
fn records_are_produced_now_and_later_consumed_and_seen_in_the_wal() {
    let broker = Broker::start(&[]).unwrap();
    let produced = ok(
        &broker,
        &[
            "produce", "t", "-v", "now", "-k", "k", "-H", "a=b", "-o", "json",
        ],
    );
    assert_eq!(
        produced,
        "{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"held\":false}\n"
    );
    let later = [
        "produce",
        "t",
        "-v",
        "later",
        "--deliver-after",
        "1h",
        "--message-id",
        "m1",
    ];
    assert!(ok(&broker, &later).contains("held, schedule id 1"));
    let soon = (tool::now_ms() + 2_500).to_string();
    ok(
        &broker,
        &["produce", "t", "-v", "soon", "--deliver-at", &soon],
    );
    let consumed = ok(&broker, &["consume", "t", "-F", "-n", "2", "-o", "json"]);
    let lines: Vec<&str> = consumed.lines().collect();
    assert!(
        lines[0].contains(r#""key":"k","value":"now","headers":[["a","b"]]"#),
        "{consumed}"
    );
    assert!(lines[1].contains(r#""value":"soon""#) && lines[1].contains("chronos-due-at"));
    let end = ok(&broker, &["consume", "t", "--from", "1", "-o", "json"]);
    assert_eq!(end.lines().count(), 1, "the held record is nowhere: {end}");

    let folder = broker.data_dir().join("1/partitions/t-0");
    let folder = folder.to_string_lossy();
    let dumped = ok(
        &broker,
        &["-o", "json", "wal", "dump", &folder, "--records"],
    );
    let kinds: Vec<&str> = ["DATA", "HOLD", "FIRE"]
        .into_iter()
        .filter(|kind| dumped.contains(&format!("\"kind\":\"{kind}\"")))
        .collect();
    assert_eq!(kinds, ["DATA", "HOLD", "FIRE"], "{dumped}");
    let partitions = broker.data_dir().join("1/partitions");
    let verified = ok(
        &broker,
        &["-o", "json", "wal", "verify", &partitions.to_string_lossy()],
    );
    assert!(
        verified.contains("\"ok\":true") && verified.contains("\"held_records\":2"),
        "{verified}"
    );
}

#[test]
fn damage_is_found_by_wal_verify() {
    let mut broker = Broker::start(&[]).unwrap();
    ok(&broker, &["produce", "t", "-v", "one"]);
    ok(&broker, &["produce", "t", "-v", "two"]);
    broker.kill().unwrap();
    let folder = broker.data_dir().join("1/partitions/t-0");
    let segment = folder.join("segments/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let verify = ["-o", "json", "wal", "verify", &folder.to_string_lossy()];
    let output = ctl::run(&broker, &verify).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("checksum") && said.contains("at 64"),
        "{said}"
    );
}

#[test]
fn settings_are_printed_with_where_they_came_from() {
    let print = |args: &[&str]| {
        let output = Command::new(binary().unwrap())
            .args(["config", "print"])
            .args(args)
            .env("CHRONOS_NUM_PARTITIONS", "7")
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (code, printed) = print(&["--set", "message.max.bytes=9"]);
    assert_eq!(code, Some(0));
    for line in [
        "num.partitions = \"7\"  # environment",
        "message.max.bytes = \"9\"  # --set",
        "flush.policy = \"ack\"  # default",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    let (code, _) = print(&["--set", "message.max.bytes=x"]);
    assert_eq!(code, Some(2));
}

/// A graceful stop leaves nothing to recover.
#[test]
fn sigterm_ends_cleanly_and_the_next_start_scans_nothing() {
    let mut broker = Broker::start(&[]).unwrap();
    for i in 0..20 {
        ok(&broker, &["produce", "t", "-v", &i.to_string()]);
    }
    assert_eq!(broker.stop().unwrap().code(), Some(0));
    broker.restart().unwrap();
    assert!(!broker.log().contains("log recovered"), "{}", broker.log());
    let consumed = ok(&broker, &["consume", "t", "-o", "json"]);
    assert_eq!(consumed.lines().count(), 20);
}

/// What can change while the node runs is taken over, by SIGHUP and by command; where something does not hold, nothing is.
#[tokio::test]
async fn a_node_reads_its_file_again() {
    let broker = Broker::start_with_config("log.retention.ms = 3600000\n").unwrap();
    let write = |text: &str| std::fs::write(broker.config_path(), text).unwrap();
    let retention = || {
        let rows = ctl::rows(&broker, &["config", "get", "log.retention.ms"]).unwrap();
        rows[0]["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(retention(), "3600000");
    write("log.retention.ms = 7200000\nlog.dirs = \"/nowhere\"\n");
    let would = ctl::rows(&broker, &["config", "reload", "--dry-run"]).unwrap();
    assert_eq!(would.len(), 1, "a flag wins over the file: {would:?}");
    assert_eq!(retention(), "3600000");
    let pid = broker.pid().to_string();
    tool::run(Command::new("kill").args(["-HUP", &pid])).unwrap();
    tool::eventually(Duration::from_secs(10), || {
        anyhow::ensure!(retention() == "7200000");
        Ok(())
    })
    .await
    .unwrap();
    // A topic follows at once.
    ok(&broker, &["topic", "create", "t"]);
    let described = ok(&broker, &["topic", "describe", "t", "-o", "json"]);
    assert!(
        described.contains("\"retention.ms\":\"7200000\""),
        "{described}"
    );
    write("log.retention.ms = 1\nno.such = 1\n");
    let why = ctl::refused(&broker, &["config", "reload"]).unwrap();
    assert!(why.contains("unknown setting no.such"), "{why}");
    assert_eq!(retention(), "7200000");
}
