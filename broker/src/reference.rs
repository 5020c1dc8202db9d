//! `chronosdb docs FOLDER`: the reference pages of settings and metrics, made from their tables.

use std::{fmt::Write, fs, path::Path};

use anyhow::Context;

use crate::{
    config::{KEYS, Kind},
    telemetry::Metrics,
    topic_config,
};

/// What stands at the top of a page that nobody writes.
const MADE: &str = "<!-- Made by `make docs`: change what it describes, not this page. -->\n\n";

/// Writes the pages.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, text) in [
        ("configuration.md", settings()),
        ("topic-settings.md", topic_settings()),
        ("metrics.md", metrics()?),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn settings() -> String {
    let mut page = format!(
        "{MADE}# Settings of a node\n\nLayers, the last wins: the default, the TOML file, the environment (`CHRONOS_` and the name in \
         capitals with `_` for `.`), `--set name=value`, what clients changed for all nodes, what they changed for this one. \
         Names are Kafka's where Kafka has the setting. *Dynamic* ones can be changed while the node runs, by Kafka's clients, by \
         SIGHUP and by `chronosctl config reload`.\n\n| setting | default | allowed | |\n|---|---|---|---|\n"
    );
    let mut keys: Vec<_> = KEYS.iter().collect();
    keys.sort_by_key(|key| key.name);
    for key in keys {
        let dynamic = if key.dynamic { " *Dynamic.*" } else { "" };
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {}{dynamic}{} |",
            key.name,
            shown(key.default),
            allowed(key.kind),
            cell(key.doc),
            fixed(key.fixed)
        );
    }
    page
}

fn topic_settings() -> String {
    let mut page = format!(
        "{MADE}# Settings of a topic\n\nWhat a topic does not say, the node says. Names, units and limits are Kafka's where Kafka has \
         the setting. All of them can be changed while the topic is in use.\n\n| setting | default | allowed | |\n|---|---|---|---|\n"
    );
    for key in topic_config::table() {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {}{} |",
            key.name,
            key.default,
            allowed(key.kind),
            cell(key.doc),
            fixed(key.fixed)
        );
    }
    page
}

fn metrics() -> anyhow::Result<String> {
    let mut page = format!(
        "{MADE}# Metrics\n\n`GET /metrics` on `http.listen`, in Prometheus' text form. Labels are bounded: at most 200 topics (the rest \
         share `_other`), 500 pairs of group and topic, and never a partition, a key, a client or a message id. Alerts on them: \
         `deploy/alerts.yml`; a dashboard: `deploy/grafana`.\n\n| metric | kind | labels | |\n|---|---|---|---|\n"
    );
    for metric in Metrics::new()?.described() {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind,
            labels.join(", "),
            cell(&metric.help)
        );
    }
    Ok(page)
}

const fn fixed(is: bool) -> &'static str {
    if is {
        " *Nothing acts on another value yet: it is refused.*"
    } else {
        ""
    }
}

fn shown(value: &str) -> String {
    if value.is_empty() {
        "none".into()
    } else {
        format!("`{value}`")
    }
}

fn allowed(kind: Kind) -> String {
    let range = |min: String, max: String, top: bool| {
        if top {
            format!("{min} and more")
        } else {
            format!("{min} to {max}")
        }
    };
    let words = |words: &[&str]| {
        let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        words.join(", ")
    };
    match kind {
        Kind::Bool => "`true`, `false`".into(),
        Kind::Int(min, max) => range(min.to_string(), max.to_string(), max == i64::from(i32::MAX)),
        Kind::Long(min, max) => range(min.to_string(), max.to_string(), max == i64::MAX),
        Kind::LongOrUnset(min, max) => {
            let range = range(min.to_string(), max.to_string(), max == i64::MAX);
            format!("{range}, or none")
        }
        Kind::Double(min, max) => range(min.to_string(), max.to_string(), max >= f64::MAX),
        Kind::OneOf(of) => words(of),
        Kind::ListOf([]) => "a list".into(),
        Kind::ListOf(of) => format!("some of {}", words(of)),
        Kind::Text => "text".into(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
