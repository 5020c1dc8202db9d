//! kcat (librdkafka of the distribution), unchanged.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use compat_tests::{cluster::Broker, tool};

fn produce(broker: &Broker, topic: &str, lines: &str, args: &[&str]) {
    let mut kcat = Command::new("kcat")
        .args(["-P", "-b", &broker.kafka, "-t", topic])
        .args(args)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    kcat.stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    assert!(kcat.wait().unwrap().success());
}

fn consume(broker: &Broker, topic: &str) -> String {
    let args = [
        "-C",
        "-b",
        &broker.kafka,
        "-t",
        topic,
        "-o",
        "beginning",
        "-e",
        "-q",
    ];
    tool::run(Command::new("kcat").args(args)).unwrap()
}

fn skip() -> bool {
    let skip = !tool::is_there("kcat") && Command::new("kcat").arg("-V").output().is_err();
    if skip {
        assert!(std::env::var_os("CI").is_none(), "kcat is missing");
    }
    skip
}

#[test]
fn writes_reads_and_lists() {
    if skip() {
        return;
    }
    let broker = Broker::start(&[]).unwrap();
    produce(&broker, "t1", "hello\n", &[]);
    assert_eq!(consume(&broker, "t1"), "hello\n");
    let listed = tool::run(Command::new("kcat").args(["-L", "-b", &broker.kafka])).unwrap();
    assert!(
        listed.contains("topic \"t1\" with 1 partitions"),
        "{listed}"
    );
}

#[test]
fn every_codec_comes_back_whole_also_with_held_records_between() {
    if skip() {
        return;
    }
    let broker = Broker::start(&[]).unwrap();
    let lines: Vec<String> = (0..1_000).map(|i| format!("line {i}\n")).collect();
    let lines = lines.concat();
    // Debian builds kcat without zstd; the Python and Java suites have it.
    for codec in ["none", "gzip", "snappy", "lz4"] {
        let topic = format!("t-{codec}");
        produce(&broker, &topic, &lines, &["-z", codec]);
        produce(
            &broker,
            &topic,
            &lines,
            &["-z", codec, "-H", "chronos-deliver-after=1h"],
        );
        produce(&broker, &topic, "after\n", &["-z", codec]);
        assert_eq!(
            consume(&broker, &topic),
            format!("{lines}after\n"),
            "{codec}"
        );
    }
}

#[test]
fn a_held_record_appears_when_it_is_due_and_not_before() {
    if skip() {
        return;
    }
    let broker = Broker::start(&[]).unwrap();
    produce(&broker, "t1", "first\n", &[]);
    let mut reader = Command::new("kcat")
        .args([
            "-C",
            "-u",
            "-q",
            "-b",
            &broker.kafka,
            "-t",
            "t1",
            "-o",
            "beginning",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let due = tool::now_ms() + 2_000;
    produce(
        &broker,
        "t1",
        "later\n",
        &["-H", &format!("chronos-deliver-at={due}")],
    );
    produce(&broker, "t1", "now\n", &[]);
    let arrivals: Vec<(String, i64)> = BufReader::new(reader.stdout.take().unwrap())
        .lines()
        .take(3)
        .map(|line| (line.unwrap(), tool::now_ms()))
        .collect();
    reader.kill().unwrap();
    reader.wait().unwrap();
    let order: Vec<_> = arrivals.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(order, ["first", "now", "later"]);
    let arrived = arrivals[2].1;
    assert!(arrived >= due, "due {due}, arrived {arrived}: early");
    assert!(arrived < due + 2_000, "due {due}, arrived {arrived}: late");
}

/// With nothing but kcat: held, not seen, cancelled, and not seen when it would have been due.
#[test]
fn a_held_record_is_cancelled_by_header() {
    if skip() {
        return;
    }
    let broker = Broker::start(&[]).unwrap();
    let due = tool::now_ms() + 1_500;
    let at = format!("chronos-deliver-at={due}");
    produce(&broker, "t1", "never\n", &["-p", "0", "-H", &at]);
    produce(&broker, "t1", "later\n", &["-p", "0", "-H", &at]);
    assert_eq!(consume(&broker, "t1"), "");
    // It was the first record of the partition.
    produce(&broker, "t1", "x\n", &["-p", "0", "-H", "chronos-cancel=0"]);
    let mut reader = Command::new("kcat")
        .args([
            "-C",
            "-u",
            "-q",
            "-b",
            &broker.kafka,
            "-t",
            "t1",
            "-o",
            "beginning",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "later");
    assert!(tool::now_ms() >= due);
    reader.kill().unwrap();
    reader.wait().unwrap();
    produce(&broker, "t1", "end\n", &["-p", "0"]);
    assert_eq!(consume(&broker, "t1"), "later\nend\n");
}
