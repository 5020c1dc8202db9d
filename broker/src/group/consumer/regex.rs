//! Subscriptions with a regular expression: which topics they mean, looked up now and then. Source: Apache Kafka,
//! `GroupMetadataManager.maybeUpdateRegularExpressions`, `TopicRegexResolver`.
//!
//! An expression means the topics whose whole name it matches. It is resolved after the heartbeat that brought it was answered: the next one tells the assignment.

use kafka_compat::protocol::error::ResponseError as Kafka;
use regex::Regex;

use super::{
    Around, ConsumerGroup, Deadline, Member, Refused, Timer,
    record::{self, Resolved},
};
use crate::{coordinator::KeyValue, metadata::Image, re2};

/// Expressions are not resolved more often than this, whoever asks.
const REFRESH_INTERVAL_MS_MIN: i64 = 10_000;

/// How the regular expression of a member changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RegexChange {
    /// It is another one than before, or none.
    pub(super) is_new: bool,
    /// And what it means is known.
    pub(super) is_resolved: bool,
}

impl ConsumerGroup {
    pub(super) fn regex_changed(
        &self,
        member: &Member,
        updated: &Member,
        around: Around<'_>,
        records: &mut Vec<KeyValue>,
        timers: &mut Vec<Timer>,
    ) -> Result<RegexChange, Refused> {
        let mut change = RegexChange::default();
        let (old, new) = (member.regex(), updated.regex());
        let readers = |regex: &str| self.regexes.get(regex).copied().unwrap_or(0);
        let mut must_resolve = false;
        if old != new {
            change.is_new = true;
            if let Some(old) = old.filter(|old| readers(old) == 1) {
                records.push(record::regex(&self.id, old, None));
            }
            match new {
                None => change.is_resolved = true,
                Some(new) if readers(new) == 0 => {
                    compile(new)?;
                    must_resolve = true;
                }
                Some(new) => change.is_resolved = self.resolved.contains_key(new),
            }
        }
        let mut subscribed = self.regexes.clone();
        if let Some(count) = old.and_then(|old| subscribed.get_mut(old)) {
            *count -= 1;
        }
        subscribed.retain(|_, count| *count > 0);
        if let Some(new) = new {
            *subscribed.entry(new.to_owned()).or_default() += 1;
        }
        if subscribed.is_empty() {
            return Ok(change);
        }
        if self.must_resolve(must_resolve, subscribed.len(), around) {
            timers.push(Timer::SetIfNone(Deadline::Regexes(self.id.clone()), 0));
        }
        Ok(change)
    }

    /// There is one that was never resolved, the metadata changed, or it is long ago.
    fn must_resolve(&self, is_asked: bool, subscribed: usize, around: Around<'_>) -> bool {
        let Some(last) = self.resolved.values().next() else {
            return true;
        };
        let now = around.now.wall.0;
        if now <= last.at_ms.saturating_add(REFRESH_INTERVAL_MS_MIN) {
            return false;
        }
        let interval = around.config.regex_refresh_interval_ms;
        is_asked
            || subscribed != self.resolved.len()
            || last.version < version(around.image)
            || now > last.at_ms.saturating_add(interval)
    }

    /// Looks up which topics the group's expressions mean now.
    pub(super) fn resolve(&self, around: Around<'_>) -> Vec<KeyValue> {
        let mut records = Vec::new();
        let mut after = self.clone();
        let mut grows = false;
        for regex in self.regexes.keys() {
            let resolved = Resolved {
                topics: meant(regex, around.image),
                version: version(around.image),
                at_ms: around.now.wall.0,
            };
            let before = self.resolved.get(regex).map(|before| &before.topics);
            grows |= before.is_none_or(|before| *before != resolved.topics)
                && !(before.is_none() && resolved.topics.is_empty());
            records.push(record::regex(&self.id, regex, Some(&resolved)));
            after.resolved.insert(regex.clone(), resolved);
        }
        let hash = after
            .subscriptions(self.members.values())
            .hash(around.image);
        if grows || hash != self.hash {
            records.push(record::group(&self.id, Some((self.epoch + 1, hash))));
        }
        records
    }
}

fn version(image: &Image) -> i64 {
    i64::try_from(image.version).unwrap_or(i64::MAX)
}

fn meant(regex: &str, image: &Image) -> std::collections::BTreeSet<String> {
    // It was compiled when it came; a later release may read another language.
    let Ok(regex) = compile(regex) else {
        return std::collections::BTreeSet::new();
    };
    let names = image.topics.keys();
    names.filter(|name| regex.is_match(name)).cloned().collect()
}

/// One that matches whole names.
fn compile(regex: &str) -> Result<Regex, Refused> {
    re2::whole(regex).map_err(|error| {
        let why =
            format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {error}.");
        Refused::new(Kafka::InvalidRegularExpression, why)
    })
}
