"""CreateTopics 2-7, DeleteTopics 1-6, CreatePartitions 0-3."""

from __future__ import annotations

import time
from typing import Any

from cases import case, simple, spoiled
from talk import UNKNOWN_ID, ZERO_ID, Talk

CREATE, DELETE, GROW = "CreateTopics", "DeleteTopics", "CreatePartitions"


def create(t: Talk, suffix: str | None = "t", partitions: int = 1, factor: int = 1, name: str | None = None, validate: bool = False,
           assignments: list[tuple[int, list[int]]] | None = None, **configs: str | None) -> dict[str, Any]:
    """One topic."""
    return {"TimeoutMs": 5000, "ValidateOnly": validate, "Topics": [{
        "Name": t.name(suffix) if name is None else name, "NumPartitions": partitions, "ReplicationFactor": factor,
        "Assignments": [{"PartitionIndex": p, "BrokerIds": b} for p, b in assignments or []],
        "Configs": [{"Name": k.replace("_", "."), "Value": v} for k, v in configs.items()]}]}


simple(CREATE, "one", create)
simple(CREATE, "three-partitions", lambda t: create(t, partitions=3))
simple(CREATE, "validate-only", lambda t: create(t, validate=True))
simple(CREATE, "defaults", lambda t: create(t, partitions=-1, factor=-1))
simple(CREATE, "default-partitions", lambda t: create(t, partitions=-1))
simple(CREATE, "default-factor", lambda t: create(t, factor=-1))
for label, number in {"zero": 0, "minus-two": -2}.items():
    simple(CREATE, f"partitions-{label}", lambda t, n=number: create(t, partitions=n))
    simple(CREATE, f"factor-{label}", lambda t, n=number: create(t, factor=n))
simple(CREATE, "factor-two", lambda t: create(t, factor=2))
simple(CREATE, "factor-two-validate-only", lambda t: create(t, factor=2, validate=True))
simple(CREATE, "partitions-and-factor-wrong", lambda t: create(t, partitions=0, factor=5))
simple(CREATE, "no-topics", lambda t: {"TimeoutMs": 5000, "Topics": []})
simple(CREATE, "timeout-zero", lambda t: {**create(t), "TimeoutMs": 0})
simple(CREATE, "timeout-negative", lambda t: {**create(t), "TimeoutMs": -1})
for label, name in {"empty": "", "dot": ".", "dots": "..", "space": "a b", "umlaut": "ä", "250": "x" * 250, "colon": "a:b",
                    "cluster-metadata": "__cluster_metadata"}.items():
    simple(CREATE, f"name-{label}", lambda t, n=name: create(t, name=n))
simple(CREATE, "name-internal-validate-only", lambda t: create(t, name="__share_group_state", validate=True))
simple(CREATE, "name-bad-and-partitions-zero", lambda t: create(t, name="a b", partitions=0))

simple(CREATE, "assignment", lambda t: create(t, partitions=-1, factor=-1, assignments=[(0, [1]), (1, [1])]))
simple(CREATE, "assignment-validate-only", lambda t: create(t, partitions=-1, factor=-1, assignments=[(0, [1])], validate=True))
simple(CREATE, "assignment-and-partitions", lambda t: create(t, partitions=1, factor=-1, assignments=[(0, [1])]))
simple(CREATE, "assignment-and-factor", lambda t: create(t, partitions=-1, factor=1, assignments=[(0, [1])]))
simple(CREATE, "assignment-with-gap", lambda t: create(t, partitions=-1, factor=-1, assignments=[(0, [1]), (2, [1])]))
simple(CREATE, "assignment-from-one", lambda t: create(t, partitions=-1, factor=-1, assignments=[(1, [1])]))
simple(CREATE, "assignment-twice", lambda t: create(t, partitions=-1, factor=-1, assignments=[(0, [1]), (0, [1])]))
simple(CREATE, "assignment-unknown-broker", lambda t: create(t, partitions=-1, factor=-1, assignments=[(0, [9])]))
simple(CREATE, "assignment-same-broker-twice", lambda t: create(t, partitions=-1, factor=-1, assignments=[(0, [1, 1])]))
simple(CREATE, "assignment-no-brokers", lambda t: create(t, partitions=-1, factor=-1, assignments=[(0, [])]))
simple(CREATE, "assignment-uneven", lambda t: create(t, partitions=-1, factor=-1, assignments=[(0, [1]), (1, [1, 2])]))
simple(CREATE, "assignment-negative-broker", lambda t: create(t, partitions=-1, factor=-1, assignments=[(0, [-1])]))

for label, (key, value) in {
    "retention": ("retention.ms", "1000"), "retention-none": ("retention.ms", "-1"), "retention-bad": ("retention.ms", "-2"),
    "not-a-number": ("retention.ms", "soon"), "null": ("retention.ms", None), "empty-value": ("retention.ms", ""),
    "unknown": ("no.such.config", "1"), "empty-name": ("", "1"), "policy-bad": ("cleanup.policy", "burn"),
    "policy-both": ("cleanup.policy", "compact,delete"), "policy-empty": ("cleanup.policy", ""),
    "compression": ("compression.type", "zstd"), "compression-bad": ("compression.type", "rar"),
    "segment-too-small": ("segment.bytes", "1"), "segment-small": ("segment.bytes", "1048576"),
    "min-insync-zero": ("min.insync.replicas", "0"), "timestamp-type": ("message.timestamp.type", "LogAppendTime"),
    "timestamp-type-bad": ("message.timestamp.type", "Whenever"), "bool": ("preallocate", "true"), "bool-bad": ("preallocate", "yes"),
    "max-message-negative": ("max.message.bytes", "-1"), "spaces": ("retention.ms", " 1000 "), "double": ("min.cleanable.dirty.ratio", "0.3"),
    "double-bad": ("min.cleanable.dirty.ratio", "1.5"), "throttled": ("leader.replication.throttled.replicas", "*"),
    "throttled-bad": ("leader.replication.throttled.replicas", "x"), "remote": ("remote.storage.enable", "true"),
    "unclean": ("unclean.leader.election.enable", "true"), "down-conversion": ("message.downconversion.enable", "false"),
    "format-version": ("message.format.version", "3.0"), "int-overflow": ("segment.bytes", "99999999999"),
    "flush": ("flush.messages", "1"), "delete-delay": ("file.delete.delay.ms", "5"),
    "local-above-total": ("local.retention.ms", "99999999999999"),
}.items():
    simple(CREATE, f"config-{label}", lambda t, k=key, v=value: {**create(t), "Topics": [
        {**create(t)["Topics"][0], "Configs": [{"Name": k, "Value": v}]}]})
simple(CREATE, "config-twice", lambda t: {**create(t), "Topics": [{**create(t)["Topics"][0], "Configs": [
    {"Name": "retention.ms", "Value": "1"}, {"Name": "retention.ms", "Value": "2"}]}]})
simple(CREATE, "config-good-and-bad", lambda t: create(t, retention_ms="1", cleanup_policy="burn"))
simple(CREATE, "good-and-bad-topic", lambda t: {"TimeoutMs": 5000, "Topics": create(t)["Topics"] + create(t, name="a b")["Topics"]})
simple(CREATE, "same-name-twice", lambda t: {"TimeoutMs": 5000, "Topics": create(t)["Topics"] + create(t)["Topics"]})
simple(CREATE, "same-name-twice-and-another", lambda t: {
    "TimeoutMs": 5000, "Topics": create(t)["Topics"] * 2 + create(t, "other")["Topics"]})
simple(CREATE, "names-collide-in-one-request", lambda t: {
    "TimeoutMs": 5000, "Topics": create(t, "a.b")["Topics"] + create(t, "a_b")["Topics"]})


@case(CREATE)
def exists(t: Talk) -> None:
    """A topic that is there."""
    t.ask(create(t))
    t.ask(create(t))
    t.ask(create(t, validate=True))
    t.ask(create(t, partitions=0), label="wrong and there")


@case(CREATE)
def name_collides(t: Talk) -> None:
    """`.` and `_` are one letter in metrics."""
    t.topic("a.b")
    t.ask(create(t, "a_b"))


@case(CREATE)
def nothing_made_by_validate_only(t: Talk) -> None:
    """And what was made is described."""
    t.ask(create(t, validate=True))
    t.ask({"Topics": [{"Name": t.name()}], "AllowAutoTopicCreation": False}, "Metadata")


spoiled(CREATE, lambda t: create(t, name="a b"))


def gone(t: Talk, name: str) -> None:
    """Waits until nobody knows the topic."""
    for _ in range(500):
        if t.setup("Metadata", {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False})["Topics"][0]["ErrorCode"] == 3:
            return
        time.sleep(0.01)


def delete(*names: str | None, ids: tuple[str, ...] = ()) -> dict[str, Any]:
    """By name, and from v6 on by id."""
    return {"TimeoutMs": 5000, "TopicNames": [n for n in names if n is not None],
            "Topics": [{"Name": n} for n in names] + [{"Name": None, "TopicId": i} for i in ids]}


@case(DELETE)
def one(t: Talk) -> None:
    """A topic, then the same once more."""
    name = t.topic().name
    t.ask(delete(name))
    gone(t, name)
    t.ask(delete(name))


@case(DELETE)
def known_and_unknown(t: Talk) -> None:
    """Each has its own answer."""
    t.ask(delete(t.topic().name, t.name("missing")))


@case(DELETE, versions=(6, 6))
def by_id(t: Talk) -> None:
    """The id alone."""
    topic = t.topic()
    t.ask(delete(ids=(topic.id,)))
    gone(t, topic.name)
    t.ask(delete(ids=(topic.id,)))


@case(DELETE, versions=(6, 6))
def by_id_and_name(t: Talk) -> None:
    """One of both, please."""
    topic = t.topic()
    t.ask({"TimeoutMs": 5000, "Topics": [{"Name": topic.name, "TopicId": topic.id}]})


@case(DELETE, versions=(6, 6))
def same_topic_by_id_and_by_name(t: Talk) -> None:
    """Two entries for one topic."""
    topic = t.topic()
    t.ask(delete(topic.name, ids=(topic.id,)))


@case(DELETE, versions=(6, 6))
def same_id_twice(t: Talk) -> None:
    """An id twice."""
    topic = t.topic()
    t.ask(delete(ids=(topic.id, topic.id)))


@case(DELETE)
def same_name_twice(t: Talk) -> None:
    """A name twice; and whether the topic is still there."""
    name = t.topic().name
    t.ask(delete(name, name))
    t.ask({"Topics": [{"Name": name}], "AllowAutoTopicCreation": False}, "Metadata")


@case(DELETE)
def made_again_has_another_id(t: Talk) -> None:
    """Delete, create, and the log is empty."""
    topic = t.topic()
    t.ask(delete(topic.name))
    gone(t, topic.name)
    again = t.topic()
    t.note("ids differ", topic.id != again.id)


simple(DELETE, "unknown", lambda t: delete(t.name("missing")))
simple(DELETE, "none", lambda t: delete())
simple(DELETE, "invalid-name", lambda t: delete("a b"))
simple(DELETE, "empty-name", lambda t: delete(""))
simple(DELETE, "unknown-id", lambda t: delete(ids=(UNKNOWN_ID,)), (6, 6))
simple(DELETE, "zero-id-null-name", lambda t: delete(ids=(ZERO_ID,)), (6, 6))
spoiled(DELETE, lambda t: delete("a b"))


def grow(name: str, count: int, validate: bool = False, assignments: list[list[int]] | None = None) -> dict[str, Any]:
    """One topic's new count."""
    return {"TimeoutMs": 5000, "ValidateOnly": validate, "Topics": [{
        "Name": name, "Count": count, "Assignments": None if assignments is None else [{"BrokerIds": b} for b in assignments]}]}


def growth(label: str, count: int, have: int = 2, **more: Any) -> None:
    """A case: from `have` partitions to `count`, and what Metadata shows then."""
    def run(t: Talk) -> None:
        topic = t.topic(partitions=have)
        answer = t.ask(grow(topic.name, count, **more))
        if answer and not answer["Results"][0]["ErrorCode"] and not more.get("validate"):
            t.await_topic(topic.name, count)
        t.ask({"Topics": [{"Name": topic.name}], "AllowAutoTopicCreation": False}, "Metadata")
    run.__name__ = label.replace("-", "_")
    case(GROW)(run)


growth("more", 3)
growth("validate-only", 3, validate=True)
growth("same", 2)
growth("fewer", 1)
growth("zero", 0)
growth("negative", -1)
growth("assigned", 3, assignments=[[1]])
growth("assigned-too-few", 4, assignments=[[1]])
growth("assigned-too-many", 3, assignments=[[1], [1]])
growth("assigned-unknown-broker", 3, assignments=[[9]])
growth("assigned-twice-same", 3, assignments=[[1, 1]])
growth("assigned-none", 3, assignments=[])
growth("assigned-empty", 3, assignments=[[]])
growth("assigned-two-brokers", 3, assignments=[[1, 2]])
simple(GROW, "unknown-topic", lambda t: grow(t.name("missing"), 3))
simple(GROW, "invalid-name", lambda t: grow("a b", 3))
simple(GROW, "no-topics", lambda t: {"TimeoutMs": 5000, "Topics": []})
simple(GROW, "same-topic-twice", lambda t: {"TimeoutMs": 5000, "Topics": grow(n := t.topic().name, 2)["Topics"] + grow(n, 3)["Topics"]})
spoiled(GROW, lambda t: grow("missing-topic", 3))
