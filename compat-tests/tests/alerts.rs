//! The alert rules of `deploy/`: Prometheus' own tool takes them; each has a case in which it fires and one in which it does not, and says
//! what to do. That the broker has the metrics they ask for is seen in `metrics.rs`, with those of the dashboard.
#![expect(clippy::print_stdout, reason = "a test says what it skips")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use compat_tests::tool;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn read(file: &str) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(deploy().join(file))?)
}

/// promtool in `deploy/`, or why not: a desk without it skips, CI does not.
fn promtool(args: &[&str]) -> anyhow::Result<()> {
    let found = if tool::is_there("promtool") {
        Ok(PathBuf::from("promtool"))
    } else {
        // Where `scripts/packages.sh tests` puts it.
        tool::clients("promtool")
    };
    let Ok(promtool) = found else {
        let why = "promtool is missing: run scripts/packages.sh tests";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        println!("skipped: {why}");
        return Ok(());
    };
    let mut command = Command::new(promtool);
    command.args(args).current_dir(deploy());
    println!("{}", tool::run(&mut command)?);
    Ok(())
}

#[test]
fn prometheus_takes_them() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"]).unwrap();
}

#[test]
fn each_fires_when_it_is_to_and_not_when_it_is_not() {
    promtool(&["test", "rules", "alerts_test.yml"]).unwrap();
}

#[test]
fn none_is_without_its_two_cases() {
    let rules = read("alerts.yml").unwrap();
    let names = rules.lines().map(str::trim);
    let all: BTreeSet<&str> = names.filter_map(|l| l.strip_prefix("- alert: ")).collect();
    assert!(all.len() > 20, "{all:?}");
    let cases = read("alerts_test.yml").unwrap();
    let lines: Vec<&str> = cases.lines().map(str::trim).collect();
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for (line, next) in lines.iter().zip(lines.iter().skip(1)) {
        let Some(alert) = line.strip_prefix("alertname: ") else {
            continue;
        };
        match *next {
            "exp_alerts:" => fires.insert(alert),
            "exp_alerts: []" => silent.insert(alert),
            other => panic!("{alert}: exp_alerts is to follow, not {other}"),
        };
    }
    assert_eq!(fires, all);
    assert_eq!(silent, all);
}

#[test]
fn each_says_how_bad_it_is_and_what_to_do() {
    let rules = read("alerts.yml").unwrap();
    for alert in rules.split("- alert: ").skip(1) {
        let (name, rule) = alert.split_once('\n').unwrap();
        let severity = ["page", "warn"].map(|s| format!("labels: {{ severity: {s} }}"));
        assert!(severity.iter().any(|s| rule.contains(s)), "{name}");
        let more = format!(" docs/troubleshooting.md#{}\"", name.to_lowercase());
        for part in [" summary: \"", " description: \"", more.as_str()] {
            assert!(rule.contains(part), "{name} has no {part}");
        }
    }
}
