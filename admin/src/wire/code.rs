//! Kafka's error codes, in words.

use std::fmt;

use kafka_protocol::error::ResponseError as Kafka;

/// An error code that a broker answered with; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub i16);

impl Code {
    /// Nothing went wrong.
    pub const NONE: Self = Self(0);

    /// The error, if it is one.
    pub fn error(self) -> Option<Kafka> {
        Kafka::try_from_code(self.0)
    }

    /// Whether nothing went wrong.
    pub fn is_ok(self) -> bool {
        self == Self::NONE
    }

    /// An error where something went wrong.
    pub fn ok(self) -> anyhow::Result<()> {
        if self.is_ok() {
            Ok(())
        } else {
            anyhow::bail!("{self}")
        }
    }

    /// Whether the coordinator moves, starts or reads what it has: asking again soon helps.
    pub fn is_coordinator_on_its_way(self) -> bool {
        let codes = [
            Kafka::CoordinatorLoadInProgress,
            Kafka::CoordinatorNotAvailable,
            Kafka::NotCoordinator,
        ];
        self.error().is_some_and(|error| codes.contains(&error))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self.error() {
            None => "no error",
            Some(Kafka::GroupIdNotFound) => "there is no such group",
            Some(Kafka::NonEmptyGroup) => "the group has members",
            Some(Kafka::GroupSubscribedToTopic) => "the group reads this topic",
            Some(Kafka::TransactionalIdNotFound) => "there is no such transactional id",
            Some(Kafka::UnknownTopicOrPartition) => "there is no such topic or partition",
            Some(Kafka::Unknown(code)) => return write!(f, "error {code}"),
            Some(other) => return f.write_str(&constant(&format!("{other:?}"))),
        };
        f.write_str(said)
    }
}

/// Kafka's own spelling: `NotLeaderOrFollower` is `NOT_LEADER_OR_FOLLOWER`.
fn constant(name: &str) -> String {
    let mut constant = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !constant.is_empty() {
            constant.push('_');
        }
        constant.push(c.to_ascii_uppercase());
    }
    constant
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_in_words_or_by_kafkas_name() {
        assert_eq!(Code(69).to_string(), "there is no such group");
        assert_eq!(Code(6).to_string(), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(Code(9_999).to_string(), "error 9999");
        assert!(Code(15).is_coordinator_on_its_way() && !Code(0).is_coordinator_on_its_way());
        assert!(Code(0).ok().is_ok() && Code(69).ok().is_err());
    }
}
