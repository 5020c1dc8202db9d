//! Assignors beside what Apache Kafka's own tests expect of them (`RangeAssignorTest`, `UniformHomogeneousAssignmentBuilderTest`,
//! `UniformHeterogeneousAssignmentBuilderTest`), and what must hold whatever the group.

use proptest::prelude::*;

use super::*;

const ONE: TopicId = TopicId::from_u128(1);
const TWO: TopicId = TopicId::from_u128(2);

fn group(topics: &[(TopicId, i32)], members: &[(&str, &[TopicId])]) -> Group {
    let members = members.iter().map(|(id, topics)| {
        let spec = Spec {
            topics: topics.iter().copied().collect(),
            ..Spec::default()
        };
        ((*id).to_owned(), spec)
    });
    let mut group = Group {
        members: members.collect(),
        is_homogeneous: true,
        partitions: topics.iter().copied().collect(),
    };
    let mut read = group.members.values().map(|spec| &spec.topics);
    let first = read.next().cloned().unwrap_or_default();
    group.is_homogeneous = read.all(|topics| *topics == first);
    group
}

fn has(targets: &BTreeMap<String, Target>, member: &str) -> Vec<(TopicId, Vec<i32>)> {
    let target = targets.get(member).into_iter().flatten();
    target
        .map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()))
        .collect()
}

/// They are what members should have before.
fn follow(group: &mut Group, targets: BTreeMap<String, Target>) {
    for (id, target) in targets {
        if let Some(spec) = group.members.get_mut(&id) {
            spec.before = target;
        }
    }
}

#[test]
fn ranges_follow_each_other() {
    let group = group(
        &[(ONE, 3), (TWO, 2)],
        &[("a", &[ONE, TWO]), ("b", &[ONE, TWO])],
    );
    let targets = assign(Assignor::Range, &group);
    assert_eq!(has(&targets, "a"), [(ONE, vec![0, 1]), (TWO, vec![0])]);
    assert_eq!(has(&targets, "b"), [(ONE, vec![2]), (TWO, vec![1])]);
}

#[test]
fn ranges_of_fewer_partitions_than_members_leave_some_without() {
    let members: [(&str, &[TopicId]); 3] = [("a", &[ONE]), ("b", &[ONE]), ("c", &[ONE])];
    let targets = assign(Assignor::Range, &group(&[(ONE, 2)], &members));
    assert_eq!(has(&targets, "a"), [(ONE, vec![0])]);
    assert_eq!(has(&targets, "b"), [(ONE, vec![1])]);
    assert_eq!(has(&targets, "c"), []);
}

#[test]
fn static_members_come_first_in_ranges() {
    let mut group = group(&[(ONE, 3)], &[("a", &[ONE]), ("b", &[ONE]), ("c", &[ONE])]);
    for (id, instance) in [("b", "2"), ("c", "1")] {
        group.members.get_mut(id).unwrap().instance = Some(instance.into());
    }
    let targets = assign(Assignor::Range, &group);
    assert_eq!(has(&targets, "c"), [(ONE, vec![0])]);
    assert_eq!(has(&targets, "b"), [(ONE, vec![1])]);
    assert_eq!(has(&targets, "a"), [(ONE, vec![2])]);
}

#[test]
fn ranges_are_cut_for_those_who_read_the_topic() {
    let group = group(&[(ONE, 3), (TWO, 3)], &[("a", &[ONE, TWO]), ("b", &[TWO])]);
    let targets = assign(Assignor::Range, &group);
    assert_eq!(
        has(&targets, "a"),
        [(ONE, vec![0, 1, 2]), (TWO, vec![0, 1])]
    );
    assert_eq!(has(&targets, "b"), [(TWO, vec![2])]);
}

#[test]
fn what_is_uniform_stays_where_it_is_when_a_member_comes() {
    let mut all = group(
        &[(ONE, 3), (TWO, 3)],
        &[("a", &[ONE, TWO]), ("b", &[ONE, TWO])],
    );
    let before = assign(Assignor::Uniform, &all);
    follow(&mut all, before.clone());
    let mut more = group(
        &[(ONE, 3), (TWO, 3)],
        &[("a", &[ONE, TWO]), ("b", &[ONE, TWO]), ("c", &[ONE, TWO])],
    );
    for (id, spec) in all.members {
        more.members.insert(id, spec);
    }
    let after = assign(Assignor::Uniform, &more);
    for id in ["a", "b"] {
        let kept = after[id]
            .iter()
            .all(|(topic, partitions)| partitions.iter().all(|p| before[id][topic].contains(p)));
        assert!(kept, "{id} was given something for nothing");
    }
    assert!(after.values().all(|target| count(target) == 2));
}

#[test]
fn members_that_read_different_topics_share_what_both_read() {
    let group = group(&[(ONE, 3), (TWO, 3)], &[("a", &[ONE]), ("b", &[ONE, TWO])]);
    let targets = assign(Assignor::Uniform, &group);
    assert_eq!(has(&targets, "a"), [(ONE, vec![0, 1, 2])]);
    assert_eq!(has(&targets, "b"), [(TWO, vec![0, 1, 2])]);
}

fn count(target: &Target) -> usize {
    target.values().map(BTreeSet::len).sum()
}

prop_compose! {
    fn any_group()(
        topics in prop::collection::vec(0..7i32, 1..5),
        reads in prop::collection::vec(any::<u8>(), 1..7),
    ) -> Group {
        let ids: Vec<_> = (1u128..).map(TopicId::from_u128).zip(topics).collect();
        let members: Vec<(String, Vec<TopicId>)> = reads
            .iter()
            .enumerate()
            .map(|(at, mask)| {
                let read = ids.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
                (format!("m{at}"), read.map(|(_, (id, _))| *id).collect())
            })
            .collect();
        let members: Vec<(&str, &[TopicId])> =
            members.iter().map(|(id, topics)| (id.as_str(), topics.as_slice())).collect();
        group(&ids, &members)
    }
}

proptest! {
    /// Every partition that somebody reads has one reader, who reads it; and a group that nothing happened to stays as it is.
    #[test]
    fn all_is_given_once_and_stays(mut group in any_group(), range in any::<bool>()) {
        let assignor = if range { Assignor::Range } else { Assignor::Uniform };
        let targets = assign(assignor, &group);
        let mut given = BTreeSet::new();
        for (id, target) in &targets {
            for (topic, partitions) in target {
                prop_assert!(group.members[id].topics.contains(topic));
                for partition in partitions {
                    prop_assert!(given.insert((*topic, *partition)), "given twice");
                }
            }
        }
        let read: BTreeSet<_> = group.members.values().flat_map(|spec| spec.topics.clone()).collect();
        let all = read.iter().map(|topic| group.partitions(*topic)).sum::<i32>();
        prop_assert_eq!(given.len(), usize::try_from(all).unwrap());
        if group.is_homogeneous && !range {
            let sizes = targets.values().map(count);
            let (least, most) = (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
            prop_assert!(most - least <= 1);
        }
        follow(&mut group, targets.clone());
        prop_assert_eq!(assign(assignor, &group), targets);
    }

    /// A member that goes leaves what others have with them.
    #[test]
    fn who_stays_keeps_what_it_has(mut group in any_group()) {
        group.is_homogeneous = true;
        let read: BTreeSet<_> = group.partitions.keys().copied().collect();
        for spec in group.members.values_mut() {
            spec.topics.clone_from(&read);
        }
        let before = assign(Assignor::Uniform, &group);
        follow(&mut group, before.clone());
        group.members.remove("m0");
        for (id, target) in assign(Assignor::Uniform, &group) {
            for (topic, partitions) in &before[&id] {
                for partition in partitions {
                    prop_assert!(target.get(topic).is_some_and(|of| of.contains(partition)));
                }
            }
        }
    }
}
