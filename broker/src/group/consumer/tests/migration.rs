//! Groups change their protocol.

use bytes::Bytes;
use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{JoinGroupResponse, SyncGroupResponse},
};

use super::{Client, G, REBALANCE_MS, World};
use crate::{
    coordinator::Writer,
    group::{Identity, JoinAsked, SyncAsked},
};

fn consumer_subscription(topic: &str) -> Bytes {
    let subscription = Writer::default().i16(0).i32(1).string(topic);
    subscription.i32(-1).finish()
}

impl World {
    fn join(&mut self, member: &str) -> JoinGroupResponse {
        let asked = JoinAsked {
            group: G.into(),
            who: Identity {
                member: member.into(),
                instance: None,
            },
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: REBALANCE_MS,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), consumer_subscription("t"))],
            needs_id: false,
            can_skip: false,
        };
        let decided = self.shard.join(&asked, self.now);
        let mut answer = self.perform(decided);
        // The first members of a classic group are waited for.
        self.pass(3_000);
        answer.try_recv().unwrap()
    }

    fn sync(&mut self, joined: &JoinGroupResponse, assignments: &[&str]) -> SyncGroupResponse {
        let all = Writer::default()
            .i16(0)
            .i32(1)
            .string("t")
            .i32(2)
            .i32(0)
            .i32(1);
        let all = all.i32(-1).finish();
        let assignments = assignments.iter();
        let asked = SyncAsked {
            group: G.into(),
            who: Identity {
                member: joined.member_id.to_string(),
                instance: None,
            },
            generation: joined.generation_id,
            protocol_type: Some("consumer".into()),
            protocol: Some("range".into()),
            assignments: assignments
                .map(|member| ((*member).to_owned(), all.clone()))
                .collect(),
        };
        let decided = self.shard.sync(asked, self.now);
        self.perform(decided).try_recv().unwrap()
    }

    fn classic_beat(&mut self, joined: &JoinGroupResponse) -> Result<(), Kafka> {
        let who = Identity {
            member: joined.member_id.to_string(),
            instance: None,
        };
        let decided = self
            .shard
            .heartbeat(G, &who, joined.generation_id, self.now);
        self.perform(decided)
    }

    fn kind(&self) -> &'static str {
        let mut groups = self.shard.list().into_iter();
        groups.find(|g| g.group == G).map_or("none", |g| g.kind)
    }
}

#[test]
fn a_group_changes_its_protocol_while_it_has_members() {
    let mut world = World::new(&[("t", 2)]);
    let joined = world.join("");
    let synced = world.sync(&joined, &[&joined.member_id]);
    assert_eq!((synced.error_code, world.kind()), (0, "classic"));
    // One of the new protocol comes: the broker assigns from here on.
    let mut new = Client::new("n", &["t"]);
    world.beat(&mut new).unwrap();
    assert_eq!(world.kind(), "consumer");
    assert_eq!(new.count(), 0, "the other one has everything");
    let mut world = world.restarted();
    assert_eq!(world.classic_beat(&joined), Err(Kafka::RebalanceInProgress));
    // It gives up what is not its own any more, and joins once more.
    let again = world.join(&joined.member_id);
    assert_eq!((again.error_code, again.members.len()), (0, 0));
    let had = world.sync(&again, &[]);
    assert_eq!(had.error_code, 0);
    let again = world.join(&again.member_id);
    world.sync(&again, &[]);
    world.beat(&mut new).unwrap();
    assert_eq!((new.count(), world.state()), (1, "Stable"));
    // The last one of the new protocol goes.
    world.leave(&new, -1).unwrap();
    assert_eq!(
        (world.kind(), world.state()),
        ("classic", "PreparingRebalance")
    );
    let mut world = world.restarted();
    assert_eq!((world.kind(), world.state()), ("classic", "Stable"));
    let last = world.join(&again.member_id);
    assert_eq!(
        (last.error_code, last.leader.clone()),
        (0, last.member_id.clone())
    );
}

#[test]
fn an_empty_group_is_of_whoever_comes() {
    let mut world = World::new(&[("t", 2)]);
    assert_eq!(world.commit("", -1, 0), Ok(()));
    let mut new = Client::new("n", &["t"]);
    world.beat(&mut new).unwrap();
    assert_eq!(world.kind(), "consumer");
    world.leave(&new, -1).unwrap();
    assert_eq!(world.shard.committed(G, "t", 0).map(|c| c.offset), Some(5));
    let stranger = world.join("stranger");
    assert_eq!(stranger.error_code, Kafka::UnknownMemberId.code());
    assert_eq!(world.kind(), "consumer");
    let joined = world.join("");
    assert_eq!((joined.error_code, world.kind()), (0, "classic"));
    world.sync(&joined, &[&joined.member_id]);
    let world = world.restarted();
    assert_eq!((world.kind(), world.state()), ("classic", "Stable"));
    assert_eq!(world.shard.committed(G, "t", 0).map(|c| c.offset), Some(5));
}
