//! Kafka's answers, told as gRPC tells them: the services of topics and groups ask Kafka's own handlers, so that a thing has one rule.

use kafka_compat::protocol::protocol::StrBytes;
use tonic::{Code, Status};

use super::errors::{again_soon, status};
use crate::api::error_code::Kafka;

/// As Kafka's messages have it.
pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// One was asked for.
pub(super) fn only<T>(answers: Vec<T>) -> Result<T, Status> {
    let only = answers.into_iter().next();
    only.ok_or_else(|| Status::internal("there is no answer"))
}

/// An error if the code is one.
pub(super) fn done(code: i16, message: Option<&StrBytes>) -> Result<(), Status> {
    match Kafka::try_from_code(code) {
        None => Ok(()),
        Some(error) => Err(refused(error, message.map(StrBytes::as_str))),
    }
}

/// The status for one of Kafka's errors. Its reason is Kafka's name of it.
pub(super) fn refused(error: Kafka, message: Option<&str>) -> Status {
    let message = message.map_or_else(|| said(error), str::to_owned);
    let reason = name(error);
    match code(error) {
        // What a disk refused is not different in a second.
        Code::Unavailable if error != Kafka::KafkaStorageError => again_soon(&reason, message),
        code => status(code, &reason, message),
    }
}

fn code(error: Kafka) -> Code {
    match error {
        Kafka::UnknownTopicOrPartition
        | Kafka::UnknownTopicId
        | Kafka::GroupIdNotFound
        | Kafka::ResourceNotFound => Code::NotFound,
        Kafka::TopicAlreadyExists => Code::AlreadyExists,
        Kafka::OffsetOutOfRange => Code::OutOfRange,
        Kafka::NonEmptyGroup
        | Kafka::TopicDeletionDisabled
        | Kafka::PolicyViolation
        | Kafka::UnknownMemberId
        | Kafka::IllegalGeneration
        | Kafka::GroupSubscribedToTopic
        | Kafka::UnstableOffsetCommit => Code::FailedPrecondition,
        Kafka::InvalidTopicException
        | Kafka::InvalidConfig
        | Kafka::InvalidPartitions
        | Kafka::InvalidReplicationFactor
        | Kafka::InvalidReplicaAssignment
        | Kafka::InvalidRequest
        | Kafka::InvalidGroupId
        | Kafka::OffsetMetadataTooLarge => Code::InvalidArgument,
        Kafka::CorruptMessage => Code::DataLoss,
        Kafka::RequestTimedOut
        | Kafka::KafkaStorageError
        | Kafka::NotLeaderOrFollower
        | Kafka::NotCoordinator
        | Kafka::CoordinatorNotAvailable
        | Kafka::CoordinatorLoadInProgress => Code::Unavailable,
        _ => Code::Internal,
    }
}

/// `TopicAlreadyExists` as Kafka writes it: `TOPIC_ALREADY_EXISTS`.
fn name(error: Kafka) -> String {
    let mut name = String::new();
    for c in format!("{error:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

/// In words, where Kafka's own answer has none.
fn said(error: Kafka) -> String {
    match error {
        Kafka::NonEmptyGroup | Kafka::UnknownMemberId => {
            "the group has members: stop its consumers first".into()
        }
        Kafka::GroupIdNotFound => "there is no such group".into(),
        Kafka::UnknownTopicOrPartition => "there is no such topic or partition".into(),
        Kafka::PolicyViolation => "the topic's cleanup.policy does not delete".into(),
        Kafka::InvalidTopicException => "the node keeps its own state in it".into(),
        Kafka::TopicDeletionDisabled => "delete.topic.enable is false".into(),
        Kafka::CoordinatorNotAvailable | Kafka::CoordinatorLoadInProgress => {
            "the coordinator is being made or loaded: try again".into()
        }
        Kafka::OffsetOutOfRange => "it is behind what is committed".into(),
        Kafka::CorruptMessage => "the log is damaged there".into(),
        Kafka::KafkaStorageError => "the partition is offline, or its disk refused".into(),
        other => name(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_kafkas_name() {
        assert_eq!(name(Kafka::TopicAlreadyExists), "TOPIC_ALREADY_EXISTS");
        let status = refused(Kafka::TopicAlreadyExists, Some("it is there"));
        assert_eq!(status.code(), Code::AlreadyExists);
        assert_eq!(status.message(), "it is there");
        assert!(done(0, None).is_ok());
        assert_eq!(done(3, None).unwrap_err().code(), Code::NotFound);
    }
}
