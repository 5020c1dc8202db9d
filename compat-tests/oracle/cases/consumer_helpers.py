"""Members of consumer groups (KIP-848). A case makes their ids itself: what is assigned to whom must not hang on chance."""

from __future__ import annotations

import time
from typing import Any

from talk import Stop, Talk, Topic

SETTLED = 1.1  # seconds after which a group assigns again (group.consumer.assignment.interval.ms)


def beat(name: str, member: str, epoch: int, **more: Any) -> dict[str, Any]:
    """A heartbeat that says nothing new."""
    return {"GroupId": name, "MemberId": member, "MemberEpoch": epoch, "InstanceId": None, "RackId": None, "RebalanceTimeoutMs": -1,
            "SubscribedTopicNames": None, "SubscribedTopicRegex": None, "ServerAssignor": None, "TopicPartitions": None, **more}


def first(name: str, member: str, *topics: str, **more: Any) -> dict[str, Any]:
    """A heartbeat that joins."""
    return beat(name, member, 0, **{"RebalanceTimeoutMs": 30_000, "SubscribedTopicNames": list(topics), "TopicPartitions": [], **more})


def owned(*topics: tuple[Topic, list[int]]) -> list[dict[str, Any]]:
    """What a member has."""
    return [{"TopicId": topic.id, "Partitions": partitions} for topic, partitions in topics]


def settle() -> None:
    """Lets the group assign again."""
    time.sleep(SETTLED)


def prepared(t: Talk, body: dict[str, Any]) -> dict[str, Any]:
    """A heartbeat as a preparation."""
    answer = t.setup("ConsumerGroupHeartbeat", body)
    if answer["ErrorCode"]:
        raise Stop(f"setup: ConsumerGroupHeartbeat: {answer['ErrorCode']} {answer['ErrorMessage']}")
    return answer


def topic(t: Talk, suffix: str = "t", partitions: int = 1) -> Topic:
    """A topic that the coordinator knows of: Kafka's learns of it a little later than those who are asked for metadata."""
    made = t.topic(suffix, partitions)
    for attempt in range(100):
        probe = t.name(f"{suffix}-probe-{attempt}")
        if prepared(t, first(probe, "p", made.name))["Assignment"]["TopicPartitions"]:
            return made
        time.sleep(0.05)
    raise Stop("setup: the coordinator does not know the topic")


def alone(t: Talk, name: str, *topics: Topic, **more: Any) -> int:
    """The one member "m" of a group, with all partitions; its epoch."""
    return prepared(t, first(name, "m", *(topic.name for topic in topics), **more))["MemberEpoch"]
