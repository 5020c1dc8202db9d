//! Settings of consumer groups.

use std::collections::BTreeMap;

/// How long a member of one group may be silent.
pub const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";
/// How often members of one group send a heartbeat.
pub const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";
/// How long one group waits before it assigns again.
pub const ASSIGNMENT_INTERVAL: &str = "consumer.assignment.interval.ms";

/// Who shares partitions among members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignor {
    /// As even as can be, moving as little as can be.
    Uniform,
    /// Ranges of each topic, so that topics of one size are read together.
    Range,
}

impl Assignor {
    /// Kafka's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor of that name.
    pub fn find(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range]
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }
}

/// The assignors that members may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignors {
    /// Used where no member asks for one.
    pub first: Assignor,
    /// The other one, if it is allowed.
    pub second: Option<Assignor>,
}

impl Assignors {
    /// From a list of names; `None` where it names none, or one that is not known.
    pub fn parse(list: &str) -> Option<Self> {
        let names = list.split(',').map(str::trim);
        let mut found = names.map(Assignor::find);
        let first = found.next()??;
        let second = match found.next() {
            Some(second) => Some(second?),
            None => None,
        };
        Some(Self {
            first,
            second: second.filter(|second| *second != first),
        })
    }

    /// In the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = Assignor> {
        [Some(self.first), self.second].into_iter().flatten()
    }
}

/// Which groups may change their protocol while they have members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    /// Both ways.
    Bidirectional,
    /// From the classic protocol to the consumer protocol.
    Upgrade,
    /// From the consumer protocol to the classic protocol.
    Downgrade,
    /// None.
    Disabled,
}

impl Migration {
    /// Of Kafka's word, in whatever case.
    pub fn find(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "bidirectional" => Some(Self::Bidirectional),
            "upgrade" => Some(Self::Upgrade),
            "downgrade" => Some(Self::Downgrade),
            "disabled" => Some(Self::Disabled),
            _ => None,
        }
    }

    /// A classic group may become a consumer group.
    pub fn upgrades(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Upgrade)
    }

    /// A consumer group may become a classic group.
    pub fn downgrades(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Downgrade)
    }
}

/// Settings of consumer groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// `group.consumer.session.timeout.ms`
    pub session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`
    pub heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`
    pub assignment_interval_ms: i64,
    /// `group.consumer.regex.refresh.interval.ms`
    pub regex_refresh_interval_ms: i64,
    /// `group.consumer.max.size`
    pub max_size: usize,
    /// `group.consumer.assignors`
    pub assignors: Assignors,
    /// `group.consumer.migration.policy`
    pub migration: Migration,
}

impl ConsumerConfig {
    /// With what was set for one group. It was checked when it was set.
    #[must_use]
    pub fn of_group(mut self, own: Option<&BTreeMap<String, String>>) -> Self {
        let set = |name: &str| own?.get(name)?.trim().parse::<i32>().ok();
        if let Some(ms) = set(SESSION_TIMEOUT) {
            self.session_timeout_ms = ms;
        }
        if let Some(ms) = set(HEARTBEAT_INTERVAL) {
            self.heartbeat_interval_ms = ms;
        }
        if let Some(ms) = set(ASSIGNMENT_INTERVAL) {
            self.assignment_interval_ms = ms.into();
        }
        self
    }
}
