//! What a group committed, and what is left to read.
//!
//! Lag is the end offset that ListOffsets tells minus what was committed: offsets, not records. What a partition's end is, the
//! broker says: one past the last record that a consumer can read, so held records that wait are not in it.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use crate::wire::{self, Cluster, Code, CoordinatorKind, LATEST, Place};

/// Groups are named one a request up to here, which every broker answers.
const OFFSET_FETCH_MAX: i16 = 7;

/// All that a group committed.
pub(super) async fn committed(
    cluster: &mut Cluster,
    group: &str,
) -> anyhow::Result<BTreeMap<Place, i64>> {
    let request = OffsetFetchRequest::default()
        .with_group_id(wire::group(group))
        .with_topics(None);
    let code = |answer: &OffsetFetchResponse| Code(answer.error_code);
    let key = (CoordinatorKind::Group, group);
    let answer = cluster
        .ask_coordinator(key, (&request, OFFSET_FETCH_MAX), code)
        .await?;
    code(&answer).ok()?;
    let mut committed = BTreeMap::new();
    for told in answer.topics {
        for partition in told.partitions {
            let place = Place {
                topic: told.name.to_string(),
                partition: partition.partition_index,
            };
            // -1 says that there is none.
            if partition.error_code == 0 && partition.committed_offset >= 0 {
                committed.insert(place, partition.committed_offset);
            }
        }
    }
    Ok(committed)
}

/// The end offsets of partitions; one whose topic is gone, or that nobody leads, has none.
pub(super) async fn ends(
    cluster: &mut Cluster,
    places: impl IntoIterator<Item = &Place>,
) -> anyhow::Result<BTreeMap<Place, i64>> {
    let places: BTreeSet<&Place> = places.into_iter().collect();
    let asked: Vec<_> = places.into_iter().map(|p| (p.clone(), LATEST)).collect();
    let told = cluster.offsets(&asked).await?;
    let ends = told
        .into_iter()
        .filter_map(|(place, end)| Some((place, end.ok()?)));
    Ok(ends.collect())
}

/// What is left of a partition. A group may have committed an offset beyond the end, of a topic that was made anew.
pub(super) fn of_partition(committed: Option<i64>, end: Option<i64>) -> Option<i64> {
    Some(end?.saturating_sub(committed?).max(0))
}

/// The sum over all partitions whose lag is known; `None` where there is none.
pub(super) fn of_group(
    committed: &BTreeMap<Place, i64>,
    ends: &BTreeMap<Place, i64>,
) -> Option<i64> {
    let known = committed
        .iter()
        .filter_map(|(place, offset)| of_partition(Some(*offset), ends.get(place).copied()));
    known.reduce(i64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_end_minus_what_was_committed() {
        assert_eq!(of_partition(Some(3), Some(10)), Some(7));
        assert_eq!(of_partition(Some(12), Some(10)), Some(0));
        assert_eq!(of_partition(None, Some(10)), None);
        assert_eq!(of_partition(Some(3), None), None);
    }

    #[test]
    fn a_groups_lag_is_a_sum_of_what_is_known() {
        let place = |partition| Place {
            topic: "t".into(),
            partition,
        };
        let committed = BTreeMap::from([(place(0), 3), (place(1), 5), (place(2), 9)]);
        let ends = BTreeMap::from([(place(0), 10), (place(1), 6)]);
        assert_eq!(of_group(&committed, &ends), Some(8));
        assert_eq!(of_group(&committed, &BTreeMap::new()), None);
        assert_eq!(of_group(&BTreeMap::new(), &ends), None);
    }
}
