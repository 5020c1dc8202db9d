"""DescribeCluster 0-2, DescribeTopicPartitions 0, DescribeQuorum 0-2, UpdateFeatures 0-2, InitProducerId 0-5."""

from __future__ import annotations

from typing import Any

from cases import case, simple, spoiled
from talk import Talk, Topic

CLUSTER, TOPICS, QUORUM, FEATURES = "DescribeCluster", "DescribeTopicPartitions", "DescribeQuorum", "UpdateFeatures"
INIT = "InitProducerId"

simple(CLUSTER, "brokers", lambda t: {})
simple(CLUSTER, "authorized-operations", lambda t: {"IncludeClusterAuthorizedOperations": True})
simple(CLUSTER, "fenced-brokers", lambda t: {"IncludeFencedBrokers": True})
for number in (2, 0, 3, -1):
    simple(CLUSTER, f"endpoint-type-{number}", lambda t, n=number: {"EndpointType": n}, (1, 2))
spoiled(CLUSTER, lambda t: {"EndpointType": 0})


def three(t: Talk, name: str) -> Topic:
    """A topic of three partitions."""
    return t.topic(partitions=3, whole_name=name)


def describe(t: Talk, *names: str, limit: int = 2000, cursor: tuple[str, int] | None = None) -> dict[str, Any]:
    """Some topics."""
    return {"Topics": [{"Name": n} for n in names], "ResponsePartitionLimit": limit,
            "Cursor": {"TopicName": cursor[0], "PartitionIndex": cursor[1]} if cursor else None}


def both(t: Talk) -> tuple[str, str]:
    """The names of two topics, in order."""
    return t.shared("three-a", three).name, t.shared("three-b", three).name


simple(TOPICS, "one", lambda t: describe(t, both(t)[0]))
simple(TOPICS, "two-in-other-order", lambda t: describe(t, *reversed(both(t))))
simple(TOPICS, "same-twice", lambda t: describe(t, both(t)[0], both(t)[0]))
simple(TOPICS, "unknown", lambda t: describe(t, t.name("missing")))
simple(TOPICS, "unknown-and-known", lambda t: describe(t, t.name("missing"), both(t)[0]))
simple(TOPICS, "known-and-late-unknown", lambda t: describe(t, "zzz-missing", both(t)[0]))
for label, name in {"empty": "", "invalid": "a b", "dots": ".."}.items():
    simple(TOPICS, f"name-{label}", lambda t, n=name: describe(t, n))
for number in (1, 2, 3, 4, 5, 6, 0, -1, 2001):
    simple(TOPICS, f"limit-{number}", lambda t, n=number: describe(t, *both(t), limit=n))
simple(TOPICS, "limit-one-unknown-next", lambda t: describe(t, both(t)[0], "zzz-missing", limit=3))
for index in (0, 1, 2, 3, -1):
    simple(TOPICS, f"cursor-{index}", lambda t, i=index: describe(t, *both(t), cursor=(both(t)[0], i)))
simple(TOPICS, "cursor-second-topic", lambda t: describe(t, *both(t), cursor=(both(t)[1], 1)))
simple(TOPICS, "cursor-and-limit", lambda t: describe(t, *both(t), limit=3, cursor=(both(t)[0], 1)))
simple(TOPICS, "cursor-not-asked", lambda t: describe(t, both(t)[1], cursor=(both(t)[0], 1)))
simple(TOPICS, "cursor-past-all", lambda t: describe(t, *both(t), cursor=("zzz", 0)))
simple(TOPICS, "cursor-unknown", lambda t: describe(t, *both(t), cursor=("shared.three-aa", 0)))
spoiled(TOPICS, lambda t: describe(t, t.name("missing")))


@case(TOPICS, alone=True)
def all_topics_of_a_new_cluster(t: Talk) -> None:
    """None named: all; the cases that run before made none but their own."""
    t.topic("only")
    answer = t.setup(TOPICS, describe(t), 0)
    t.note("own", [x["Name"].replace(t.prefix, "~") for x in answer["Topics"] if x["Name"].startswith(t.prefix)])


def quorum(topic: str = "__cluster_metadata", partition: int = 0) -> dict[str, Any]:
    """A partition of the metadata topic."""
    return {"Topics": [{"TopicName": topic, "Partitions": [{"PartitionIndex": partition}]}]}


simple(QUORUM, "quorum", lambda t: quorum())
simple(QUORUM, "other-topic", lambda t: quorum("x"))
simple(QUORUM, "other-partition", lambda t: quorum(partition=1))
simple(QUORUM, "no-topics", lambda t: {"Topics": []})
simple(QUORUM, "no-partitions", lambda t: {"Topics": [{"TopicName": "__cluster_metadata", "Partitions": []}]})
simple(QUORUM, "two-topics", lambda t: {"Topics": quorum()["Topics"] + quorum("x")["Topics"]})
spoiled(QUORUM, lambda t: quorum("x"))


def feature(name: str, level: int, kind: int = 1, validate: bool = True, allow: bool = False) -> dict[str, Any]:
    """One feature; only in ways that change nothing."""
    return {"TimeoutMs": 5000, "ValidateOnly": validate, "FeatureUpdates": [
        {"Feature": name, "MaxVersionLevel": level, "UpgradeType": kind, "AllowDowngrade": allow}]}


simple(FEATURES, "none", lambda t: {"TimeoutMs": 5000, "FeatureUpdates": []})
simple(FEATURES, "unknown", lambda t: feature("no.such.feature", 1))
simple(FEATURES, "empty-name", lambda t: feature("", 1))
simple(FEATURES, "level-negative", lambda t: feature("group.version", -1))
simple(FEATURES, "level-too-high", lambda t: feature("group.version", 99))
simple(FEATURES, "metadata-version-too-high", lambda t: feature("metadata.version", 999))
simple(FEATURES, "metadata-version-deleted", lambda t: feature("metadata.version", 0))
simple(FEATURES, "downgrade-not-allowed", lambda t: feature("group.version", 0))
simple(FEATURES, "unknown-deleted", lambda t: feature("no.such.feature", 0, kind=2, allow=True))
for number in (0, 4, -1):
    simple(FEATURES, f"upgrade-type-{number}", lambda t, n=number: feature("group.version", 1, kind=n), (1, 2))
spoiled(FEATURES, lambda t: feature("no.such.feature", 1))


def init(txn: str | None = None, timeout: int = 60_000, pid: int = -1, epoch: int = -1) -> dict[str, Any]:
    """An idempotent or transactional producer."""
    return {"TransactionalId": txn, "TransactionTimeoutMs": timeout, "ProducerId": pid, "ProducerEpoch": epoch}


@case(INIT)
def idempotent(t: Talk) -> None:
    """Two ids, which differ."""
    t.producer_id("warm")
    first, second = t.ask(init()), t.ask(init())
    t.note("differ", bool(first and second and first["ProducerId"] != second["ProducerId"]))


simple(INIT, "timeout-zero", lambda t: t.producer_id("warm") and init(timeout=0))
simple(INIT, "timeout-negative", lambda t: t.producer_id("warm") and init(timeout=-1))
simple(INIT, "pid-without-epoch", lambda t: t.producer_id("warm") and init(pid=5), (3, 5))
simple(INIT, "epoch-without-pid", lambda t: t.producer_id("warm") and init(epoch=5), (3, 5))
simple(INIT, "pid-and-epoch", lambda t: t.producer_id("warm") and init(pid=5, epoch=0), (3, 5))
simple(INIT, "pid-minus-two", lambda t: t.producer_id("warm") and init(pid=-2, epoch=-2), (3, 5))
simple(INIT, "transactional-empty-id", lambda t: init(""))
spoiled(INIT, lambda t: init(""))
