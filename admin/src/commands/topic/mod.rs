//! `chronosctl topic`: over Kafka's protocol what any broker can be asked, over the admin API the rest.

mod change;

pub use change::TopicChange;

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context, bail};
use rdkafka::{
    admin::{
        AdminOptions, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
    },
    consumer::Consumer,
};
use serde::Serialize;

use crate::{
    cli::TopicCommand,
    kafka::{self, PATIENCE},
    output::{self, Format},
};

pub(super) async fn run(
    (bootstrap, admin): (&str, &str),
    format: Format,
    command: TopicCommand,
) -> anyhow::Result<ExitCode> {
    match command {
        TopicCommand::Create {
            name,
            partitions,
            replication_factor,
            config,
        } => {
            create(
                bootstrap,
                format,
                &name,
                partitions,
                replication_factor,
                &config,
            )
            .await
        }
        TopicCommand::List { internal } => list(bootstrap, format, internal),
        TopicCommand::Describe { name } => describe(bootstrap, format, &name).await,
        TopicCommand::Delete {
            names,
            dry_run: true,
        } => change::would_delete(admin, format, names).await,
        TopicCommand::Delete { names, .. } => delete(bootstrap, format, &names).await,
        TopicCommand::Change(command) => change::run(admin, format, command).await,
    }
}

#[derive(Serialize)]
struct Outcome {
    topic: String,
    done: bool,
    error: Option<String>,
}

async fn create(
    bootstrap: &str,
    format: Format,
    name: &str,
    partitions: i32,
    replication_factor: i32,
    config: &[(String, String)],
) -> anyhow::Result<ExitCode> {
    let replication = TopicReplication::Fixed(replication_factor);
    let topic = config.iter().fold(
        NewTopic::new(name, partitions, replication),
        |topic, (key, value)| topic.set(key, value),
    );
    let admin = kafka::admin(bootstrap)?;
    report(format, admin.create_topics([&topic], &options()).await?)
}

async fn delete(bootstrap: &str, format: Format, names: &[String]) -> anyhow::Result<ExitCode> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let admin = kafka::admin(bootstrap)?;
    report(format, admin.delete_topics(&names, &options()).await?)
}

/// Each topic's outcome; the exit code is 1 where one failed.
fn report(format: Format, results: Vec<TopicResult>) -> anyhow::Result<ExitCode> {
    let rows: Vec<Outcome> = results
        .into_iter()
        .map(|result| match result {
            Ok(topic) => Outcome {
                topic,
                done: true,
                error: None,
            },
            Err((topic, code)) => Outcome {
                topic,
                done: false,
                error: Some(code.to_string()),
            },
        })
        .collect();
    output::rows(format, &rows)?;
    Ok(if rows.iter().all(|row| row.done) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[derive(Serialize)]
struct Listed {
    topic: String,
    partitions: usize,
}

/// Kafka's names of internal topics; metadata as the library has it does not tell them apart.
const INTERNAL_PREFIX: &str = "__";

fn list(bootstrap: &str, format: Format, internal: bool) -> anyhow::Result<ExitCode> {
    let metadata = kafka::reader(bootstrap)?
        .fetch_metadata(None, PATIENCE)
        .with_context(|| format!("asking {bootstrap}"))?;
    let mut rows: Vec<Listed> = metadata
        .topics()
        .iter()
        .filter(|topic| internal || !topic.name().starts_with(INTERNAL_PREFIX))
        .map(|topic| Listed {
            topic: topic.name().to_owned(),
            partitions: topic.partitions().len(),
        })
        .collect();
    rows.sort_by(|a, b| a.topic.cmp(&b.topic));
    output::rows(format, &rows)?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct PartitionRow {
    partition: i32,
    leader: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    start_offset: Option<i64>,
    /// What a consumer can read up to; offsets of held records may lie beyond.
    end_offset: Option<i64>,
    /// Why its offsets are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    offline: Option<String>,
}

#[derive(Serialize)]
struct SettingRow {
    setting: String,
    value: Option<String>,
    source: String,
}

#[derive(Serialize)]
struct Described {
    topic: String,
    partitions: Vec<PartitionRow>,
    settings: BTreeMap<String, Option<String>>,
}

async fn describe(bootstrap: &str, format: Format, name: &str) -> anyhow::Result<ExitCode> {
    let partitions = partitions(bootstrap, name)?;
    let admin = kafka::admin(bootstrap)?;
    let described = admin
        .describe_configs([&ResourceSpecifier::Topic(name)], &options())
        .await?;
    let mut settings = Vec::new();
    for resource in described {
        let resource = resource.map_err(|code| anyhow::anyhow!("settings of {name}: {code}"))?;
        settings.extend(resource.entries.into_iter().map(|entry| SettingRow {
            setting: entry.name,
            value: entry.value,
            source: source(&entry.source),
        }));
    }
    settings.sort_by(|a, b| a.setting.cmp(&b.setting));
    match format {
        Format::Table | Format::Wide => {
            output::rows(format, &partitions)?;
            output::rows(format, &settings)?;
        }
        Format::Json | Format::Yaml => {
            let settings = settings.into_iter().map(|s| (s.setting, s.value)).collect();
            let described = Described {
                topic: name.to_owned(),
                partitions,
                settings,
            };
            output::rows(format, &[described])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn partitions(bootstrap: &str, name: &str) -> anyhow::Result<Vec<PartitionRow>> {
    let reader = kafka::reader(bootstrap)?;
    // All topics, then the one: asking for a topic by name could create it.
    let metadata = reader
        .fetch_metadata(None, PATIENCE)
        .with_context(|| format!("asking {bootstrap}"))?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
        bail!("there is no topic {name}");
    };
    let rows = topic
        .partitions()
        .iter()
        .map(|p| {
            // One that is offline does not hide the others.
            let offsets = reader.fetch_watermarks(name, p.id(), PATIENCE);
            let offline = offsets.as_ref().err().map(ToString::to_string);
            let (start_offset, end_offset) = offsets.ok().unzip();
            PartitionRow {
                partition: p.id(),
                leader: p.leader(),
                replicas: p.replicas().to_vec(),
                isr: p.isr().to_vec(),
                start_offset,
                end_offset,
                offline,
            }
        })
        .collect();
    Ok(rows)
}

fn source(source: &ConfigSource) -> String {
    match source {
        ConfigSource::DynamicTopic => "topic",
        ConfigSource::Default => "default",
        ConfigSource::StaticBroker => "broker file",
        ConfigSource::DynamicBroker | ConfigSource::DynamicDefaultBroker => "broker",
        ConfigSource::Unknown => "unknown",
    }
    .into()
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(PATIENCE))
        .request_timeout(Some(PATIENCE))
}
