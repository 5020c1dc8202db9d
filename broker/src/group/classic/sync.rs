//! SyncGroup, Heartbeat.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_compat::protocol::{error::ResponseError as Kafka, messages::SyncGroupResponse};
use tokio::sync::oneshot;

use super::{Around, ClassicGroup, Identity, State, Step, Then, text};
use crate::group::shard::Deadline;

/// A SyncGroup request.
#[derive(Clone, Debug)]
pub struct SyncAsked {
    /// Which group.
    pub group: String,
    /// Who asks.
    pub who: Identity,
    /// The generation that it joined.
    pub generation: i32,
    /// What it takes the group's protocol type for, where it says.
    pub protocol_type: Option<String>,
    /// What it takes the group's protocol for, where it says.
    pub protocol: Option<String>,
    /// What each member gets, from the leader.
    pub assignments: BTreeMap<String, Bytes>,
}

/// How a sync is answered, and what it asks to be written.
#[derive(Debug)]
pub(in crate::group) struct Sync {
    pub(in crate::group) answer: oneshot::Receiver<SyncGroupResponse>,
    pub(in crate::group) step: Step,
}

impl ClassicGroup {
    /// A member asks for its assignment, which the leader brings.
    pub(in crate::group) fn sync(
        &mut self,
        asked: SyncAsked,
        around: &mut Around<'_>,
    ) -> Result<Sync, Kafka> {
        self.identify(&asked.who)?;
        if asked.generation != self.generation {
            return Err(Kafka::IllegalGeneration);
        }
        let differs = |said: &Option<String>, is: &Option<String>| said.is_some() && said != is;
        if differs(&asked.protocol_type, &self.protocol_type)
            || differs(&asked.protocol, &self.protocol)
        {
            return Err(Kafka::InconsistentGroupProtocol);
        }
        let (tell, answer) = oneshot::channel();
        let id = asked.who.member;
        let mut step = Step::default();
        match self.state {
            State::Empty => return Err(Kafka::UnknownMemberId),
            State::PreparingRebalance => return Err(Kafka::RebalanceInProgress),
            State::CompletingRebalance => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.awaits_sync = Some(tell);
                }
                self.synced(&id, around);
                if self.is_leader(&id) {
                    step.records = vec![self.record(Some(&asked.assignments))];
                    step.then = Some(Then::Assign {
                        generation: self.generation,
                        assignments: asked.assignments,
                    });
                }
            }
            State::Stable => {
                self.synced(&id, around);
                drop(tell.send(self.assigned(&id)));
                self.heard_of(&id, around);
            }
        }
        Ok(Sync { answer, step })
    }

    fn synced(&mut self, id: &str, around: &mut Around<'_>) {
        self.pending_syncs.remove(id);
        if self.pending_syncs.is_empty() {
            around.deadlines.cancel(&Deadline::Sync(self.id.clone()));
        }
    }

    fn assigned(&self, id: &str) -> SyncGroupResponse {
        let assignment = self.members.get(id).map(|m| m.assignment.clone());
        SyncGroupResponse::default()
            .with_protocol_type(self.protocol_type.as_deref().map(text))
            .with_protocol_name(self.protocol.as_deref().map(text))
            .with_assignment(assignment.unwrap_or_default())
    }

    /// The leader's assignments are committed, or could not be.
    pub(in crate::group) fn assign(
        &mut self,
        generation: i32,
        mut assignments: BTreeMap<String, Bytes>,
        committed: bool,
        around: &mut Around<'_>,
    ) -> Step {
        // Another rebalance may have begun meanwhile.
        if !self.is(State::CompletingRebalance) || generation != self.generation {
            return Step::default();
        }
        if !committed {
            self.answer_syncs(Kafka::CoordinatorNotAvailable, around);
            return self.prepare_rebalance(around);
        }
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
        }
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.assigned(&id);
            let told = self
                .members
                .get_mut(&id)
                .is_some_and(|m| m.answer_sync(answer));
            if told {
                self.heard_of(&id, around);
            }
        }
        self.go(State::Stable, around.now);
        Step::default()
    }

    /// A member is alive; it learns whether it has to join again.
    pub(in crate::group) fn heartbeat(
        &mut self,
        who: &Identity,
        generation: i32,
        around: &mut Around<'_>,
    ) -> Result<(), Kafka> {
        self.identify(who)?;
        if generation != self.generation {
            return Err(Kafka::IllegalGeneration);
        }
        match self.state {
            State::Empty => Err(Kafka::UnknownMemberId),
            State::PreparingRebalance => {
                self.heard_of(&who.member, around);
                Err(Kafka::RebalanceInProgress)
            }
            State::CompletingRebalance | State::Stable => {
                self.heard_of(&who.member, around);
                Ok(())
            }
        }
    }
}
