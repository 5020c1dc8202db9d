//! To a consumer group, and back.

use bytes::Bytes;
use kafka_compat::protocol::error::ResponseError as Kafka;

use super::{Around, CONSUMER, ClassicGroup, Member, State, Step, refused_join};
use crate::{
    coordinator::{KeyValue, Now},
    group::shard::Deadline,
};

/// A member, as both kinds of groups know it.
#[derive(Clone, Debug)]
pub(in crate::group) struct Converted {
    pub(in crate::group) id: String,
    pub(in crate::group) instance: Option<String>,
    pub(in crate::group) client_id: String,
    pub(in crate::group) client_host: String,
    pub(in crate::group) rebalance_timeout_ms: i32,
    pub(in crate::group) session_timeout_ms: i32,
    /// Under the group's protocol.
    pub(in crate::group) subscription: Bytes,
    pub(in crate::group) assignment: Bytes,
    pub(in crate::group) protocols: Vec<(String, Bytes)>,
}

impl ClassicGroup {
    /// A stable group of consumers.
    pub(in crate::group) fn of_consumers(
        id: &str,
        generation: i32,
        members: Vec<Converted>,
        now: Now,
    ) -> Self {
        let mut group = Self {
            state: State::Stable,
            previous: State::Stable,
            generation,
            protocol_type: Some(CONSUMER.to_owned()),
            ..Self::new(id.to_owned(), now.wall)
        };
        for member in members {
            group.add(Member {
                id: member.id,
                instance: member.instance,
                client_id: member.client_id,
                client_host: member.client_host,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                protocol_type: CONSUMER.to_owned(),
                protocols: member.protocols,
                assignment: member.assignment,
                is_new: false,
                awaits_join: None,
                awaits_sync: None,
            });
        }
        group.protocol = group.select_protocol();
        group
    }

    /// What says all of it.
    pub(in crate::group) fn as_record(&self) -> KeyValue {
        self.record(None)
    }

    /// Its members speak the consumers' protocol within the classic one.
    pub(in crate::group) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Its members.
    pub(in crate::group) fn parts(&self) -> impl Iterator<Item = Converted> + '_ {
        self.members().map(|member| {
            let first = member.protocols.first().map(|(name, _)| name.as_str());
            Converted {
                id: member.id.clone(),
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                subscription: member.metadata(self.protocol.as_deref().or(first)),
                assignment: member.assignment.clone(),
                protocols: member.protocols.clone(),
            }
        })
    }

    /// Whoever waits is to join again.
    pub(in crate::group) fn answer_all(&mut self, code: Kafka, around: &mut Around<'_>) {
        self.answer_syncs(code, around);
        for member in self.members.values_mut() {
            let id = member.id.clone();
            member.answer_join(refused_join(code, &id));
        }
    }

    /// A rebalance is not waited for any more. Sessions go on: what says that the group is another one may not be written.
    pub(in crate::group) fn forget_rebalance(&self, around: &mut Around<'_>) {
        around.deadlines.cancel(&Deadline::Join(self.id.clone()));
        around.deadlines.cancel(&Deadline::Sync(self.id.clone()));
    }

    /// Members have to join again, because the group is a classic one now.
    pub(in crate::group) fn rebalance(&mut self, around: &mut Around<'_>) -> Step {
        self.prepare_rebalance(around)
    }
}
