//! A shard whose clock and log belong to the test.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{JoinGroupResponse, SyncGroupResponse},
};
use storage::units::TimestampMs;
use tokio::sync::oneshot::Receiver;

use super::{Commit, GroupShard, Identity, Images, JoinAsked, Leaving, SyncAsked, shard::Then};
use crate::{
    config::{Config, LiveConfig, load},
    coordinator::{Decided, KeyValue, Now, Shard},
};

const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 60_000;
const G: &str = "g";

struct World {
    shard: GroupShard,
    log: Vec<KeyValue>,
    now: Now,
    /// What was written is not committed any more.
    broken: bool,
}

/// A member, as a client knows itself.
#[derive(Clone, Debug, Default)]
struct Client {
    who: Identity,
    protocols: Vec<&'static str>,
    can_skip: bool,
}

impl Client {
    fn new() -> Self {
        Self {
            protocols: vec!["range"],
            ..Self::default()
        }
    }

    fn fixed(instance: &str) -> Self {
        let mut client = Self::new();
        client.who.instance = Some(instance.into());
        client
    }
}

impl World {
    fn new() -> Self {
        Self::with(&[("group.initial.rebalance.delay.ms", "0")])
    }

    fn with(settings: &[(&str, &str)]) -> Self {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let config = Config::new(load(None, &[], &settings).unwrap()).unwrap();
        let mut world = Self {
            shard: GroupShard::new(LiveConfig::new(config), Images::new(Arc::default)),
            log: Vec::new(),
            now: Now {
                wall: TimestampMs(1_800_000_000_000),
                steady: 0,
            },
            broken: false,
        };
        world.shard.loaded(world.now);
        world
    }

    /// Another shard, of what the log has.
    fn restarted(self) -> Self {
        let mut world = Self::new();
        for record in &self.log {
            world.shard.replay(record);
        }
        world.log = self.log;
        world.now = self.now;
        world.shard.loaded(world.now);
        world
    }

    fn perform<R>(&mut self, decided: Decided<R, Then>) -> R {
        let Decided {
            records,
            replay,
            reply,
            then,
        } = decided;
        let committed = !self.broken;
        if committed {
            if replay {
                for record in &records {
                    self.shard.replay(record);
                }
            }
            self.log.extend(records);
        }
        if let Some(then) = then {
            let more = self.shard.then(then, committed, self.now);
            self.perform(more);
        }
        reply
    }

    fn pass(&mut self, ms: i64) {
        self.now.steady += ms;
        self.now.wall.0 += ms;
        while let Some(decided) = self.shard.on_deadline(self.now) {
            self.perform(decided);
        }
    }

    fn ask(&mut self, client: &Client, needs_id: bool) -> Receiver<JoinGroupResponse> {
        let protocols = client.protocols.iter();
        let asked = JoinAsked {
            group: G.into(),
            who: client.who.clone(),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            protocol_type: "consumer".into(),
            protocols: protocols
                .map(|p| ((*p).to_owned(), Bytes::from_static(p.as_bytes())))
                .collect(),
            needs_id,
            can_skip: client.can_skip,
        };
        let decided = self.shard.join(&asked, self.now);
        self.perform(decided)
    }

    fn join(&mut self, client: &Client) -> Receiver<JoinGroupResponse> {
        self.ask(client, false)
    }

    /// Members join together; each learns its id. Returns the generation.
    fn join_all(&mut self, clients: &mut [Client]) -> i32 {
        let waiting: Vec<_> = clients.iter().map(|client| self.join(client)).collect();
        self.pass(0);
        let mut generation = 0;
        for (client, mut answer) in clients.iter_mut().zip(waiting) {
            let answer = answer.try_recv().unwrap();
            assert_eq!(answer.error_code, 0, "{answer:?}");
            client.who.member = answer.member_id.to_string();
            generation = answer.generation_id;
        }
        generation
    }

    fn sync(
        &mut self,
        client: &Client,
        generation: i32,
        assignments: &[(&str, &str)],
    ) -> Receiver<SyncGroupResponse> {
        let assignments = assignments.iter();
        let asked = SyncAsked {
            group: G.into(),
            who: client.who.clone(),
            generation,
            protocol_type: Some("consumer".into()),
            protocol: None,
            assignments: assignments
                .map(|(member, what)| ((*member).to_owned(), Bytes::from((*what).to_owned())))
                .collect::<BTreeMap<_, _>>(),
        };
        let decided = self.shard.sync(asked, self.now);
        self.perform(decided)
    }

    /// Members are assigned their index.
    fn sync_all(&mut self, clients: &[Client], generation: i32) {
        let names: Vec<_> = (0..clients.len()).map(|i| i.to_string()).collect();
        let each = clients.iter().zip(&names);
        let assigned: Vec<_> = each
            .map(|(client, name)| (client.who.member.as_str(), name.as_str()))
            .collect();
        let waiting: Vec<_> = clients
            .iter()
            .rev()
            .map(|client| self.sync(client, generation, &assigned))
            .collect();
        for (mut answer, name) in waiting.into_iter().zip(names.iter().rev()) {
            let answer = answer.try_recv().unwrap();
            assert_eq!(
                (answer.error_code, &answer.assignment[..]),
                (0, name.as_bytes())
            );
        }
        assert_eq!(self.state(), "Stable");
    }

    /// A stable group of so many.
    fn stable(&mut self, count: usize) -> (Vec<Client>, i32) {
        let mut clients = vec![Client::new(); count];
        let generation = self.join_all(&mut clients);
        self.sync_all(&clients, generation);
        (clients, generation)
    }

    fn heartbeat(&mut self, client: &Client, generation: i32) -> Result<(), Kafka> {
        let decided = self.shard.heartbeat(G, &client.who, generation, self.now);
        self.perform(decided)
    }

    fn leave(&mut self, who: Identity) -> Result<(), Kafka> {
        let decided = self.shard.leave(G, &[Leaving { who }], self.now);
        self.perform(decided).unwrap().remove(0)
    }

    fn commit(&mut self, who: &Identity, generation: i32, offset: i64) -> Result<(), Kafka> {
        let commit = Commit {
            topic: "t".into(),
            partition: 0,
            offset,
            leader_epoch: -1,
            metadata: "m".into(),
        };
        let decided = self
            .shard
            .commit(G, who, generation, (&[commit], -1), self.now);
        self.perform(decided)
    }

    fn committed(&self) -> Option<i64> {
        self.shard.committed(G, "t", 0).map(|c| c.offset)
    }

    fn state(&self) -> String {
        let group = self.shard.describe(G);
        group.map_or("Dead".into(), |g| g.group_state.to_string())
    }

    fn members(&self) -> Vec<String> {
        let group = self.shard.describe(G).unwrap();
        group
            .members
            .iter()
            .map(|m| m.member_id.to_string())
            .collect()
    }
}

#[test]
fn members_join_are_assigned_and_leave() {
    let mut world = World::new();
    let (clients, generation) = world.stable(3);
    assert_eq!(generation, 1);
    assert_eq!(world.members().len(), 3);
    for client in &clients {
        assert_eq!(world.heartbeat(client, generation), Ok(()));
    }
    assert_eq!(world.leave(clients[2].who.clone()), Ok(()));
    assert_eq!(world.state(), "PreparingRebalance");
    assert_eq!(
        world.heartbeat(&clients[0], generation),
        Err(Kafka::RebalanceInProgress)
    );
    let mut left = clients[..2].to_vec();
    let generation = world.join_all(&mut left);
    assert_eq!(generation, 2);
    world.sync_all(&left, generation);
    assert_eq!(world.heartbeat(&clients[2], 1), Err(Kafka::UnknownMemberId));
    assert_eq!(world.heartbeat(&left[0], 1), Err(Kafka::IllegalGeneration));
    for client in left {
        world.leave(client.who).unwrap();
    }
    assert_eq!(
        (world.state().as_str(), world.members().len()),
        ("Empty", 0)
    );
}

#[test]
fn a_new_member_is_given_an_id_before_it_counts() {
    let mut world = World::new();
    let mut client = Client::new();
    let refused = world.ask(&client, true).try_recv().unwrap();
    assert_eq!(refused.error_code, Kafka::MemberIdRequired.code());
    assert_eq!(world.members().len(), 0);
    client.who.member = refused.member_id.to_string();
    let mut answer = world.ask(&client, true);
    world.pass(0);
    assert_eq!(answer.try_recv().unwrap().error_code, 0);
    // One that does not come back is forgotten, and so are ids that nobody gave out.
    let lost = world.ask(&Client::new(), true).try_recv().unwrap();
    world.pass(i64::from(SESSION_MS));
    for id in [lost.member_id.to_string(), "made up".into()] {
        let mut unknown = Client::new();
        unknown.who.member = id;
        let refused = world.ask(&unknown, true).try_recv().unwrap();
        assert_eq!(refused.error_code, Kafka::UnknownMemberId.code());
    }
}

#[test]
fn the_first_members_are_waited_for() {
    let mut world = World::with(&[("group.initial.rebalance.delay.ms", "3000")]);
    let client = Client::new();
    let mut first = world.join(&client);
    world.pass(2_000);
    let mut second = world.join(&client);
    world.pass(1_000);
    assert!(
        first.try_recv().is_err(),
        "one more came: it is waited again"
    );
    let mut third = world.join(&client);
    world.pass(3_000);
    assert!(first.try_recv().is_err());
    world.pass(3_000);
    let leader = first.try_recv().unwrap();
    assert_eq!((leader.generation_id, leader.members.len()), (1, 3));
    for other in [&mut second, &mut third] {
        let answer = other.try_recv().unwrap();
        assert_eq!(
            (answer.leader, answer.members.len()),
            (leader.member_id.clone(), 0)
        );
    }
}

#[test]
fn who_does_not_come_back_in_time_is_gone() {
    let mut world = World::new();
    let (mut clients, generation) = world.stable(3);
    // The first sends no heartbeat any more, the second does not join again.
    for _ in 0..3 {
        world.pass(i64::from(SESSION_MS) - 1_000);
        let _ = world.heartbeat(&clients[1], generation);
        let _ = world.heartbeat(&clients[2], generation);
    }
    assert_eq!(world.state(), "PreparingRebalance");
    let mut waiting = world.join(&clients[2]);
    let answer = loop {
        world.pass(1_000);
        let _ = world.heartbeat(&clients[1], generation);
        if let Ok(answer) = waiting.try_recv() {
            break answer;
        }
        assert!(world.now.steady < 120_000);
    };
    assert_eq!((answer.error_code, answer.members.len()), (0, 1));
    assert_eq!(answer.leader, answer.member_id);
    let last = clients.remove(2);
    assert_eq!(world.members(), std::slice::from_ref(&last.who.member));
    let mut assigned = world.sync(&last, answer.generation_id, &[]);
    assert_eq!(assigned.try_recv().unwrap().error_code, 0);
    world.pass(i64::from(SESSION_MS));
    assert_eq!(world.state(), "Empty");
}

#[test]
fn who_joins_and_does_not_sync_is_gone() {
    let mut world = World::new();
    let mut clients = vec![Client::new(); 2];
    let generation = world.join_all(&mut clients);
    // The leader is the one that does not.
    let mut waiting = world.sync(&clients[1], generation, &[]);
    for _ in 0..8 {
        world.pass(i64::from(SESSION_MS) - 1_000);
        let _ = world.heartbeat(&clients[0], generation);
    }
    let told = waiting.try_recv().unwrap();
    assert_eq!(told.error_code, Kafka::RebalanceInProgress.code());
    assert_eq!(world.members(), [clients[1].who.member.clone()]);
}

#[test]
fn a_commit_is_of_the_present_generation() {
    let mut world = World::new();
    let (clients, generation) = world.stable(1);
    let nobody = Identity::default();
    assert_eq!(world.commit(&clients[0].who, generation, 5), Ok(()));
    assert_eq!(
        world.commit(&clients[0].who, generation - 1, 6),
        Err(Kafka::IllegalGeneration)
    );
    assert_eq!(world.commit(&nobody, -1, 7), Err(Kafka::UnknownMemberId));
    assert_eq!(world.committed(), Some(5));
    let mut world = world.restarted();
    assert_eq!(
        (world.committed(), world.state().as_str()),
        (Some(5), "Stable")
    );
    assert_eq!(world.heartbeat(&clients[0], generation), Ok(()));
    world.leave(clients[0].who.clone()).unwrap();
    assert_eq!(world.commit(&nobody, -1, 7), Ok(()));
    assert_eq!(world.restarted().committed(), Some(7));
}

#[test]
fn offsets_go_when_nobody_used_the_group_for_long() {
    let day = 86_400_000;
    let mut world = World::new();
    let (clients, generation) = world.stable(1);
    world.commit(&clients[0].who, generation, 5).unwrap();
    // In use, however long.
    for _ in 0..30 {
        world.now.wall.0 += day;
        world.heartbeat(&clients[0], generation).unwrap();
    }
    world.pass(600_000);
    assert_eq!(world.state(), "Empty", "its session ended");
    assert_eq!(world.committed(), Some(5));
    world.pass(6 * day);
    assert_eq!(world.committed(), Some(5));
    world.pass(2 * day);
    assert_eq!((world.committed(), world.state().as_str()), (None, "Dead"));
    assert_eq!(world.restarted().state(), "Dead");
}

#[test]
fn a_group_is_deleted_when_nobody_is_in_it() {
    let mut world = World::new();
    let (clients, generation) = world.stable(1);
    world.commit(&clients[0].who, generation, 5).unwrap();
    let decided = world.shard.delete(G);
    assert_eq!(world.perform(decided), Err(Kafka::NonEmptyGroup));
    world.leave(clients[0].who.clone()).unwrap();
    let decided = world.shard.delete(G);
    assert_eq!(world.perform(decided), Ok(()));
    let decided = world.shard.delete(G);
    assert_eq!(world.perform(decided), Err(Kafka::GroupIdNotFound));
    let world = world.restarted();
    assert_eq!((world.committed(), world.state().as_str()), (None, "Dead"));
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    for can_skip in [false, true] {
        let mut world = World::new();
        let mut clients = vec![Client::fixed("a"), Client::fixed("b")];
        let generation = world.join_all(&mut clients);
        world.sync_all(&clients, generation);
        let old = clients[0].who.clone();
        let mut back = Client::fixed("a");
        back.can_skip = can_skip;
        let answer = world.join(&back).try_recv().unwrap();
        assert_eq!((answer.error_code, answer.generation_id), (0, generation));
        assert_ne!(answer.member_id.as_str(), old.member);
        assert_eq!(
            (answer.skip_assignment, answer.members.len()),
            (can_skip, if can_skip { 2 } else { 0 })
        );
        if !can_skip {
            assert_eq!(
                answer.leader.as_str(),
                old.member,
                "it must not think that it leads"
            );
        }
        assert_eq!(world.state(), "Stable");
        back.who.member = answer.member_id.to_string();
        let mut world = world.restarted();
        let assigned = world.sync(&back, generation, &[]).try_recv().unwrap();
        assert_eq!(
            (assigned.error_code, &assigned.assignment[..]),
            (0, &b"0"[..])
        );
        let fenced = Client {
            who: old,
            ..Client::default()
        };
        assert_eq!(
            world.heartbeat(&fenced, generation),
            Err(Kafka::FencedInstanceId)
        );
        // An administrator removes the other by its name.
        let by_name = Identity {
            member: String::new(),
            instance: Some("b".into()),
        };
        assert_eq!(world.leave(by_name.clone()), Ok(()));
        assert_eq!(world.leave(by_name), Err(Kafka::UnknownMemberId));
    }
}

#[test]
fn the_protocol_is_one_that_all_know_and_most_like() {
    let mut world = World::new();
    let protocols = [vec!["a", "b", "c"], vec!["c", "b"], vec!["b", "c"]];
    let mut clients: Vec<_> = protocols
        .into_iter()
        .map(|protocols| Client {
            protocols,
            ..Client::default()
        })
        .collect();
    world.join_all(&mut clients);
    let other = Client {
        protocols: vec!["d", "a"],
        ..Client::default()
    };
    let refused = world.join(&other).try_recv().unwrap();
    assert_eq!(refused.error_code, Kafka::InconsistentGroupProtocol.code());
    let generation = 1;
    world.sync_all(&clients, generation);
    assert_eq!(world.shard.describe(G).unwrap().protocol_data.as_str(), "b");
}

#[test]
fn an_assignment_that_cannot_be_written_is_told_and_tried_again() {
    let mut world = World::new();
    let mut clients = vec![Client::new(); 2];
    let generation = world.join_all(&mut clients);
    let mut waiting = world.sync(&clients[1], generation, &[]);
    world.broken = true;
    let mut leader = world.sync(&clients[0], generation, &[]);
    for answer in [&mut waiting, &mut leader] {
        let told = answer.try_recv().unwrap();
        assert_eq!(told.error_code, Kafka::CoordinatorNotAvailable.code());
    }
    world.broken = false;
    let generation = world.join_all(&mut clients);
    assert_eq!(generation, 2);
    world.sync_all(&clients, generation);
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let mut world = World::with(&[
        ("group.max.size", "2"),
        ("group.initial.rebalance.delay.ms", "0"),
    ]);
    let (clients, generation) = world.stable(2);
    let refused = world.join(&Client::new()).try_recv().unwrap();
    assert_eq!(refused.error_code, Kafka::GroupMaxSizeReached.code());
    assert_eq!(world.heartbeat(&clients[0], generation), Ok(()));
    // Who is in it may always join again.
    let mut again = clients.clone();
    world.join_all(&mut again);
}
