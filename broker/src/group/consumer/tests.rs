//! A shard whose clock, log and topics belong to the test.

mod migration;
mod owners;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use kafka_compat::protocol::error::ResponseError as Kafka;
use storage::units::{TimestampMs, TopicId};

use super::{HeartbeatAnswer, HeartbeatAsked, Images, Refused};
use crate::{
    config::{Config, LiveConfig, load},
    coordinator::{Decided, KeyValue, Now, Shard},
    group::{Commit, GroupShard, Identity, shard::Then},
    metadata::{Command, Image},
};

const G: &str = "g";
const SESSION_MS: i64 = 45_000;
const REBALANCE_MS: i32 = 60_000;
/// A group assigns again after this.
const SETTLED_MS: i64 = 1_000;

struct World {
    shard: GroupShard,
    log: Vec<KeyValue>,
    now: Now,
    image: Arc<Mutex<Image>>,
}

/// A member, as a client knows itself: it has what it was told, until it gives it up.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    instance: Option<String>,
    topics: Vec<String>,
    epoch: i32,
    owned: BTreeMap<TopicId, Vec<i32>>,
}

impl Client {
    fn new(id: &str, topics: &[&str]) -> Self {
        Self {
            id: id.into(),
            topics: topics.iter().map(|t| (*t).to_owned()).collect(),
            ..Self::default()
        }
    }

    fn count(&self) -> usize {
        self.owned.values().map(Vec::len).sum()
    }
}

impl World {
    fn new(topics: &[(&str, usize)]) -> Self {
        Self::over(Arc::default(), Vec::new()).with_topics(topics)
    }

    fn over(image: Arc<Mutex<Image>>, log: Vec<KeyValue>) -> Self {
        let config = Config::new(load(None, &[], &[]).unwrap()).unwrap();
        let images = Arc::clone(&image);
        let images = Images::new(move || Arc::new(images.lock().unwrap().clone()));
        let mut shard = GroupShard::new(LiveConfig::new(config), images);
        for record in &log {
            shard.replay(record);
        }
        let now = Now {
            wall: TimestampMs(1_800_000_000_000),
            steady: 0,
        };
        shard.loaded(now);
        Self {
            shard,
            log,
            now,
            image,
        }
    }

    fn with_topics(mut self, topics: &[(&str, usize)]) -> Self {
        for (name, partitions) in topics {
            self.create(name, *partitions);
        }
        self
    }

    fn create(&mut self, name: &str, partitions: usize) {
        let mut image = self.image.lock().unwrap();
        let topic_id = TopicId::from_u128(image.topics.len() as u128 + 1);
        image.apply(Command::CreateTopic {
            name: name.into(),
            topic_id,
            assignments: vec![vec![1]; partitions],
            configs: BTreeMap::new(),
        });
    }

    /// Another shard, of what the log has.
    fn restarted(self) -> Self {
        let now = self.now;
        Self {
            now,
            ..Self::over(self.image, self.log)
        }
    }

    fn perform<R>(&mut self, decided: Decided<R, Then>) -> R {
        if decided.replay {
            for record in &decided.records {
                self.shard.replay(record);
            }
        }
        self.log.extend(decided.records);
        if let Some(then) = decided.then {
            let more = self.shard.then(then, true, self.now);
            self.perform(more);
        }
        decided.reply
    }

    fn pass(&mut self, ms: i64) {
        self.now.steady += ms;
        self.now.wall.0 += ms;
        while let Some(decided) = self.shard.on_deadline(self.now) {
            self.perform(decided);
        }
    }

    fn ask(&mut self, asked: HeartbeatAsked) -> Result<HeartbeatAnswer, Refused> {
        let decided = self.shard.consumer_heartbeat(asked, self.now);
        self.perform(decided)
    }

    /// A whole heartbeat; the client does as it is told at once.
    fn beat(&mut self, client: &mut Client) -> Result<(), Kafka> {
        let owned = client.owned.iter().map(|(t, ps)| (*t, ps.clone()));
        let answer = self.ask(HeartbeatAsked {
            group: G.into(),
            member: client.id.clone(),
            epoch: client.epoch,
            instance: client.instance.clone(),
            rebalance_timeout_ms: REBALANCE_MS,
            names: Some(client.topics.clone()),
            owned: Some(owned.collect()),
            ..HeartbeatAsked::default()
        });
        match answer {
            Ok(answer) => {
                client.epoch = answer.epoch;
                if let Some(assignment) = answer.assignment {
                    client.owned = assignment;
                }
                Ok(())
            }
            Err(refused) => {
                if matches!(
                    refused.code,
                    Kafka::FencedMemberEpoch | Kafka::UnknownMemberId
                ) {
                    client.epoch = 0;
                    client.owned.clear();
                }
                Err(refused.code)
            }
        }
    }

    fn leave(&mut self, client: &Client, epoch: i32) -> Result<(), Kafka> {
        let left = self.ask(HeartbeatAsked {
            group: G.into(),
            member: client.id.clone(),
            instance: client.instance.clone(),
            epoch,
            ..HeartbeatAsked::default()
        });
        left.map(|_| ()).map_err(|refused| refused.code)
    }

    /// Heartbeats, until everybody has what it shall have.
    fn converge(&mut self, clients: &mut [Client]) {
        for _ in 0..8 {
            self.pass(SETTLED_MS);
            for client in clients.iter_mut() {
                let _ = self.beat(client);
            }
        }
        assert_eq!(self.state(), "Stable");
    }

    fn state(&self) -> &'static str {
        let mut groups = self.shard.list().into_iter();
        groups.find(|g| g.group == G).map_or("Dead", |g| g.state)
    }

    fn commit(&mut self, member: &str, epoch: i32, partition: i32) -> Result<(), Kafka> {
        let commit = Commit {
            topic: "t".into(),
            partition,
            offset: 5,
            leader_epoch: -1,
            metadata: String::new(),
        };
        let who = Identity {
            member: member.into(),
            instance: None,
        };
        let decided = self.shard.commit(G, &who, epoch, (&[commit], -1), self.now);
        self.perform(decided)
    }
}

fn sizes(clients: &[Client]) -> Vec<usize> {
    clients.iter().map(Client::count).collect()
}

#[test]
fn a_member_has_everything_at_once_and_after_a_start() {
    let mut world = World::new(&[("t", 3)]);
    let mut one = Client::new("a", &["t"]);
    world.beat(&mut one).unwrap();
    assert_eq!((one.epoch, one.count(), world.state()), (2, 3, "Stable"));
    let mut world = world.restarted();
    assert_eq!(world.state(), "Stable");
    world.beat(&mut one).unwrap();
    assert_eq!((one.epoch, one.count()), (2, 3));
    world.leave(&one, -1).unwrap();
    assert_eq!(world.restarted().state(), "Empty");
}

#[test]
fn a_partition_is_given_up_before_it_is_given() {
    let mut world = World::new(&[("t", 4)]);
    let (mut one, mut two) = (Client::new("a", &["t"]), Client::new("b", &["t"]));
    world.beat(&mut one).unwrap();
    world.pass(SETTLED_MS);
    world.beat(&mut two).unwrap();
    assert_eq!((two.epoch, two.count()), (3, 0));
    // It is told what it keeps, and stays in its epoch until it says that the rest is gone.
    world.beat(&mut one).unwrap();
    assert_eq!((one.epoch, one.count()), (2, 2));
    world.beat(&mut two).unwrap();
    assert_eq!((two.count(), world.state()), (0, "Reconciling"));
    world.beat(&mut one).unwrap();
    world.beat(&mut two).unwrap();
    assert_eq!((one.epoch, one.count(), two.count()), (3, 2, 2));
    assert_eq!(world.state(), "Stable");
}

#[test]
fn who_does_not_give_up_in_time_is_gone() {
    let mut world = World::new(&[("t", 2)]);
    let (mut one, mut two) = (Client::new("a", &["t"]), Client::new("b", &["t"]));
    world.beat(&mut one).unwrap();
    world.pass(SETTLED_MS);
    world.beat(&mut two).unwrap();
    let everything = one.owned.clone();
    for _ in 0..7 {
        // It sends heartbeats, and keeps what it has.
        world.pass(10_000);
        let _ = world.beat(&mut one);
        one.owned.clone_from(&everything);
        world.beat(&mut two).unwrap();
    }
    world.pass(SETTLED_MS);
    world.beat(&mut two).unwrap();
    assert_eq!(two.count(), 2);
    assert_eq!(one.epoch, 0, "it was told to begin anew");
}

#[test]
fn a_session_ends_and_others_get_what_was_left() {
    let mut world = World::new(&[("t", 2)]);
    let mut clients = [Client::new("a", &["t"]), Client::new("b", &["t"])];
    world.converge(&mut clients);
    let [mut gone, mut stays] = clients;
    for _ in 0..5 {
        world.pass(SESSION_MS / 5);
        world.beat(&mut stays).unwrap();
    }
    world.pass(SETTLED_MS);
    world.beat(&mut stays).unwrap();
    assert_eq!(stays.count(), 2);
    assert_eq!(world.beat(&mut gone), Err(Kafka::UnknownMemberId));
}

#[test]
fn a_static_member_comes_back_to_what_it_had() {
    let mut world = World::new(&[("t", 4)]);
    let mut clients = [Client::new("a", &["t"]), Client::new("b", &["t"])];
    clients[0].instance = Some("i".into());
    world.converge(&mut clients);
    let had = clients[0].owned.clone();
    let mut back = Client {
        instance: Some("i".into()),
        ..Client::new("c", &["t"])
    };
    assert_eq!(world.beat(&mut back), Err(Kafka::UnreleasedInstanceId));
    world.leave(&clients[0], -2).unwrap();
    let mut world = world.restarted();
    world.beat(&mut back).unwrap();
    assert_eq!(back.owned, had);
    assert_eq!(world.beat(&mut clients[0]), Err(Kafka::FencedInstanceId));
    assert_eq!(world.beat(&mut clients[1]), Ok(()));
    assert_eq!(world.state(), "Stable");
}

#[test]
fn a_topic_that_grows_is_assigned_anew() {
    let mut world = World::new(&[("t", 1)]);
    let mut clients = [Client::new("a", &["t", "later"])];
    world.converge(&mut clients);
    assert_eq!(sizes(&clients), [1]);
    world.create("other", 3);
    let before = world.log.len();
    world.converge(&mut clients);
    assert_eq!(world.log.len(), before, "nobody reads it");
    world.create("later", 3);
    world.converge(&mut clients);
    assert_eq!(sizes(&clients), [4]);
}

#[test]
fn a_topic_that_is_deleted_is_given_up() {
    let mut world = World::new(&[("t", 1), ("gone", 2)]);
    let mut clients = [
        Client::new("a", &["t", "gone"]),
        Client::new("b", &["t", "gone"]),
    ];
    world.converge(&mut clients);
    assert_eq!(sizes(&clients).iter().sum::<usize>(), 3);
    let topic_id = world.image.lock().unwrap().topics["gone"].id;
    let deleted = Command::DeleteTopic { topic_id };
    world.image.lock().unwrap().apply(deleted);
    world.converge(&mut clients);
    assert_eq!(sizes(&clients).iter().sum::<usize>(), 1);
}

#[test]
fn a_regular_expression_means_topics_that_come_later() {
    let mut world = World::new(&[("t-1", 1), ("u", 1)]);
    let asked = |epoch| HeartbeatAsked {
        group: G.into(),
        member: "a".into(),
        epoch,
        rebalance_timeout_ms: REBALANCE_MS,
        regex: Some("t-.*".into()),
        owned: Some(Vec::new()),
        ..HeartbeatAsked::default()
    };
    let joined = world.ask(asked(0)).unwrap();
    assert_eq!(
        (joined.epoch, joined.assignment),
        (1, Some(BTreeMap::new()))
    );
    world.pass(SETTLED_MS);
    let told = world.ask(asked(1)).unwrap();
    assert_eq!(told.assignment.unwrap().len(), 1);
    world.create("t-2", 1);
    // It is not looked for too often.
    for _ in 0..2 {
        world.pass(11_000);
        world.ask(asked(told.epoch)).unwrap();
    }
    let mut world = world.restarted();
    let now = world.ask(asked(0)).unwrap();
    assert_eq!(now.assignment.unwrap().len(), 2);
    let bad = HeartbeatAsked {
        regex: Some("a(".into()),
        ..asked(0)
    };
    let refused = world.ask(bad).unwrap_err();
    assert_eq!(refused.code, Kafka::InvalidRegularExpression);
}

#[test]
fn a_commit_is_of_the_present_epoch_or_of_what_was_had_then() {
    let mut world = World::new(&[("t", 2)]);
    let mut one = Client::new("a", &["t"]);
    world.beat(&mut one).unwrap();
    let first = one.epoch;
    assert_eq!(world.commit("a", first, 0), Ok(()));
    assert_eq!(
        world.commit("a", first + 1, 0),
        Err(Kafka::StaleMemberEpoch)
    );
    assert_eq!(
        world.commit("a", first - 1, 0),
        Err(Kafka::StaleMemberEpoch)
    );
    assert_eq!(world.commit("b", first, 0), Err(Kafka::UnknownMemberId));
    assert_eq!(world.commit("", -1, 0), Err(Kafka::UnknownMemberId));
    one.topics.push("later".into());
    let mut clients = [one];
    world.converge(&mut clients);
    assert!(clients[0].epoch > first);
    assert_eq!(world.commit("a", first, 0), Ok(()), "it had it since then");
    world.leave(&clients[0], -1).unwrap();
    assert_eq!(world.commit("", -1, 0), Ok(()));
}

#[test]
fn an_empty_group_is_deleted_or_expires() {
    let mut world = World::new(&[("t", 1)]);
    let mut one = Client::new("a", &["t"]);
    world.beat(&mut one).unwrap();
    world.commit("a", one.epoch, 0).unwrap();
    let decided = world.shard.delete(G);
    assert_eq!(world.perform(decided), Err(Kafka::NonEmptyGroup));
    let places = [("t".to_owned(), 0)];
    let decided = world.shard.delete_offsets(G, &places);
    let answers = world.perform(decided).unwrap();
    assert_eq!(answers, [Err(Kafka::GroupSubscribedToTopic)]);
    world.leave(&one, -1).unwrap();
    world.pass(6 * 86_400_000);
    assert_eq!(world.state(), "Empty");
    world.pass(2 * 86_400_000);
    assert_eq!(world.state(), "Dead");
    assert_eq!(world.restarted().state(), "Dead");
}

#[test]
fn a_group_may_have_settings_of_its_own() {
    let mut world = World::new(&[("t", 1)]);
    let change = |name: &str, value: &str| Command::AlterGroupConfig {
        group: G.into(),
        changes: [(name.to_owned(), Some(value.to_owned()))].into(),
    };
    {
        let mut image = world.image.lock().unwrap();
        image.apply(change("consumer.session.timeout.ms", "60000"));
        image.apply(change("consumer.heartbeat.interval.ms", "7000"));
    }
    let answer = world.ask(HeartbeatAsked {
        group: G.into(),
        member: "a".into(),
        rebalance_timeout_ms: REBALANCE_MS,
        names: Some(vec!["t".into()]),
        owned: Some(Vec::new()),
        ..HeartbeatAsked::default()
    });
    assert_eq!(answer.unwrap().interval_ms, 7_000);
    world.pass(SESSION_MS + 1);
    assert_eq!(world.state(), "Stable");
    world.pass(60_000);
    assert_eq!(world.state(), "Empty");
}
