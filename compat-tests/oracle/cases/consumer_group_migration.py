"""ConsumerGroupHeartbeat 0-1: members of both protocols in one group, and groups that change theirs."""

from __future__ import annotations

import time
from typing import Any

from cases import case
from cases.group_helpers import Member, group, subscription
from talk import Stop, Talk, Topic

API = "ConsumerGroupHeartbeat"


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


def prepared(t: Talk, body: dict[str, Any]) -> dict[str, Any]:
    """A heartbeat as a preparation."""
    answer = t.setup("ConsumerGroupHeartbeat", body)
    if answer["ErrorCode"]:
        raise Stop(f"setup: ConsumerGroupHeartbeat: {answer['ErrorCode']} {answer['ErrorMessage']}")
    return answer


def make(t: Talk, suffix: str = "t", partitions: int = 1) -> Topic:
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


@case(API)
def epoch_before(t: Talk) -> None:
    """The answer with the new epoch was lost: the old one counts, from a member that has nothing else."""
    name, topic = group(t), make(t, partitions=2)
    epoch, more = alone(t, name, topic), make(t, "more")
    t.ask(beat(name, "m", epoch, SubscribedTopicNames=[topic.name, more.name]))
    t.ask(beat(name, "m", epoch))
    t.ask(beat(name, "m", epoch, TopicPartitions=owned((topic, [0, 1]))))
    t.ask(beat(name, "m", epoch, TopicPartitions=owned((topic, [0, 7]))))
    t.ask(beat(name, "m", epoch + 1))


@case(API)
def subscribes_anew(t: Talk) -> None:
    """To another topic, to both, to none."""
    name, one, two = group(t), make(t, partitions=2), make(t, "two")
    epoch = alone(t, name, one)
    for names in ([two.name], [one.name, two.name], []):
        seen = t.ask(beat(name, "m", epoch, SubscribedTopicNames=names)) or {}
        seen = t.ask(beat(name, "m", seen.get("MemberEpoch", epoch), TopicPartitions=[])) or {}
        epoch = seen.get("MemberEpoch", epoch)


@case(API, versions=(1, 1))
def bad_regular_expressions(t: Talk) -> None:
    """Each with RE2's word for it."""
    name = group(t)
    for regex in ("a(", "a)", "[a", "*a", "a\\", "a{2,1}", "(?<x", "[b-a]", "a{1001}", "\\q", "(?!x)"):
        t.ask(first(name, "m", SubscribedTopicNames=None, SubscribedTopicRegex=regex))


@case(API)
def classic_group_of_consumers(t: Talk) -> None:
    """It is upgraded, and the classic member is to join again."""
    name, topic = group(t), make(t, partitions=2)
    one = stable_consumer(t, name, topic.name)
    t.ask(first(name, "n", make(t, "other").name))  # who would get which of one topic's partitions hangs on the given id
    t.ask({"GroupId": name, "GenerationId": one.generation, "MemberId": one.id, "GroupInstanceId": None}, "Heartbeat")
    t.ask(beat(name, "n", 2))


def stable_consumer(t: Talk, name: str, *topics: str) -> Member:
    """A classic group whose one member reads topics, and has none."""
    one = Member(t, name, protocols=(("range", subscription(*topics)),)).join()
    return one.sync({one.id: b"\0\0\0\0\0\0\xff\xff\xff\xff"})


@case(API)
def classic_member_joins_and_the_new_leave(t: Talk) -> None:
    """It is given an id, a generation and, by SyncGroup, what the broker assigns; the last of the new protocol leaves."""
    name, topic = group(t), make(t, partitions=2)
    epoch = alone(t, name, topic)
    one = Member(t, name, asked=True, protocols=(("range", subscription(topic.name)),)).join()
    one.sync()
    one.beat()
    t.ask(beat(name, "m", epoch, TopicPartitions=owned((topic, [0, 1]))))
    t.ask(beat(name, "m", -1))
    one.beat()
    t.ask({"Groups": [name]}, "DescribeGroups")


@case(API)
def static_member_comes_back_classic(t: Talk) -> None:
    """It takes the place of the last one of the new protocol: the group is a classic one."""
    name, topic = group(t), make(t, partitions=2)
    alone(t, name, topic, InstanceId="i")
    one = Member(t, name, asked=True, instance="i", protocols=(("range", subscription(topic.name)),)).join()
    one.sync()
    one.beat()
    t.ask(beat(name, "m", 2, InstanceId="i"))
    t.ask({"Groups": [name]}, "DescribeGroups")


@case(API)
def static_classic_member_comes_back_new(t: Talk) -> None:
    """And the other way: with what it had."""
    name, topic = group(t), make(t, partitions=2)
    one = Member(t, name, instance="i", protocols=(("range", subscription(topic.name)),)).join()
    one.sync({one.id: b"\0\0\0\0\0\0\xff\xff\xff\xff"})
    t.ask(first(name, "n", topic.name, InstanceId="i"))
    t.ask(beat(name, "n", 2, InstanceId="i"))
    t.ask({"GroupIds": [name]}, "ConsumerGroupDescribe")


@case(API)
def classic_member_leaves(t: Talk) -> None:
    """By LeaveGroup; one that nobody knows, too."""
    name, topic = group(t), make(t, partitions=2)
    epoch = alone(t, name, topic)
    one = Member(t, name, protocols=(("range", subscription(topic.name)),)).join()
    one.sync()
    for member in ("nobody", one.id, one.id):
        t.ask({"GroupId": name, "MemberId": member, "Members": [{"MemberId": member, "GroupInstanceId": None, "Reason": None}]}, "LeaveGroup")
    t.ask(beat(name, "m", epoch, TopicPartitions=owned((topic, [0, 1]))))
    t.ask(first(name, "m", topic.name))


@case(API)
def classic_member_of_another_kind(t: Talk) -> None:
    """It cannot work with consumers."""
    name, topic = group(t), make(t)
    alone(t, name, topic)
    for more in ({"ProtocolType": "connect"}, {"Protocols": []}, {"MemberId": "stranger"}, {"GroupInstanceId": "i", "MemberId": "stranger"}):
        t.ask({"GroupId": name, "SessionTimeoutMs": 30_000, "RebalanceTimeoutMs": 30_000, "MemberId": "", "GroupInstanceId": None,
               "ProtocolType": "consumer", "Protocols": [{"Name": "range", "Metadata": subscription(topic.name)}], **more}, "JoinGroup")


@case("ConsumerGroupDescribe")
def with_a_classic_member(t: Talk) -> None:
    """Of another type."""
    name, topic = group(t), make(t)
    stable_consumer(t, name, topic.name)
    prepared(t, first(name, "n", make(t, "other").name))
    t.ask({"GroupIds": [name], "IncludeAuthorizedOperations": False})
