"""What must differ between two brokers, and nothing else.

A rule replaces a value only where the value has the form that the rule is about: an id that is given stays apart from an id that is
missing, a port of its own from a wrong port. Ids that a case made up itself are never masked.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import batch
import codec
import schema
from talk import GIVEN, UNKNOWN_ID, ZERO_ID, Step, Talk

Change = Callable[[Any, Talk], Any]


@dataclass(frozen=True)
class Rule:
    """Values of a field (`Api.Field`, a pattern) that cannot be equal, and why."""

    where: str
    change: Change
    reason: str


@dataclass(frozen=True)
class Order:
    """An array (`Api.Field`, a pattern) whose order means nothing, the fields that name an element (`a|b`: a, else b; none: its
    elements are sorted), and why."""

    where: str
    key: tuple[str, ...]
    reason: str


def _port(value: Any, talk: Talk) -> Any:
    return "<own port>" if value == talk.broker.port else value


def _recent(value: Any, talk: Talk) -> Any:
    return "<now>" if isinstance(value, int) and value > talk.now and value - talk.now < 600_000 else value


def _some(label: str) -> Change:
    """For numbers and texts: whether there is one, not which."""
    def change(value: Any, _: Talk) -> Any:
        present = bool(value) if isinstance(value, str) else isinstance(value, int) and value > 0
        return f"<{label}>" if present else value
    return change


def _producer(value: Any, talk: Talk) -> Any:
    return talk.producers.get(value, value)


def _given_producer(value: Any, talk: Talk) -> Any:
    """An id that InitProducerId gives is remembered, so that the same id is known again later."""
    if value >= 0 and value not in talk.producers and value < 900_000:
        talk.producers[value] = f"<pid {len(talk.producers) + 1}>"
    return talk.producers.get(value, value)


def _member(value: Any, talk: Talk) -> Any:
    """An id that JoinGroup gave: its form counts, and so does what stands in front."""
    found = GIVEN.search(value)
    return value.replace(found[0], talk.members.get(found[0], found[0])) if found else value


RULES = [
    Rule("*.ThrottleTimeMs", lambda v, _: "<throttle>" if v >= 0 else v, "depends on the load, not on the request"),
    Rule("*.ClusterId", _some("cluster"), "each cluster has its own"),
    Rule("DescribeQuorum.Port", _some("port"), "the controller's, and Kafka's has one of its own"),
    Rule("*.Port", _port, "each broker listens on its own"),
    Rule("Produce.LogAppendTimeMs", lambda v, t: "<time of the batch>" if v == t.now else v, "a run has its own time"),
    Rule("Produce.LogAppendTimeMs", _recent, "the broker's clock at the append"),
    Rule("ListOffsets.Timestamp", _recent, "the time of an append, where the broker sets it (times that a case chose lie before)"),
    Rule("InitProducerId.ProducerId", _given_producer, "each broker counts its own; known again by its number in the case"),
    Rule("EndTxn.ProducerId", _given_producer, "a new one, when the epochs of the old one are used up"),
    Rule("*.ProducerId", _producer, "as InitProducerId gave it"),
    Rule("*.MemberId", _member, "random; known again by its number in the case"),
    Rule("JoinGroup.Leader", _member, "a member's id"),
    Rule("Fetch.SessionId", _some("session"), "random"),
    Rule("ApiVersions.FinalizedFeaturesEpoch", lambda v, _: "<epoch>" if v >= 0 else v, "an offset of the metadata log"),
    Rule("DescribeLogDirs.LogDir", _some("dir"), "each broker has its own folder"),
    Rule("DescribeLogDirs.PartitionSize", _some("bytes"), "files have headers and are preallocated differently"),
    Rule("DescribeLogDirs.TotalBytes", _some("bytes"), "the disk"),
    Rule("DescribeLogDirs.UsableBytes", _some("bytes"), "the disk"),
    Rule("DescribeQuorum.HighWatermark", _some("offset"), "the metadata logs hold different entries"),
    Rule("DescribeQuorum.LogEndOffset", _some("offset"), "the metadata logs hold different entries"),
    Rule("DescribeQuorum.LeaderEpoch", _some("epoch"), "counts elections"),
    Rule("DescribeQuorum.LastFetchTimestamp", _recent, "a clock"),
    Rule("DescribeQuorum.LastCaughtUpTimestamp", _recent, "a clock"),
    Rule("DescribeProducers.LastTimestamp", _recent, "a clock"),
    Rule("DescribeTransactions.TransactionStartTimeMs", _recent, "a clock"),
]

ORDERS = [
    Order("*.ApiKeys", ("ApiKey",), "clients look keys up; the table has no order"),
    Order("ApiVersions.SupportedFeatures", ("Name",), "a map"),
    Order("ApiVersions.FinalizedFeatures", ("Name",), "a map"),
    Order("Metadata.Topics", ("Name|TopicId",), "a hash map's order in Kafka"),
    Order("Metadata.Partitions", ("PartitionIndex",), "a hash map's order in Kafka"),
    Order("CreateTopics.Topics", ("Name",), "a hash map's order in Kafka"),
    Order("CreateTopics.Configs", ("Name",), "a hash map's order in Kafka"),
    Order("DeleteTopics.Responses", ("Name|TopicId",), "shuffled by Kafka on purpose"),
    Order("DeleteRecords.Topics", ("Name",), "a hash map's order in Kafka"),
    Order("DeleteRecords.Partitions", ("PartitionIndex",), "a hash map's order in Kafka"),
    Order("CreatePartitions.Results", ("Name",), "a hash map's order in Kafka"),
    Order("DescribeConfigs.Results", ("ResourceType", "ResourceName"), "authorized and refused ones are grouped by Kafka"),
    Order("DescribeConfigs.Configs", ("Name",), "a hash map's order in Kafka"),
    Order("*AlterConfigs.Responses", ("ResourceType", "ResourceName"), "a hash map's order in Kafka"),
    Order("DescribeLogDirs.Topics", ("Name",), "a hash map's order in Kafka"),
    Order("DescribeLogDirs.Partitions", ("PartitionIndex",), "a hash map's order in Kafka"),
    Order("Produce.Responses", ("Name|TopicId",), "a hash map's order in Kafka"),
    Order("Produce.PartitionResponses", ("Index",), "a hash map's order in Kafka"),
    Order("ListOffsets.Topics", ("Name",), "a hash map's order in Kafka"),
    Order("ListOffsets.Partitions", ("PartitionIndex",), "a hash map's order in Kafka"),
    Order("OffsetForLeaderEpoch.Topics", ("Topic",), "a hash map's order in Kafka"),
    Order("OffsetForLeaderEpoch.Partitions", ("Partition",), "a hash map's order in Kafka"),
    Order("ElectLeaders.ReplicaElectionResults", ("Topic",), "a hash map's order in Kafka"),
    Order("ElectLeaders.PartitionResult", ("PartitionId",), "a hash map's order in Kafka"),
    Order("DescribeProducers.ActiveProducers", ("ProducerId",), "a map by id, and the ids differ"),
    Order("DescribeQuorum.Listeners", ("Name",), "a map"),
    Order("JoinGroup.Members", ("MemberId",), "a hash map's order in Kafka, by random ids"),
    Order("DescribeGroups.Members", ("MemberId",), "a hash map's order in Kafka, by random ids"),
    Order("DescribeGroups.Groups", ("GroupId",), "by the partition of the topic of offsets"),
    Order("DeleteGroups.Results", ("GroupId",), "by the partition of the topic of offsets"),
    Order("OffsetFetch.Topics", ("Name|TopicId",), "a hash map's order in Kafka, where all are asked for"),
    Order("OffsetFetch.Partitions", ("PartitionIndex",), "a hash map's order in Kafka, where all are asked for"),
    Order("ListGroups.Groups", ("GroupId",), "a hash map's order in Kafka"),
    Order("AddPartitionsToTxn.ResultsByTransaction", ("TransactionalId",), "a hash map's order in Kafka"),
    Order("AddPartitionsToTxn.ResultsByTopicV3AndBelow", ("Name",), "a hash map's order in Kafka"),
    Order("AddPartitionsToTxn.TopicResults", ("Name",), "a hash map's order in Kafka"),
    Order("AddPartitionsToTxn.ResultsByPartition", ("PartitionIndex",), "a hash map's order in Kafka"),
    Order("TxnOffsetCommit.Topics", ("Name",), "a hash map's order in Kafka"),
    Order("TxnOffsetCommit.Partitions", ("PartitionIndex",), "a hash map's order in Kafka"),
    Order("WriteTxnMarkers.Markers", ("ProducerId",), "a hash map's order in Kafka"),
    Order("WriteTxnMarkers.Topics", ("Name",), "a hash map's order in Kafka"),
    Order("WriteTxnMarkers.Partitions", ("PartitionIndex",), "a hash map's order in Kafka"),
    Order("DescribeTransactions.Topics", ("Topic",), "a set of partitions"),
    Order("ListTransactions.TransactionStates", ("TransactionalId",), "a hash map's order in Kafka"),
    Order("ConsumerGroupHeartbeat.TopicPartitions", ("TopicId",), "a hash map's order in Kafka, by random ids"),
    Order("ConsumerGroupDescribe.TopicPartitions", ("TopicName",), "a hash map's order in Kafka, by random ids"),
    Order("ConsumerGroupDescribe.Members", ("MemberId",), "a hash map's order in Kafka"),
    Order("ConsumerGroupDescribe.Groups", ("GroupId",), "by the partition of the topic of offsets"),
    Order("ConsumerGroupDescribe.SubscribedTopicNames", (), "a set"),
    Order("Consumer*.Partitions", (), "a set"),
    Order("ListConfigResources.ConfigResources", ("ResourceType", "ResourceName"), "a set"),
]


def masked(step: Step, talk: Talk) -> Any:
    """The outcome of a step, ready to be compared."""
    if not step.api or not isinstance(step.outcome, dict):
        return _plain(step.outcome, talk)
    message = schema.message(f"{step.api}Response")
    return _struct(step.api, message, message.fields, step.outcome, talk)


def _plain(value: Any, talk: Talk) -> Any:
    """A note: only the case's own names."""
    if isinstance(value, (list, tuple)):
        return [_plain(v, talk) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v, talk) for k, v in value.items()}
    return value.replace(talk.prefix, "~") if isinstance(value, str) else value


def _struct(api: str, message: schema.Message, fields: list[schema.Field], value: dict[str, Any], talk: Talk) -> dict[str, Any]:
    made: dict[str, Any] = {k: {str(t): d.hex() for t, d in v.items()} for k, v in value.items() if k == "_tags"}
    for field in fields:
        if field.name in value:
            made[field.name] = _field(api, message, field, value[field.name], talk)
    return made


def _field(api: str, message: schema.Message, field: schema.Field, value: Any, talk: Talk) -> Any:
    if value is None:
        return None
    if field.is_array:
        items = [_one(api, message, field, v, talk) for v in value]
        order = next((o for o in ORDERS if fnmatch.fnmatchcase(f"{api}.{field.name}", o.where)), None)
        if order and not order.key:
            return sorted(items)
        return _keyed(items, order.key) if order else items
    return _one(api, message, field, value, talk)


def _keyed(items: list[Any], key: tuple[str, ...]) -> Any:
    """A list without order as a dict by name; the second of a name is kept apart."""
    made: dict[str, Any] = {}
    for item in items:
        name = "/".join(str(next((item[f] for f in k.split("|") if item.get(f)), item.get(k))) for k in key)
        if name.startswith("<id of "):
            name = name[7:-1]  # a version that has ids then has the paths of one that has names
        while name in made:
            name += "+"
        made[name] = item
    return dict(sorted(made.items()))


def _one(api: str, message: schema.Message, field: schema.Field, value: Any, talk: Talk) -> Any:
    if field.element in message.structs and isinstance(value, dict):
        return _struct(api, message, message.structs[field.element], value, talk)
    if field.element == "uuid":
        return value if value in (ZERO_ID, UNKNOWN_ID) else talk.ids.get(value, "<uuid>")
    if field.element == "records":
        return _records(value, talk)
    for rule in RULES:
        if fnmatch.fnmatchcase(f"{api}.{field.name}", rule.where):
            value = rule.change(value, talk)
            if isinstance(value, str):
                break
    if isinstance(value, str):
        return value.replace(talk.prefix, "~")  # so that equal differences of several versions are one
    return value.hex() if isinstance(value, bytes) else value


def _records(value: bytes, talk: Talk) -> Any:
    try:
        found = batch.parse(value)
    except (codec.Malformed, ValueError, OSError, EOFError) as error:
        return f"unreadable: {error}: {value.hex()}"
    for one in found:
        if "ProducerId" in one:
            one["ProducerId"] = _producer(one["ProducerId"], talk)
        if one.get("Attributes", 0) & (batch.LOG_APPEND_TIME | batch.CONTROL):
            one["MaxTimestamp"] = _recent(one["MaxTimestamp"], talk)  # the broker's clock
        if one.get("Attributes", 0) & batch.CONTROL:
            one["BaseTimestamp"] = _recent(one["BaseTimestamp"], talk)  # as well
    return found
