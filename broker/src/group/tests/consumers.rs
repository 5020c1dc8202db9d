//! Consumer groups (KIP-848): nobody reads what another one reads, and all that is wanted is read in the end.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    group::{HeartbeatAnswer, HeartbeatAsked, Refused, Target},
    metadata::{Command, Image},
};

const SESSION: i64 = 45_000;

fn topic(name: &str) -> TopicId {
    TopicId::from_u128(name.bytes().fold(0, |n, b| n * 256 + u128::from(b)))
}

fn image(topics: &[(&str, usize)]) -> Image {
    let mut image = Image::default();
    for (name, partitions) in topics {
        image.apply(Command::CreateTopic {
            name: (*name).to_owned(),
            topic_id: topic(name),
            assignments: vec![vec![1]; *partitions],
            configs: BTreeMap::new(),
        });
    }
    image
}

fn grow(image: &mut Image, name: &str) {
    image.apply(Command::CreatePartitions {
        topic_id: topic(name),
        added: vec![vec![1]],
    });
}

/// A consumer: what it reads, and what it says.
#[derive(Clone, Debug, Default)]
struct Consumer {
    id: String,
    instance: Option<String>,
    epoch: i32,
    topics: Vec<&'static str>,
    regex: Option<String>,
    reads: Target,
    /// What it was told to read, and does not yet.
    told: Option<Target>,
}

impl Consumer {
    fn new(id: &str, topics: &[&'static str]) -> Self {
        Self {
            id: id.to_owned(),
            topics: topics.to_vec(),
            ..Self::default()
        }
    }

    fn asked(&self) -> HeartbeatAsked {
        let topics = self.topics.iter().map(ToString::to_string);
        HeartbeatAsked {
            group: G.into(),
            member: self.id.clone(),
            epoch: self.epoch,
            instance: self.instance.clone(),
            rebalance_timeout_ms: 10_000,
            topics: Some(topics.collect()),
            regex: self.regex.clone(),
            owned: Some(self.reads.clone()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            ..HeartbeatAsked::default()
        }
    }

    /// It stops reading what it is not to read any more, then begins what it may.
    fn follow(&mut self) {
        if let Some(told) = self.told.take() {
            self.reads = told;
        }
    }

    fn hears(&mut self, answer: HeartbeatAnswer) {
        self.epoch = answer.epoch;
        if answer.assignment.is_some() {
            self.told = answer.assignment;
        }
    }
}

impl World {
    fn beat(&mut self, asked: &HeartbeatAsked, image: &Image) -> Result<HeartbeatAnswer, Refused> {
        let decided = self.shard.consumer_heartbeat(asked, image, self.now);
        self.perform(decided)
    }

    /// A heartbeat, and what the consumer does then.
    fn turn(&mut self, consumer: &mut Consumer, image: &Image) {
        consumer.follow();
        match self.beat(&consumer.asked(), image) {
            Ok(answer) => consumer.hears(answer),
            // It gives up all that it has, and joins again.
            Err(refused) => {
                let code = refused.code;
                let fenced = [Kafka::FencedMemberEpoch, Kafka::UnknownMemberId];
                assert!(fenced.contains(&code), "{refused:?}");
                consumer.epoch = 0;
                consumer.reads = Target::new();
                consumer.told = None;
            }
        }
    }

    /// Until nothing changes any more.
    fn settle(&mut self, consumers: &mut [Consumer], image: &Image) {
        for _ in 0..30 {
            for consumer in &mut *consumers {
                self.turn(consumer, image);
                consumer.follow();
            }
        }
    }
}

fn partitions(target: &Target) -> usize {
    target.values().map(BTreeSet::len).sum()
}

fn code(answer: &Result<HeartbeatAnswer, Refused>) -> Option<Kafka> {
    answer.as_ref().err().map(|refused| refused.code)
}

#[test]
fn members_share_what_they_read() {
    let mut world = World::new();
    let image = image(&[("a", 4)]);
    let mut consumers = vec![Consumer::new("m1", &["a"])];
    world.turn(&mut consumers[0], &image);
    assert_eq!(consumers[0].epoch, 1);
    consumers[0].follow();
    assert_eq!(partitions(&consumers[0].reads), 4);
    consumers.push(Consumer::new("m2", &["a"]));
    world.turn(&mut consumers[1], &image);
    consumers[1].follow();
    // The other one has all, still.
    assert_eq!(partitions(&consumers[1].reads), 0);
    let group = world.shard.describe_consumer(G).unwrap();
    assert_eq!(
        (group.state, group.epoch, group.assignment_epoch),
        ("Reconciling", 2, 2)
    );
    // It is told to give up two, says that it did, and then they are free.
    world.turn(&mut consumers[0], &image);
    assert_eq!(
        (
            consumers[0].epoch,
            partitions(consumers[0].told.as_ref().unwrap())
        ),
        (1, 2)
    );
    world.settle(&mut consumers, &image);
    let epochs: Vec<_> = consumers
        .iter()
        .map(|c| (c.epoch, partitions(&c.reads)))
        .collect();
    assert_eq!(epochs, [(2, 2), (2, 2)]);
    assert_eq!(world.shard.describe_consumer(G).unwrap().state, "Stable");

    // The same after a start; then one leaves, and the other gets all.
    world = world.restarted();
    let group = world.shard.describe_consumer(G).unwrap();
    assert_eq!((group.state, group.epoch), ("Stable", 2));
    consumers[1].epoch = -1;
    let left = world.beat(&consumers[1].asked(), &image).unwrap();
    assert_eq!((left.member.as_str(), left.epoch), ("m2", -1));
    consumers.truncate(1);
    world.settle(&mut consumers, &image);
    assert_eq!(partitions(&consumers[0].reads), 4);
    consumers[0].epoch = -1;
    world.beat(&consumers[0].asked(), &image).unwrap();
    assert_eq!(world.shard.describe_consumer(G).unwrap().state, "Empty");
    let deleted = world.shard.delete(G);
    assert_eq!(world.perform(deleted), Ok(()));
    assert!(world.shard.describe_consumer(G).is_none());
    assert!(world.restarted().shard.list().is_empty());
}

#[test]
fn who_is_silent_or_gives_nothing_up_is_fenced() {
    let mut world = World::new();
    let image = image(&[("a", 4)]);
    let mut consumers = vec![Consumer::new("m1", &["a"]), Consumer::new("m2", &["a"])];
    world.turn(&mut consumers[0], &image);
    world.turn(&mut consumers[1], &image);
    // It says each time that it has all.
    let keeps = Consumer {
        epoch: 1,
        reads: [(topic("a"), (0..4).collect())].into(),
        ..consumers[0].clone()
    };
    for _ in 0..4 {
        world.beat(&keeps.asked(), &image).unwrap();
        world.beat(&consumers[1].asked(), &image).unwrap();
        world.pass(3_000);
    }
    let refused = world.beat(&keeps.asked(), &image);
    assert_eq!(code(&refused), Some(Kafka::UnknownMemberId));
    let answer = world.beat(&consumers[1].asked(), &image).unwrap();
    assert_eq!(partitions(&answer.assignment.unwrap()), 4);
    world.pass(SESSION + 1);
    assert_eq!(world.shard.describe_consumer(G).unwrap().state, "Empty");
}

#[test]
fn epochs_are_judged_as_kafka_does() {
    let mut world = World::new();
    let image = image(&[("a", 2)]);
    let mut one = Consumer::new("m1", &["a"]);
    let early = Consumer {
        epoch: 5,
        ..one.clone()
    };
    assert_eq!(
        code(&world.beat(&early.asked(), &image)),
        Some(Kafka::GroupIdNotFound)
    );
    world.turn(&mut one, &image);
    one.follow();
    for (epoch, expected) in [
        (1, None),
        (2, Some(Kafka::FencedMemberEpoch)),
        // Its answer was lost, and it has nothing but what it was given.
        (0, None),
    ] {
        let asked = Consumer {
            epoch,
            ..one.clone()
        };
        assert_eq!(
            code(&world.beat(&asked.asked(), &image)),
            expected,
            "{epoch}"
        );
    }
    let who = |member: &str| Identity {
        member: member.into(),
        instance: None,
    };
    assert_eq!(world.commit(&who("m1"), 1, 5), Ok(()));
    assert_eq!(world.commit(&who("m1"), 2, 5), Err(Kafka::StaleMemberEpoch));
    assert_eq!(world.commit(&who("m1"), 0, 5), Err(Kafka::StaleMemberEpoch));
    assert_eq!(world.commit(&who("m9"), 1, 5), Err(Kafka::UnknownMemberId));
    assert_eq!(world.shard.may_fetch(G, Some("m1"), 1), Ok(()));
    assert_eq!(
        world.shard.may_fetch(G, Some("m1"), 0),
        Err(Kafka::StaleMemberEpoch)
    );
    assert_eq!(world.shard.may_fetch(G, None, -1), Ok(()));
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut world = World::new();
    let image = image(&[("a", 4)]);
    let fixed = |id: &str, instance: &str| Consumer {
        instance: Some(instance.into()),
        ..Consumer::new(id, &["a"])
    };
    let mut consumers = vec![fixed("m1", "i1"), fixed("m2", "i2")];
    world.settle(&mut consumers, &image);
    let had = consumers[0].reads.clone();
    let epoch = consumers[0].epoch;
    let taken = world.beat(&fixed("m3", "i1").asked(), &image);
    assert_eq!(code(&taken), Some(Kafka::UnreleasedInstanceId));
    let away = Consumer {
        epoch: -2,
        ..consumers[0].clone()
    };
    assert_eq!(world.beat(&away.asked(), &image).unwrap().epoch, -2);
    world = world.restarted();
    let mut back = fixed("m3", "i1");
    world.turn(&mut back, &image);
    back.follow();
    // Nothing changed for the other one.
    assert_eq!((back.reads.clone(), back.epoch), (had, epoch));
    let fenced = world.beat(&consumers[0].asked(), &image);
    assert_eq!(code(&fenced), Some(Kafka::FencedInstanceId));
    let unknown = Consumer {
        epoch: 3,
        ..fixed("m9", "i9")
    };
    assert_eq!(
        code(&world.beat(&unknown.asked(), &image)),
        Some(Kafka::UnknownMemberId)
    );
}

#[test]
fn topics_are_named_by_a_regular_expression() {
    let mut world = World::new();
    let mut topics = image(&[("xa", 1), ("xb", 1), ("y", 1), ("axa", 1)]);
    let mut one = Consumer {
        regex: Some("x.*".into()),
        ..Consumer::new("m1", &[])
    };
    world.turn(&mut one, &topics);
    one.follow();
    let reads: Vec<_> = one.reads.keys().copied().collect();
    assert_eq!(reads, [topic("xa"), topic("xb")]);
    let epoch = one.epoch;
    // One more fits, one grows.
    topics.apply(Command::CreateTopic {
        name: "xc".into(),
        topic_id: topic("xc"),
        assignments: vec![vec![1]],
        configs: BTreeMap::new(),
    });
    grow(&mut topics, "xa");
    world = world.restarted();
    world.settle(std::slice::from_mut(&mut one), &topics);
    assert_eq!((partitions(&one.reads), one.epoch), (4, epoch + 1));
    let bad = Consumer {
        regex: Some("(".into()),
        ..Consumer::new("m2", &[])
    };
    assert_eq!(
        code(&world.beat(&bad.asked(), &topics)),
        Some(Kafka::InvalidRegularExpression)
    );
}

#[test]
fn a_group_that_nobody_is_in_becomes_one_of_the_other_kind() {
    let mut world = World::new();
    let image = image(&[("a", 1)]);
    assert_eq!(world.commit(&Identity::default(), -1, 7), Ok(()));
    let mut one = Consumer::new("m1", &["a"]);
    world.turn(&mut one, &image);
    assert_eq!(world.committed(), Some(7));
    assert_eq!(world.shard.list().len(), 1);
    let mut clients = vec![Client::new()];
    one.epoch = -1;
    world.beat(&one.asked(), &image).unwrap();
    let generation = world.join_all(&mut clients);
    world.sync_all(&clients, generation);
    assert_eq!(
        (world.state().as_str(), world.committed()),
        ("Stable", Some(7))
    );
    let world = world.restarted();
    assert_eq!(
        (world.state().as_str(), world.committed()),
        ("Stable", Some(7))
    );
}

fn subscription(topics: &[&str], owned: &[(&str, &[i32])], generation: i32) -> Bytes {
    let put = |out: &mut Vec<u8>, text: &str| {
        out.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
        out.extend(text.as_bytes());
    };
    let count = |n: usize| i32::try_from(n).unwrap().to_be_bytes();
    let mut out = 2i16.to_be_bytes().to_vec();
    out.extend(count(topics.len()));
    topics.iter().for_each(|topic| put(&mut out, topic));
    out.extend((-1i32).to_be_bytes());
    out.extend(count(owned.len()));
    for (topic, partitions) in owned {
        put(&mut out, topic);
        out.extend(count(partitions.len()));
        partitions.iter().for_each(|p| out.extend(p.to_be_bytes()));
    }
    out.extend(generation.to_be_bytes());
    out.into()
}

/// As `write_assignment` has it, of one topic.
fn assignment(topic: &str, partitions: &[i32]) -> Bytes {
    let mut out = vec![0, 0, 0, 0, 0, 1];
    out.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
    out.extend(topic.as_bytes());
    out.extend(i32::try_from(partitions.len()).unwrap().to_be_bytes());
    partitions.iter().for_each(|p| out.extend(p.to_be_bytes()));
    out.extend((-1i32).to_be_bytes());
    out.into()
}

fn joins(member: &str, subscription: Bytes) -> JoinAsked {
    JoinAsked {
        group: G.into(),
        who: Identity {
            member: member.into(),
            instance: None,
        },
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: "consumer".into(),
        protocols: vec![("cooperative-sticky".into(), subscription)],
        needs_id: false,
        can_skip: true,
    }
}

#[test]
fn a_classic_group_goes_over_to_the_consumer_protocol_while_it_is_used() {
    let mut world = World::new();
    let image = image(&[("a", 4)]);
    let asked = joins("", subscription(&["a"], &[], -1));
    let joining = world.shard.join_any(&asked, &image, world.now);
    let mut joining = world.perform(joining);
    world.pass(1);
    let joined = joining.try_recv().unwrap();
    let now = world.now;
    let (old, generation) = (joined.member_id.to_string(), joined.generation_id);
    let who = Identity {
        member: old.clone(),
        instance: None,
    };
    let sync = |generation: i32, gives: Option<Bytes>| SyncAsked {
        group: G.into(),
        who: who.clone(),
        generation,
        protocol_type: None,
        protocol: None,
        assignments: gives.into_iter().map(|g| (old.clone(), g)).collect(),
    };
    let all = assignment("a", &[0, 1, 2, 3]);
    let syncing = world
        .shard
        .sync_any(sync(generation, Some(all.clone())), &image, now);
    assert_eq!(world.perform(syncing).try_recv().unwrap().assignment, all);
    assert_eq!(world.commit(&who, generation, 3), Ok(()));

    // One of the new kind comes; the old one goes on, and is told to join again.
    let mut new = Consumer::new("n", &["a"]);
    world.turn(&mut new, &image);
    new.follow();
    assert_eq!(partitions(&new.reads), 0);
    world = world.restarted();
    let beat = |world: &mut World, generation| {
        let heard = world.shard.heartbeat_any(G, &who, generation, world.now);
        world.perform(heard)
    };
    assert_eq!(world.commit(&who, generation, 5), Ok(()));
    assert_eq!(
        beat(&mut world, generation),
        Err(Kafka::RebalanceInProgress)
    );
    // It says what it has, and keeps half of it; then it says that it gave up the rest.
    let owned = subscription(&["a"], &[("a", &[0, 1, 2, 3])], generation);
    let joining = world.shard.join_any(&joins(&old, owned), &image, world.now);
    let joined = world.perform(joining).try_recv().unwrap();
    assert_eq!((joined.error_code, joined.generation_id), (0, generation));
    let syncing = world
        .shard
        .sync_any(sync(generation, None), &image, world.now);
    let half = world.perform(syncing).try_recv().unwrap().assignment;
    assert_eq!(half, assignment("a", &[0, 1]));
    let owned = subscription(&["a"], &[("a", &[0, 1])], generation);
    let joining = world.shard.join_any(&joins(&old, owned), &image, world.now);
    let joined = world.perform(joining).try_recv().unwrap();
    assert_eq!(joined.generation_id, generation + 1);
    let syncing = world
        .shard
        .sync_any(sync(generation + 1, None), &image, world.now);
    assert_eq!(world.perform(syncing).try_recv().unwrap().assignment, half);
    assert_eq!(beat(&mut world, generation + 1), Ok(()));
    assert_eq!(beat(&mut world, generation), Err(Kafka::IllegalGeneration));
    world.settle(std::slice::from_mut(&mut new), &image);
    assert_eq!(new.reads, [(topic("a"), [2, 3].into())].into());
    assert_eq!(world.committed(), Some(5));
    let group = world.shard.describe_consumer(G).unwrap();
    assert_eq!(
        (
            group.state,
            group.members.iter().filter(|m| m.is_classic).count()
        ),
        ("Stable", 1)
    );
    // The old one leaves as it came.
    let leaving = [Leaving { who: who.clone() }];
    let left = world.shard.leave_any(G, &leaving, &image, world.now);
    assert_eq!(world.perform(left), Ok(vec![Ok(())]));
    world.settle(std::slice::from_mut(&mut new), &image);
    assert_eq!(partitions(&new.reads), 4);
}

#[derive(Clone, Debug)]
enum Step {
    Join {
        regex: bool,
    },
    Beat(usize),
    /// Its answer is lost.
    Lost(usize),
    Subscribe(usize, bool),
    Leave(usize),
    Crash(usize),
    Pass(i64),
    Grow(bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<bool>().prop_map(|regex| Step::Join { regex }),
        12 => any::<usize>().prop_map(Step::Beat),
        2 => any::<usize>().prop_map(Step::Lost),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(n, b)| Step::Subscribe(n, b)),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::Crash),
        2 => (1..12_000i64).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Grow),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nobody_reads_what_another_one_reads(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        let mut topics = image(&[("a", 3), ("b", 2)]);
        let mut consumers: Vec<Consumer> = Vec::new();
        let mut heard: BTreeMap<String, i64> = BTreeMap::new();
        let mut next = 0;
        for step in steps {
            let nth = |n: usize| n.checked_rem(consumers.len());
            match step {
                Step::Join { regex } => {
                    next += 1;
                    let mut one = Consumer::new(&format!("m{next}"), if regex { &[] } else { &["a"] });
                    one.regex = regex.then(|| "[ab]".to_owned());
                    world.turn(&mut one, &topics);
                    heard.insert(one.id.clone(), world.now.steady);
                    consumers.push(one);
                }
                Step::Beat(n) => if let Some(n) = nth(n) {
                    world.turn(&mut consumers[n], &topics);
                    heard.insert(consumers[n].id.clone(), world.now.steady);
                },
                Step::Lost(n) => if let Some(n) = nth(n) {
                    consumers[n].follow();
                    drop(world.beat(&consumers[n].asked(), &topics));
                    heard.insert(consumers[n].id.clone(), world.now.steady);
                },
                Step::Subscribe(n, both) => if let Some(n) = nth(n) {
                    consumers[n].topics = if both { vec!["a", "b"] } else { vec!["b"] };
                },
                Step::Leave(n) => if let Some(n) = nth(n) {
                    let mut gone = consumers.remove(n);
                    gone.epoch = -1;
                    drop(world.beat(&gone.asked(), &topics));
                },
                Step::Crash(n) => if let Some(n) = nth(n) { consumers.remove(n); },
                Step::Pass(ms) => {
                    world.pass(ms);
                    // Who is fenced for its silence, or for not giving up, knows that by its own clock.
                    let members: BTreeSet<_> = world.shard.describe_consumer(G).into_iter()
                        .flat_map(|g| g.members).map(|m| m.id).collect();
                    for one in &mut consumers {
                        if !members.contains(&one.id) {
                            one.reads = Target::new();
                            one.told = None;
                        }
                    }
                }
                Step::Grow(which) => grow(&mut topics, if which { "a" } else { "b" }),
                Step::Restart => world = world.restarted(),
            }
            let mut read = BTreeSet::new();
            for one in &consumers {
                for (topic, partitions) in &one.reads {
                    for partition in partitions {
                        prop_assert!(read.insert((*topic, *partition)), "{:?} is read twice", (topic, partition));
                    }
                }
            }
        }
        // Those that crashed are found out, and everything that is wanted is read.
        for _ in 0..12 {
            world.settle(&mut consumers, &topics);
            world.pass(SESSION / 10);
        }
        world.settle(&mut consumers, &topics);
        if consumers.is_empty() {
            return Ok(());
        }
        let all: usize = consumers.iter().map(|c| partitions(&c.reads)).sum();
        let wanted = |name: &str| consumers.iter().any(|c| c.topics.contains(&name) || c.regex.is_some());
        let names = ["a", "b"].into_iter().filter(|name| wanted(name));
        let expected: usize = names.map(|name| topics.topics[name].partitions.len()).sum();
        prop_assert_eq!(all, expected);
        let group = world.shard.describe_consumer(G).unwrap();
        prop_assert_eq!(group.state, "Stable");
        let described: usize = group.members.iter().map(|m| partitions(&m.assigned)).sum();
        prop_assert_eq!(described, all);
        let again = world.restarted();
        prop_assert_eq!(again.shard.describe_consumer(G).unwrap(), group);
    }
}
