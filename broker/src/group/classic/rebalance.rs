//! From the first that joins to a generation that all know of.

use std::collections::HashMap;

use kafka_compat::protocol::{error::ResponseError as Kafka, messages::SyncGroupResponse};

use super::{Around, ClassicGroup, State, Step, refused_join};
use crate::group::shard::Deadline;

impl ClassicGroup {
    /// Somebody came, went or changed.
    pub(super) fn changed(&mut self, around: &mut Around<'_>) -> Step {
        if self.is(State::PreparingRebalance) {
            self.complete_if_all_joined(around)
        } else {
            self.prepare_rebalance(around)
        }
    }

    pub(super) fn prepare_rebalance(&mut self, around: &mut Around<'_>) -> Step {
        if self.is(State::CompletingRebalance) {
            self.answer_syncs(Kafka::RebalanceInProgress, around);
            around.deadlines.cancel(&Deadline::Sync(self.id.clone()));
        }
        let is_first = self.is(State::Empty);
        self.go(State::PreparingRebalance, around.now);
        if is_first {
            // Others will come: a rebalance for each would be one too many.
            let delay = around.config.initial_rebalance_delay_ms;
            let left = (self.rebalance_timeout_ms() - delay).max(0);
            self.new_member_added = false;
            self.join_left_ms = left;
            around.set(Deadline::Join(self.id.clone()), delay);
            return Step::default();
        }
        if self.has_all_joined() {
            return self.complete_join(around);
        }
        self.wait_for_joins(around);
        Step::default()
    }

    fn wait_for_joins(&mut self, around: &mut Around<'_>) {
        let timeout = self.rebalance_timeout_ms();
        self.join_left_ms = 0;
        around.set(Deadline::Join(self.id.clone()), timeout);
    }

    /// The longest that a member asks for.
    fn rebalance_timeout_ms(&self) -> i64 {
        let timeouts = self.members.values().map(|m| m.rebalance_timeout_ms);
        i64::from(timeouts.max().unwrap_or(0))
    }

    fn has_all_joined(&self) -> bool {
        self.pending_joins.is_empty() && self.members.values().all(|m| m.awaits_join.is_some())
    }

    pub(super) fn complete_if_all_joined(&mut self, around: &mut Around<'_>) -> Step {
        let may = self.is(State::PreparingRebalance) && self.previous != State::Empty;
        if may && self.has_all_joined() {
            self.complete_join(around)
        } else {
            Step::default()
        }
    }

    /// The time for joins is over; the first ones may be given more.
    pub(in crate::group) fn on_join_deadline(&mut self, around: &mut Around<'_>) -> Step {
        if !self.is(State::PreparingRebalance) {
            return Step::default();
        }
        if self.join_left_ms > 0 && std::mem::take(&mut self.new_member_added) {
            let delay = around
                .config
                .initial_rebalance_delay_ms
                .min(self.join_left_ms);
            self.join_left_ms -= delay;
            around.set(Deadline::Join(self.id.clone()), delay);
            return Step::default();
        }
        self.complete_join(around)
    }

    fn complete_join(&mut self, around: &mut Around<'_>) -> Step {
        around.deadlines.cancel(&Deadline::Join(self.id.clone()));
        let late = self.members.values().filter(|m| m.awaits_join.is_none());
        // A static member may come back within its session.
        let late = late.filter(|m| m.instance.is_none());
        let late: Vec<_> = late.map(|m| m.id.clone()).collect();
        for id in late {
            self.remove(&id, around);
        }
        if !self.elect_joined_leader() && !self.members.is_empty() {
            // None of them joined: their sessions will end.
            self.wait_for_joins(around);
            return Step::default();
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.pending_syncs.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.go(State::Empty, around.now);
            return Step {
                records: vec![self.record(None)],
                then: None,
            };
        }
        self.protocol = self.select_protocol();
        self.go(State::CompletingRebalance, around.now);
        let answers: Vec<_> = self
            .members
            .keys()
            .map(|id| (id.clone(), self.joined(id, self.is_leader(id))))
            .collect();
        for (id, answer) in answers {
            if let Some(member) = self.members.get_mut(&id) {
                // What it has is told until the members know of the next generation.
                member.assignment.clear();
                member.answer_join(answer);
            }
            self.heard_of(&id, around);
            self.pending_syncs.insert(id);
        }
        let timeout = self.rebalance_timeout_ms();
        around.set(Deadline::Sync(self.id.clone()), timeout);
        Step::default()
    }

    /// The leader stays if it joined; else the first that did leads. False where nobody joined.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &String| {
            let member = self.members.get(id);
            member.is_some_and(|m| m.awaits_join.is_some())
        };
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let first = self.members.values().find(|m| m.awaits_join.is_some());
        match first.map(|m| m.id.clone()) {
            Some(first) => {
                self.leader = Some(first);
                true
            }
            None => false,
        }
    }

    /// Of what all can do, what most of them like best.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let is_common = |name: &str| self.members.values().all(|m| m.supports(name));
        let mut votes: HashMap<&str, usize> = HashMap::new();
        let mut in_order = Vec::new();
        for member in self.members.values() {
            let mut names = member.protocols.iter().map(|(name, _)| name.as_str());
            if let Some(liked) = names.find(|name| is_common(name)) {
                if !votes.contains_key(liked) {
                    in_order.push(liked);
                }
                *votes.entry(liked).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        let winner = in_order
            .into_iter()
            .find(|name| votes.get(name) == Some(&most));
        winner.map(str::to_owned)
    }

    /// Answers whoever waits for an assignment with an error; what was assigned is void.
    pub(super) fn answer_syncs(&mut self, code: Kafka, around: &mut Around<'_>) {
        let mut answered = Vec::new();
        for member in self.members.values_mut() {
            member.assignment.clear();
            let answer = SyncGroupResponse::default().with_error_code(code.code());
            if member.answer_sync(answer) {
                answered.push(member.id.clone());
            }
        }
        for id in answered {
            self.heard_of(&id, around);
        }
    }

    /// Members that joined and did not sync in time are gone.
    pub(in crate::group) fn on_sync_deadline(&mut self, around: &mut Around<'_>) -> Step {
        let syncing = self.is(State::CompletingRebalance) || self.is(State::Stable);
        if !syncing || self.pending_syncs.is_empty() {
            return Step::default();
        }
        for id in std::mem::take(&mut self.pending_syncs) {
            self.remove(&id, around);
        }
        self.prepare_rebalance(around)
    }

    /// A session is over: the member is gone, unless it waits for us.
    pub(in crate::group) fn on_session_deadline(
        &mut self,
        id: &str,
        around: &mut Around<'_>,
    ) -> Step {
        if self.pending_joins.remove(id) {
            return self.complete_if_all_joined(around);
        }
        let Some(member) = self.members.get_mut(id) else {
            return Step::default();
        };
        let waits = member.awaits_join.is_some() || member.awaits_sync.is_some();
        if waits && !member.is_new {
            return Step::default();
        }
        member.answer_join(refused_join(Kafka::UnknownMemberId, ""));
        self.gone(id, around)
    }

    /// A member is gone: the others share what it had.
    pub(super) fn gone(&mut self, id: &str, around: &mut Around<'_>) -> Step {
        self.remove(id, around);
        match self.state {
            State::Empty => Step::default(),
            _ => self.changed(around),
        }
    }
}
