//! A member of a classic group.

use bytes::Bytes;
use kafka_compat::protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use tokio::sync::oneshot;

use crate::group::record::MemberValue;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The id that the coordinator gave it; empty: none yet.
    pub member: String,
    /// The id that it gave itself (KIP-345).
    pub instance: Option<String>,
}

/// A member, and whom of it waits for an answer.
#[derive(Debug)]
pub(in crate::group) struct Member {
    pub(in crate::group) id: String,
    pub(in crate::group) instance: Option<String>,
    pub(in crate::group) client_id: String,
    pub(in crate::group) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) protocol_type: String,
    /// What it can do, the best first, each with what it wants then.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(in crate::group) assignment: Bytes,
    /// It has not got an answer to its first join: it cannot send heartbeats yet.
    pub(super) is_new: bool,
    pub(super) awaits_join: Option<oneshot::Sender<JoinGroupResponse>>,
    pub(super) awaits_sync: Option<oneshot::Sender<SyncGroupResponse>>,
}

impl Member {
    pub(super) fn from_value(value: MemberValue, protocol: String) -> Self {
        Self {
            id: value.id,
            instance: value.instance,
            client_id: value.client_id,
            client_host: value.client_host,
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            session_timeout_ms: value.session_timeout_ms,
            protocol_type: String::new(),
            protocols: vec![(protocol, value.subscription)],
            assignment: value.assignment,
            is_new: false,
            awaits_join: None,
            awaits_sync: None,
        }
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// What it wants under a protocol.
    pub(in crate::group) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self
            .protocols
            .iter()
            .find(|(name, _)| Some(name.as_str()) == protocol);
        found
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    /// Answers its join, if it waits for that.
    pub(super) fn answer_join(&mut self, answer: JoinGroupResponse) -> bool {
        let Some(asked) = self.awaits_join.take() else {
            return false;
        };
        // Whoever asked may be gone.
        drop(asked.send(answer));
        true
    }

    /// Answers its sync, if it waits for that.
    pub(super) fn answer_sync(&mut self, answer: SyncGroupResponse) -> bool {
        let Some(asked) = self.awaits_sync.take() else {
            return false;
        };
        drop(asked.send(answer));
        true
    }
}
