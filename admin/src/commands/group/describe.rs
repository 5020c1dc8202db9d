//! `chronosctl group describe`.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use anyhow::bail;
use serde::Serialize;

use super::{
    described::{self, Group, Member},
    lag,
};
use crate::{
    output::{self, Format},
    wire::{Cluster, Place},
};

/// What is shown.
#[derive(Clone, Copy)]
pub(super) struct Views {
    pub(super) offsets: bool,
    pub(super) members: bool,
    pub(super) state: bool,
}

#[derive(Serialize)]
struct StateRow {
    group: String,
    r#type: String,
    protocol: Option<String>,
    state: String,
    coordinator: String,
    assignor: Option<String>,
    members: usize,
    lag: Option<i64>,
}

#[derive(Serialize)]
struct MemberRow {
    group: String,
    member: String,
    instance: Option<String>,
    client: String,
    host: String,
    epoch: Option<i32>,
    partitions: Option<usize>,
    assigned: Option<Vec<String>>,
}

#[derive(Serialize)]
struct OffsetRow {
    group: String,
    topic: String,
    partition: i32,
    committed: Option<i64>,
    end: Option<i64>,
    lag: Option<i64>,
    member: Option<String>,
    client: Option<String>,
    host: Option<String>,
}

pub(super) async fn run(
    cluster: &mut Cluster,
    format: Format,
    ids: &[String],
    views: Views,
) -> anyhow::Result<ExitCode> {
    let (mut states, mut members, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    for id in ids {
        let Some(group) = described::one(cluster, id).await? else {
            bail!("there is no group {id}");
        };
        let committed = if group.commits() {
            lag::committed(cluster, id).await?
        } else {
            BTreeMap::new()
        };
        let readers = readers(&group);
        let places: BTreeSet<&Place> = committed.keys().chain(readers.keys().copied()).collect();
        let ends = lag::ends(cluster, places.iter().copied()).await?;
        offsets.extend(places.into_iter().map(|place| {
            let reader = readers.get(place);
            let (committed, end) = (committed.get(place).copied(), ends.get(place).copied());
            OffsetRow {
                group: id.clone(),
                topic: place.topic.clone(),
                partition: place.partition,
                committed,
                end,
                lag: lag::of_partition(committed, end),
                member: reader.map(|member| member.id.clone()),
                client: reader.map(|member| member.client.clone()),
                host: reader.map(|member| member.host.clone()),
            }
        }));
        states.push(StateRow {
            group: id.clone(),
            r#type: group.kind.clone(),
            protocol: said(&group.protocol),
            state: group.state.clone(),
            coordinator: cluster.address(group.coordinator),
            assignor: said(&group.assignor),
            members: group.size(),
            lag: lag::of_group(&committed, &ends),
        });
        members.extend(group.members.iter().flatten().map(|member| row(id, member)));
    }
    if views.state {
        output::rows(format, &states)?;
    }
    if views.members {
        output::rows(format, &members)?;
    }
    if views.offsets {
        output::rows(format, &offsets)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Who reads a partition.
fn readers(group: &Group) -> BTreeMap<&Place, &Member> {
    let members = group.members.iter().flatten();
    let assigned = members.flat_map(|member| {
        let places = member.assigned.iter().flatten();
        places.map(move |place| (place, member))
    });
    assigned.collect()
}

fn row(group: &str, member: &Member) -> MemberRow {
    MemberRow {
        group: group.to_owned(),
        member: member.id.clone(),
        instance: member.instance.clone(),
        client: member.client.clone(),
        host: member.host.clone(),
        epoch: member.epoch,
        partitions: member.assigned.as_ref().map(BTreeSet::len),
        assigned: member
            .assigned
            .as_ref()
            .map(|places| places.iter().map(ToString::to_string).collect()),
    }
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
