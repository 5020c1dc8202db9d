//! `chronosctl txn abort`: the marker that a coordinator would write, written to one partition.
//!
//! A coordinator that does know of the transaction is not told: use it for transactions that hang.

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::{Context, bail};
use kafka_protocol::messages::{
    WriteTxnMarkersRequest,
    write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic},
};
use serde::Serialize;

use super::{args::AbortArgs, producers};
use crate::{
    output::{self, Format},
    wire::{self, Cluster, Code, Place},
};

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: i32,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
    aborted: bool,
    error: Option<String>,
}

/// Whose transaction it is.
struct Owner {
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
}

pub(super) async fn run(
    cluster: &mut Cluster,
    format: Format,
    args: &AbortArgs,
) -> anyhow::Result<ExitCode> {
    let place = Place {
        topic: args.topic.clone(),
        partition: args.partition,
    };
    let owner = match (args.start_offset, args.producer_id) {
        (Some(start), _) => owner(cluster, &place, start).await?,
        (None, Some(producer_id)) => Owner {
            producer_id,
            producer_epoch: args.producer_epoch.context("--producer-epoch is missing")?,
            coordinator_epoch: args
                .coordinator_epoch
                .context("--coordinator-epoch is missing")?,
        },
        (None, None) => bail!("--start-offset or --producer-id says which"),
    };
    let code = write_marker(cluster, &place, &owner).await?;
    let row = Row {
        topic: args.topic.clone(),
        partition: args.partition,
        producer_id: owner.producer_id,
        producer_epoch: owner.producer_epoch,
        coordinator_epoch: owner.coordinator_epoch,
        aborted: code.is_ok(),
        error: (!code.is_ok()).then(|| code.to_string()),
    };
    output::rows(format, &[row])?;
    Ok(if code.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whose open transaction began there.
async fn owner(cluster: &mut Cluster, place: &Place, start: i64) -> anyhow::Result<Owner> {
    let producers = producers::of(cluster, &BTreeSet::from([place.clone()])).await?;
    let found = producers.iter().find(|p| p.start_offset == Some(start));
    let Some(found) = found else {
        bail!("no open transaction of {place} began at offset {start}");
    };
    Ok(Owner {
        producer_id: found.id,
        producer_epoch: i16::try_from(found.epoch)?,
        // Nobody ended a transaction of this producer yet: 0 is not above any coordinator's epoch.
        coordinator_epoch: found.coordinator_epoch.max(0),
    })
}

async fn write_marker(cluster: &mut Cluster, place: &Place, owner: &Owner) -> anyhow::Result<Code> {
    let leaders = cluster
        .leaders(Some(&BTreeSet::from([place.topic.clone()])))
        .await?;
    let Some(leader) = leaders.get(place).copied() else {
        bail!("there is no partition {place}");
    };
    let topic = WritableTxnMarkerTopic::default()
        .with_name(wire::topic(&place.topic))
        .with_partition_indexes(vec![place.partition]);
    let marker = WritableTxnMarker::default()
        .with_producer_id(owner.producer_id.into())
        .with_producer_epoch(owner.producer_epoch)
        .with_coordinator_epoch(owner.coordinator_epoch)
        .with_transaction_result(false)
        .with_topics(vec![topic]);
    let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
    let answer = cluster.broker(leader).await?.ask(&request).await?;
    let topics = answer.markers.iter().flat_map(|marker| &marker.topics);
    let code = topics.flat_map(|topic| &topic.partitions).next();
    code.map(|partition| Code(partition.error_code))
        .context("the broker did not answer for the partition")
}
