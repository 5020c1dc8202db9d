//! `chronosctl txn find-hanging`: transactions that no coordinator will end. Consumers that read what is committed wait for
//! them for ever. Source: Apache Kafka, `TransactionsCommand.FindHangingTransactionsCommand`.

use std::{
    collections::{BTreeSet, HashMap},
    process::ExitCode,
};

use anyhow::{bail, ensure};
use kafka_protocol::messages::ListTransactionsRequest;
use serde::Serialize;

use super::{producers, producers::Producer, states};
use crate::{
    output::{self, Format},
    time,
    wire::{Cluster, Place},
};

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: i32,
    producer_id: i64,
    producer_epoch: i32,
    coordinator_epoch: i32,
    start_offset: Option<i64>,
    last_written: String,
    last_written_ms: i64,
    silent_for: String,
}

pub(super) async fn run(
    cluster: &mut Cluster,
    format: Format,
    (topics, partition): (&[String], Option<i32>),
    timeout: &str,
) -> anyhow::Result<ExitCode> {
    let timeout_ms = i64::try_from(time::span(timeout)?.as_millis())?;
    let places = places(cluster, topics, partition).await?;
    let now = time::now_ms();
    let mut open = producers::of(cluster, &places).await?;
    open.retain(|p| p.start_offset.is_some() && now.saturating_sub(p.last_ms) > timeout_ms);
    let rows: Vec<Row> = hanging(cluster, open)
        .await?
        .into_iter()
        .map(|producer| Row {
            topic: producer.place.topic,
            partition: producer.place.partition,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            coordinator_epoch: producer.coordinator_epoch,
            start_offset: producer.start_offset,
            last_written: time::local(producer.last_ms),
            last_written_ms: producer.last_ms,
            silent_for: time::spoken(now.saturating_sub(producer.last_ms)),
        })
        .collect();
    output::rows(format, &rows)?;
    Ok(ExitCode::SUCCESS)
}

async fn places(
    cluster: &mut Cluster,
    topics: &[String],
    partition: Option<i32>,
) -> anyhow::Result<BTreeSet<Place>> {
    ensure!(
        partition.is_none() || topics.len() == 1,
        "--partition is one of one --topic"
    );
    let topics: BTreeSet<String> = topics.iter().cloned().collect();
    let there = cluster.leaders(Some(&topics)).await?;
    for topic in &topics {
        if !there.keys().any(|place| place.topic == *topic) {
            bail!("there is no topic {topic}");
        }
    }
    let is_asked = |place: &Place| partition.is_none_or(|partition| partition == place.partition);
    Ok(there.into_keys().filter(is_asked).collect())
}

/// Of open transactions, those that no coordinator has with that partition in it.
async fn hanging(cluster: &mut Cluster, open: Vec<Producer>) -> anyhow::Result<Vec<Producer>> {
    if open.is_empty() {
        return Ok(open);
    }
    let ids: BTreeSet<i64> = open.iter().map(|producer| producer.id).collect();
    let request = ListTransactionsRequest::default()
        .with_producer_id_filters(ids.into_iter().map(Into::into).collect())
        .with_duration_filter(-1);
    let listed = states::list(cluster, &request).await?;
    let mut owned: HashMap<i64, BTreeSet<Place>> = HashMap::new();
    for listed in listed {
        // One that went since it was listed owns nothing.
        if let Ok(told) = states::describe(cluster, &listed.id).await? {
            owned
                .entry(told.producer_id)
                .or_default()
                .extend(told.places);
        }
    }
    let mut hanging = open;
    hanging.retain(|producer| {
        let owned = owned.get(&producer.id);
        owned.is_none_or(|places| !places.contains(&producer.place))
    });
    Ok(hanging)
}
