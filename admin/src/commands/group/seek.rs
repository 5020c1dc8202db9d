//! `chronosctl group seek`: commits offsets for a group that nobody is in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    process::ExitCode,
};

use anyhow::{Context, bail, ensure};
use kafka_protocol::{
    error::ResponseError as Kafka,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    },
};
use serde::Serialize;

use super::{
    args::{SeekArgs, Target},
    described, lag,
};
use crate::{
    output::{self, Format},
    time,
    wire::{self, Cluster, Code, CoordinatorKind, EARLIEST, LATEST, Place},
};

/// Topics go by name up to here.
const OFFSET_COMMIT_MAX: i16 = 8;
/// Kafka's states of groups that nobody is in.
const WITHOUT_MEMBERS: [&str; 2] = ["Empty", "Dead"];

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: i32,
    /// What the group had committed.
    before: Option<i64>,
    after: Option<i64>,
    done: bool,
    note: Option<String>,
}

/// Where to go, its time read.
#[derive(Clone, Copy)]
enum Goal {
    To(Target),
    Time(i64),
    Shift(i64),
}

/// The first and the end offset of a partition.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    first: i64,
    end: i64,
}

pub(super) async fn run(
    cluster: &mut Cluster,
    format: Format,
    args: &SeekArgs,
) -> anyhow::Result<ExitCode> {
    let goal = goal(args)?;
    refuse_while_read(cluster, &args.group).await?;
    let committed = lag::committed(cluster, &args.group).await?;
    let places = places(cluster, args, &committed).await?;
    let mut rows = plan(cluster, goal, &places, &committed).await?;
    if !args.dry_run {
        commit(cluster, &args.group, &mut rows).await?;
    }
    output::rows(format, &rows)?;
    if args.dry_run {
        output::note(format, "nothing was committed: this was a dry run");
    }
    let is_well = rows
        .iter()
        .all(|row| row.done || args.dry_run && row.after.is_some());
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn goal(args: &SeekArgs) -> anyhow::Result<Goal> {
    Ok(match (args.to, &args.to_time, args.shift) {
        (Some(target), ..) => Goal::To(target),
        (_, Some(time), _) => Goal::Time(time::moment(time)?),
        (_, _, Some(by)) => Goal::Shift(by),
        _ => bail!("one of --to, --to-time and --shift says where"),
    })
}

async fn refuse_while_read(cluster: &mut Cluster, id: &str) -> anyhow::Result<()> {
    let Some(group) = described::one(cluster, id).await? else {
        return Ok(());
    };
    ensure!(
        group.commits(),
        "{id} is a {} group, which keeps no committed offsets",
        group.kind
    );
    ensure!(
        WITHOUT_MEMBERS.contains(&group.state.as_str()),
        "group {id} is {} and has members ({}): stop them first, they would not see what is set, and commit over it",
        group.state,
        group.size()
    );
    Ok(())
}

/// What is asked for, or all that the group committed offsets of.
async fn places(
    cluster: &mut Cluster,
    args: &SeekArgs,
    committed: &BTreeMap<Place, i64>,
) -> anyhow::Result<BTreeSet<Place>> {
    if args.topic.is_empty() {
        ensure!(
            args.partitions.is_empty(),
            "--partitions are those of one --topic"
        );
        ensure!(
            !committed.is_empty(),
            "group {} committed nothing: name a --topic",
            args.group
        );
        return Ok(committed.keys().cloned().collect());
    }
    ensure!(
        args.partitions.is_empty() || args.topic.len() == 1,
        "--partitions are those of one --topic"
    );
    let topics: BTreeSet<String> = args.topic.iter().cloned().collect();
    let there = cluster.leaders(Some(&topics)).await?;
    if let Some(missing) = topics
        .iter()
        .find(|topic| !there.keys().any(|place| place.topic == **topic))
    {
        bail!("there is no topic {missing}");
    }
    for partition in &args.partitions {
        ensure!(
            there.keys().any(|place| place.partition == *partition),
            "topic {} has no partition {partition}",
            args.topic.join(", ")
        );
    }
    let is_asked =
        |place: &Place| args.partitions.is_empty() || args.partitions.contains(&place.partition);
    Ok(there.into_keys().filter(is_asked).collect())
}

async fn plan(
    cluster: &mut Cluster,
    goal: Goal,
    places: &BTreeSet<Place>,
    committed: &BTreeMap<Place, i64>,
) -> anyhow::Result<Vec<Row>> {
    let firsts = at(cluster, places, EARLIEST).await?;
    let ends = at(cluster, places, LATEST).await?;
    let times = match goal {
        Goal::Time(ms) => {
            ensure!(ms >= 0, "{ms} is before 1970");
            at(cluster, places, ms).await?
        }
        _ => HashMap::new(),
    };
    let rows = places.iter().map(|place| {
        let before = committed.get(place).copied();
        let planned = match (firsts.get(place), ends.get(place)) {
            (Some(Ok(first)), Some(Ok(end))) => {
                let (first, end) = (*first, *end);
                let of_time = match times.get(place) {
                    Some(Err(code)) => Err(code.to_string()),
                    told => Ok(told.and_then(|told| told.ok())),
                };
                of_time.and_then(|of_time| next(goal, before, of_time, Bounds { first, end }))
            }
            (Some(Err(code)), _) | (_, Some(Err(code))) => Err(code.to_string()),
            _ => Err("it has no leader, or is gone".to_owned()),
        };
        let (after, note) = match planned {
            Ok((after, note)) => (Some(after), note.map(str::to_owned)),
            Err(why) => (None, Some(why)),
        };
        Row {
            topic: place.topic.clone(),
            partition: place.partition,
            before,
            after,
            done: false,
            note,
        }
    });
    Ok(rows.collect())
}

async fn at(
    cluster: &mut Cluster,
    places: &BTreeSet<Place>,
    at: i64,
) -> anyhow::Result<HashMap<Place, Result<i64, Code>>> {
    let asked: Vec<_> = places.iter().map(|place| (place.clone(), at)).collect();
    cluster.offsets(&asked).await
}

/// Where a group goes on in a partition, and what is to be said of it. `of_time` is the offset of the time asked for.
fn next(
    goal: Goal,
    before: Option<i64>,
    of_time: Option<i64>,
    bounds: Bounds,
) -> Result<(i64, Option<&'static str>), String> {
    let asked = match goal {
        Goal::To(Target::Earliest) => bounds.first,
        Goal::To(Target::Latest) => bounds.end,
        Goal::To(Target::Offset(offset)) => offset,
        Goal::Time(_) => match of_time.filter(|offset| *offset >= 0) {
            Some(offset) => offset,
            None => return Ok((bounds.end, Some("no record is that late: the end"))),
        },
        Goal::Shift(by) => match before {
            Some(before) => before.saturating_add(by),
            None => return Err("nothing was committed that could be shifted".to_owned()),
        },
    };
    Ok(if asked < bounds.first {
        (bounds.first, Some("below the first offset"))
    } else if asked > bounds.end {
        (bounds.end, Some("beyond the end"))
    } else {
        (asked, None)
    })
}

async fn commit(cluster: &mut Cluster, group: &str, rows: &mut [Row]) -> anyhow::Result<()> {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for row in rows.iter() {
        let Some(after) = row.after else {
            continue;
        };
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(row.partition)
            .with_committed_offset(after)
            .with_committed_leader_epoch(-1)
            .with_committed_metadata(Some(wire::text("")));
        topics.entry(&row.topic).or_default().push(partition);
    }
    if topics.is_empty() {
        return Ok(());
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        OffsetCommitRequestTopic::default()
            .with_name(wire::topic(name))
            .with_partitions(partitions)
    });
    // Of no generation: who is in no group.
    let request = OffsetCommitRequest::default()
        .with_group_id(wire::group(group))
        .with_generation_id_or_member_epoch(-1)
        .with_retention_time_ms(-1)
        .with_topics(topics.collect());
    let first = |answer: &OffsetCommitResponse| {
        let mut codes = answer.topics.iter().flat_map(|topic| &topic.partitions);
        Code(codes.next().map_or(0, |partition| partition.error_code))
    };
    let key = (CoordinatorKind::Group, group);
    let answer = cluster
        .ask_coordinator(key, (&request, OFFSET_COMMIT_MAX), first)
        .await
        .context("committing")?;
    let mut codes = HashMap::new();
    for told in answer.topics {
        for partition in told.partitions {
            let place = (told.name.to_string(), partition.partition_index);
            codes.insert(place, Code(partition.error_code));
        }
    }
    for row in rows.iter_mut().filter(|row| row.after.is_some()) {
        match codes.get(&(row.topic.clone(), row.partition)) {
            Some(code) if code.is_ok() => row.done = true,
            Some(code) => row.note = Some(refusal(*code)),
            None => row.note = Some("the broker did not answer for it".into()),
        }
    }
    Ok(())
}

fn refusal(code: Code) -> String {
    match code.error() {
        // Somebody joined since we looked.
        Some(Kafka::UnknownMemberId | Kafka::IllegalGeneration | Kafka::RebalanceInProgress) => {
            "the group has members now: stop them first".to_owned()
        }
        _ => code.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { first: 10, end: 20 };

    #[test]
    fn a_group_goes_where_it_is_told_to() {
        let to = |target| next(Goal::To(target), Some(15), None, BOUNDS).unwrap();
        assert_eq!(to(Target::Earliest), (10, None));
        assert_eq!(to(Target::Latest), (20, None));
        assert_eq!(to(Target::Offset(12)), (12, None));
        assert_eq!(to(Target::Offset(3)), (10, Some("below the first offset")));
        assert_eq!(to(Target::Offset(21)), (20, Some("beyond the end")));
    }

    #[test]
    fn a_time_is_the_offset_of_its_record_or_the_end() {
        let at = |of_time| next(Goal::Time(0), None, of_time, BOUNDS).unwrap();
        assert_eq!(at(Some(14)), (14, None));
        assert_eq!(at(Some(-1)).0, 20);
        assert_eq!(at(None).0, 20);
    }

    #[test]
    fn a_shift_counts_from_what_was_committed() {
        let shift = |by| next(Goal::Shift(by), Some(15), None, BOUNDS).unwrap();
        assert_eq!(shift(-3), (12, None));
        assert_eq!(shift(-30).0, 10);
        assert_eq!(shift(i64::MAX).0, 20);
        assert!(next(Goal::Shift(1), None, None, BOUNDS).is_err());
    }
}
