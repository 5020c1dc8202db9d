//! Members leave, or are taken for gone. Source: Apache Kafka, `GroupMetadataManager.consumerGroupLeave` and
//! `consumerGroupFenceMembers`.

use super::{
    Around, ConsumerGroup, Deadline, HeartbeatAnswer, HeartbeatAsked, Member, Outcome, Refused,
    Timer,
    member::{LEAVES_FOR_A_WHILE, MemberState, Owned},
    record,
};

/// Who leaves, and how.
pub(super) enum Leave<'a> {
    /// For good.
    ForGood(&'a Member),
    /// A static member will come back: what it has is kept for it.
    ForAWhile(&'a Member),
}

impl ConsumerGroup {
    /// Who it is that leaves with a heartbeat.
    pub(super) fn leaving(&self, asked: &HeartbeatAsked) -> Result<Leave<'_>, Refused> {
        let Some(instance) = &asked.instance else {
            return Ok(Leave::ForGood(self.member(&asked.member)?));
        };
        let member = self.identified(&asked.member, instance)?;
        Ok(if asked.epoch == LEAVES_FOR_A_WHILE {
            Leave::ForAWhile(member)
        } else {
            Leave::ForGood(member)
        })
    }

    /// Keeps what a static member has, for it to come back.
    pub(super) fn leave_for_a_while(&self, member: &Member) -> Outcome<HeartbeatAnswer> {
        let mut away = Member {
            epoch: LEAVES_FOR_A_WHILE,
            revoking: Owned::new(),
            ..member.clone()
        };
        // When it is back under another id, it has them from the beginning.
        for epoch in away.assigned.values_mut().flat_map(|of| of.values_mut()) {
            *epoch = 0;
        }
        Outcome {
            records: vec![record::current(&self.id, &away)],
            ..Outcome::reply(left(&away.id, LEAVES_FOR_A_WHILE))
        }
    }

    /// Removes members: the others share what they had.
    pub(super) fn without(&self, gone: &[&Member], around: Around<'_>) -> Outcome<()> {
        let mut outcome = Outcome::reply(());
        if gone.is_empty() {
            return outcome;
        }
        let records = &mut outcome.records;
        for member in gone {
            records.extend(member.removal(&self.id));
            outcome.timers.extend(self.no_deadlines(&member.id));
        }
        let is_gone = |member: &&Member| gone.iter().any(|gone| gone.id == member.id);
        let left = || self.members.values().filter(|member| !is_gone(member));
        for regex in self.unused_regexes(gone) {
            records.push(record::regex(&self.id, regex, None));
        }
        let hash = self.subscriptions(left()).hash(around.image);
        records.push(record::group(&self.id, Some((self.epoch + 1, hash))));
        outcome
    }

    /// Regular expressions that only those who are gone subscribed with.
    fn unused_regexes<'a>(&'a self, gone: &'a [&Member]) -> impl Iterator<Item = &'a String> + 'a {
        self.regexes.iter().filter_map(|(regex, count)| {
            let of_gone = gone.iter().filter(|member| member.regex == **regex);
            (of_gone.count() == *count).then_some(regex)
        })
    }

    /// Nobody waits for the member any more.
    pub(super) fn no_deadlines(&self, member: &str) -> [Timer; 4] {
        let of = |deadline: fn(String, String) -> Deadline| {
            Timer::Cancel(deadline(self.id.clone(), member.to_owned()))
        };
        [
            of(Deadline::Session),
            of(Deadline::Revoke),
            of(Deadline::Join),
            of(Deadline::Sync),
        ]
    }

    /// Everybody's session begins now: the group was read from the log.
    pub(super) fn loaded(&self, around: Around<'_>) -> Vec<Timer> {
        let mut timers = Vec::new();
        for member in self.members.values() {
            let key = || (self.id.clone(), member.id.clone());
            let (group, id) = key();
            let session = i64::from(around.config.session_timeout_ms);
            timers.push(Timer::Set(Deadline::Session(group, id), session));
            if member.state == MemberState::Unrevoked {
                let (group, id) = key();
                let timeout = i64::from(member.rebalance_timeout_ms);
                timers.push(Timer::Set(Deadline::Revoke(group, id), timeout));
            }
        }
        timers
    }

    /// What follows when time is over for a member: it is gone, unless it has moved on.
    pub(super) fn late<'a>(&'a self, deadline: &Deadline) -> Option<&'a Member> {
        match deadline {
            Deadline::Session(_, id) | Deadline::Join(_, id) | Deadline::Sync(_, id) => {
                self.members.get(id)
            }
            Deadline::Revoke(_, id) => {
                let member = self.members.get(id);
                member.filter(|member| member.state == MemberState::Unrevoked)
            }
            Deadline::Regexes(_) => None,
        }
    }
}

/// What is told to one that left.
pub(super) fn left(member: &str, epoch: i32) -> HeartbeatAnswer {
    HeartbeatAnswer {
        member: member.to_owned(),
        epoch,
        interval_ms: 0,
        assignment: None,
    }
}
