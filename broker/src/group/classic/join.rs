//! JoinGroup.

use bytes::Bytes;
use kafka_compat::protocol::{error::ResponseError as Kafka, messages::JoinGroupResponse};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Around, ClassicGroup, Identity, Member, State, Step, Then, refused_join};
use crate::group::shard::Deadline;

/// A member that never got an answer cannot be told from one that is gone: it is asked to come again after this.
const NEW_MEMBER_TIMEOUT_MS: i64 = 5 * 60 * 1_000;

/// A JoinGroup request.
#[derive(Clone, Debug)]
pub struct JoinAsked {
    /// Which group.
    pub group: String,
    /// Who asks.
    pub who: Identity,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it asks from.
    pub client_host: String,
    /// Without a heartbeat for so long it is gone.
    pub session_timeout_ms: i32,
    /// How long it may take to join again.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, …
    pub protocol_type: String,
    /// What it can do, the best first.
    pub protocols: Vec<(String, Bytes)>,
    /// A member without an id is given one, and asked to come again with it (KIP-394).
    pub needs_id: bool,
    /// It understands `skip_assignment`.
    pub can_skip: bool,
}

/// How a join is answered, and what it asks to be written.
#[derive(Debug)]
pub(in crate::group) struct Join {
    pub(in crate::group) answer: oneshot::Receiver<JoinGroupResponse>,
    pub(in crate::group) step: Step,
}

impl ClassicGroup {
    /// A member joins. It is answered when all have, or at once where nothing changes.
    pub(in crate::group) fn join(&mut self, asked: &JoinAsked, around: &mut Around<'_>) -> Join {
        let (tell, answer) = oneshot::channel();
        let step = self.admit(asked, tell, around);
        Join { answer, step }
    }

    fn admit(&mut self, asked: &JoinAsked, tell: Tell, around: &mut Around<'_>) -> Step {
        let id = &asked.who.member;
        if !self.has_room_for(asked, around) {
            return answered(tell, refused_join(Kafka::GroupMaxSizeReached, id));
        }
        if !self.can_work_with(asked) {
            return answered(tell, refused_join(Kafka::InconsistentGroupProtocol, id));
        }
        match (&asked.who.instance, id.is_empty()) {
            (None, true) => self.admit_new(asked, tell, around),
            (Some(instance), true) => {
                let new = new_member_id(instance);
                match self.instances.get(instance).cloned() {
                    Some(old) => self.come_back(&old, &new, asked, tell, around),
                    None => self.admit_as(new, asked, tell, around),
                }
            }
            (_, false) => self.admit_known(asked, tell, around),
        }
    }

    /// Who is in it, or waits for it, may always come again.
    fn has_room_for(&self, asked: &JoinAsked, around: &Around<'_>) -> bool {
        let max = around.config.max_size;
        let id = &asked.who.member;
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                let joined = self
                    .members
                    .get(id)
                    .is_some_and(|m| m.awaits_join.is_some());
                let awaiting = self.members.values().filter(|m| m.awaits_join.is_some());
                joined || awaiting.count() < max
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains_key(id)
                    || self.pending_joins.contains(id)
                    || self.size() < max
            }
        }
    }

    fn can_work_with(&self, asked: &JoinAsked) -> bool {
        if self.is(State::Empty) || self.members.is_empty() {
            return !asked.protocol_type.is_empty() && !asked.protocols.is_empty();
        }
        let is_common = |name: &str| self.members.values().all(|m| m.supports(name));
        self.protocol_type.as_ref() == Some(&asked.protocol_type)
            && asked.protocols.iter().any(|(name, _)| is_common(name))
    }

    fn admit_new(&mut self, asked: &JoinAsked, tell: Tell, around: &mut Around<'_>) -> Step {
        let id = new_member_id(&asked.client_id);
        if !asked.needs_id {
            return self.admit_as(id, asked, tell, around);
        }
        // Else each retry of a request that timed out would be one more member.
        let session = i64::from(asked.session_timeout_ms);
        around.set(Deadline::Session(self.id.clone(), id.clone()), session);
        self.pending_joins.insert(id.clone());
        answered(tell, refused_join(Kafka::MemberIdRequired, &id))
    }

    fn admit_known(&mut self, asked: &JoinAsked, tell: Tell, around: &mut Around<'_>) -> Step {
        let id = asked.who.member.clone();
        if asked.who.instance.is_none() && self.pending_joins.contains(&id) {
            return self.admit_as(id, asked, tell, around);
        }
        if let Err(code) = self.identify(&asked.who) {
            return answered(tell, refused_join(code, &id));
        }
        let is_same = self
            .members
            .get(&id)
            .is_some_and(|m| m.protocols == asked.protocols);
        match self.state {
            State::CompletingRebalance if is_same => {
                // It asks again because it did not get the answer.
                answered(tell, self.joined(&id, self.is_leader(&id)))
            }
            State::Stable if is_same && !self.is_leader(&id) => {
                answered(tell, self.joined(&id, false))
            }
            State::Empty => answered(tell, refused_join(Kafka::UnknownMemberId, &id)),
            // A leader that joins again wants to assign anew.
            _ => {
                self.update(&id, asked, tell);
                self.changed(around)
            }
        }
    }

    fn update(&mut self, id: &str, asked: &JoinAsked, tell: Tell) {
        if let Some(member) = self.members.get_mut(id) {
            member.protocols.clone_from(&asked.protocols);
            member.rebalance_timeout_ms = asked.rebalance_timeout_ms;
            member.session_timeout_ms = asked.session_timeout_ms;
            member.awaits_join = Some(tell);
        }
    }

    fn admit_as(
        &mut self,
        id: String,
        asked: &JoinAsked,
        tell: Tell,
        around: &mut Around<'_>,
    ) -> Step {
        around.set(
            Deadline::Session(self.id.clone(), id.clone()),
            NEW_MEMBER_TIMEOUT_MS,
        );
        if self.members.is_empty() {
            self.protocol_type = Some(asked.protocol_type.clone());
        }
        self.add(Member {
            id,
            instance: asked.who.instance.clone(),
            client_id: asked.client_id.clone(),
            client_host: asked.client_host.clone(),
            rebalance_timeout_ms: asked.rebalance_timeout_ms,
            session_timeout_ms: asked.session_timeout_ms,
            protocol_type: asked.protocol_type.clone(),
            protocols: asked.protocols.clone(),
            assignment: Bytes::new(),
            is_new: true,
            awaits_join: Some(tell),
            awaits_sync: None,
        });
        // The first members are waited for a little longer when one more comes.
        if self.is(State::PreparingRebalance) && self.previous == State::Empty {
            self.new_member_added = true;
        }
        self.changed(around)
    }

    /// A static member under a new id takes the place of its old one, with what was assigned to it.
    fn come_back(
        &mut self,
        old: &str,
        new: &str,
        asked: &JoinAsked,
        tell: Tell,
        around: &mut Around<'_>,
    ) -> Step {
        let leader_before = self.leader.clone().unwrap_or_default();
        let protocol_before = self.protocol.clone();
        self.replace(old, new, around);
        self.update(new, asked, tell);
        self.heard_of(new, around);
        if !self.is(State::Stable) || self.select_protocol() != protocol_before {
            return self.changed(around);
        }
        Step {
            records: vec![self.record(None)],
            then: Some(Then::Welcome {
                generation: self.generation,
                member: new.to_owned(),
                skips: asked.can_skip,
                leader_before,
            }),
        }
    }

    fn replace(&mut self, old: &str, new: &str, around: &mut Around<'_>) {
        around
            .deadlines
            .cancel(&Deadline::Session(self.id.clone(), old.to_owned()));
        let Some(at) = self.members.get_index_of(old) else {
            return;
        };
        let Some((_, mut member)) = self.members.shift_remove_index(at) else {
            return;
        };
        // Two of one name run: the older one is told so.
        member.answer_join(refused_join(Kafka::FencedInstanceId, old));
        member.answer_sync(
            kafka_compat::protocol::messages::SyncGroupResponse::default()
                .with_error_code(Kafka::FencedInstanceId.code()),
        );
        new.clone_into(&mut member.id);
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), new.to_owned());
        }
        if self.is_leader(old) {
            self.leader = Some(new.to_owned());
        }
        if self.pending_syncs.remove(old) {
            self.pending_syncs.insert(new.to_owned());
        }
        self.members.shift_insert(at, new.to_owned(), member);
    }

    /// The record of a static member that came back is committed, or is not.
    pub(in crate::group) fn welcome(&mut self, then: &Then, committed: bool) {
        let Then::Welcome {
            generation,
            member,
            skips,
            leader_before,
        } = then
        else {
            return;
        };
        if *generation != self.generation || !self.is(State::Stable) {
            return;
        }
        let leads = self.is_leader(member);
        let answer = if !committed {
            refused_join(Kafka::UnknownMemberId, member)
        } else if *skips {
            self.joined(member, leads).with_skip_assignment(leads)
        } else {
            // A client that does not know of skipping must not take itself for the leader: what it assigns would go nowhere.
            self.joined(member, false)
                .with_leader(super::text(leader_before))
        };
        if let Some(member) = self.members.get_mut(member) {
            member.answer_join(answer);
        }
    }
}

type Tell = oneshot::Sender<JoinGroupResponse>;

/// Whoever asked may be gone.
fn answered(tell: Tell, answer: JoinGroupResponse) -> Step {
    drop(tell.send(answer));
    Step::default()
}

fn new_member_id(name: &str) -> String {
    format!("{name}-{}", Uuid::new_v4())
}
