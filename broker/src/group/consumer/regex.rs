//! Subscriptions with a regular expression: which topics they mean, looked up now and then. Source: Apache Kafka,
//! `GroupMetadataManager.maybeUpdateRegularExpressions`, `TopicRegexResolver`.
//!
//! Kafka takes RE2's language, and so does the package used here, but for details. An expression means the topics whose whole
//! name it matches. It is resolved after the heartbeat that brought it was answered: the next one tells the assignment.

use kafka_compat::protocol::error::ResponseError as Kafka;
use regex::Regex;

use super::{
    Around, ConsumerGroup, Deadline, Member, Refused, Timer,
    record::{self, Resolved},
};
use crate::{coordinator::KeyValue, metadata::Image};

/// Expressions are not resolved more often than this, whoever asks.
const REFRESH_INTERVAL_MS_MIN: i64 = 10_000;

/// RE2 repeats no more often.
const REPEATS_MAX: u32 = 1_000;
/// RE2's words for that, and for a range that is none.
const REPEATS: &str = "invalid repeat count";

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
    // Alone first: what surrounds it must not mend it.
    let compiled = Regex::new(regex).and_then(|_| Regex::new(&format!(r"\A(?:{regex})\z")));
    let compiled = match compiled {
        Ok(_) if repeats_too_often(regex) => Err(REPEATS),
        compiled => compiled.map_err(|error| in_words_of_re2(&error.to_string())),
    };
    compiled.map_err(|error| {
        let why =
            format!("SubscribedTopicRegex `{regex}` is not a valid regular expression: {error}.");
        Refused::new(Kafka::InvalidRegularExpression, why)
    })
}

/// `{n}` or `{n,m}` with a number that RE2 does not count to. What is escaped, or stands in brackets, is no count.
fn repeats_too_often(regex: &str) -> bool {
    let mut chars = regex.chars();
    let mut in_brackets = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            '{' if !in_brackets => {
                let counts = chars.as_str().split('}').next().unwrap_or_default();
                let mut counts = counts.split(',').map(str::parse::<u32>);
                if counts.any(|count| count.is_ok_and(|count| count > REPEATS_MAX)) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

fn in_words_of_re2(error: &str) -> &'static str {
    const WORDS: [(&str, &str); 10] = [
        ("unclosed character class", "missing closing ]"),
        ("unclosed group", "missing closing )"),
        ("unopened group", "regexp/syntax: internal error"),
        ("capture group name", "invalid named capture"),
        (
            "repetition operator missing expression",
            "missing argument to repetition operator",
        ),
        (
            "incomplete escape sequence",
            "trailing backslash at end of expression",
        ),
        ("escape sequence", "invalid escape sequence"),
        ("backreferences", "invalid escape sequence"),
        ("character class range", "invalid character class range"),
        ("repetition count range", REPEATS),
    ];
    let found = WORDS.iter().find(|(ours, _)| error.contains(ours));
    found.map_or("invalid or unsupported Perl syntax", |(_, re2)| re2)
}
