"""Members of consumer groups (KIP-848), and the requests that the modules about them build.

A member makes its own id, as version 1 wants it and version 0 takes it, so ids are the same on both brokers.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from cases.group_helpers import group
from talk import Stop, Talk, Topic

API = "ConsumerGroupHeartbeat"
Parts = Iterable[tuple[Topic, list[int]]]


def owning(owned: Parts | None) -> list[dict[str, Any]] | None:
    """Partitions as a request tells them."""
    return None if owned is None else [{"TopicId": x.id, "Partitions": list(parts)} for x, parts in owned]


def joining(name: str, member: str = "m", names: Iterable[str] | None = ("x",), **more: Any) -> dict[str, Any]:
    """A request to join."""
    return {"GroupId": name, "MemberId": member, "MemberEpoch": 0, "RebalanceTimeoutMs": 60_000, "TopicPartitions": [],
            "SubscribedTopicNames": None if names is None else list(names), **more}


def beating(name: str, member: str, epoch: int, owned: Parts | None = None, **more: Any) -> dict[str, Any]:
    """A heartbeat that tells only what it is given."""
    return {"GroupId": name, "MemberId": member, "MemberEpoch": epoch, "TopicPartitions": owning(owned), **more}


def describing(*names: str, operations: bool = False) -> dict[str, Any]:
    """A question about groups."""
    return {"GroupIds": list(names), "IncludeAuthorizedOperations": operations}


def one(t: Talk, partitions: int) -> Topic:
    """A topic of so many partitions that all cases share."""
    return t.shared(f"sized{partitions}", lambda u, name: u.topic(partitions=partitions, whole_name=name))


class Consumer:
    """A member. It takes what it is given at once, unless told otherwise; what it does is compared if `asked`."""

    def __init__(self, t: Talk, name: str, topics: Iterable[Topic | str] = (), member: str = "m", asked: bool = False, **more: Any) -> None:
        self.t, self.group, self.id, self.asked, self.more = t, name, member, asked, more
        self.names: list[str] | None = [x.name if isinstance(x, Topic) else x for x in topics]
        self.epoch = 0
        self.given: list[tuple[str, list[int]]] = []

    def send(self, body: dict[str, Any]) -> dict[str, Any]:
        """One heartbeat, whose answer it keeps in mind."""
        answer = self.t.ask(body, API) if self.asked else self.t.setup(API, body)
        if not isinstance(answer, dict):
            raise Stop(f"{API}: {answer or 'no answer'}")
        if not self.asked and answer["ErrorCode"]:
            raise Stop(f"setup: {API}: {answer['ErrorCode']} {answer['ErrorMessage']}")
        if answer["ErrorCode"] == 0:
            self.epoch = answer["MemberEpoch"]
            if answer["Assignment"] is not None:
                self.given = [(x["TopicId"], sorted(x["Partitions"])) for x in answer["Assignment"]["TopicPartitions"]]
        return answer

    def join(self, **more: Any) -> Consumer:
        """Joins."""
        self.send(joining(self.group, self.id, self.names, **{**self.more, **more}))
        return self

    def beat(self, owned: Parts | None = None, **more: Any) -> dict[str, Any]:
        """A heartbeat that says only what changed."""
        instance = {"InstanceId": self.more["InstanceId"]} if "InstanceId" in self.more else {}
        return self.send(beating(self.group, self.id, self.epoch, owned, **{**instance, **more}))

    def full(self, **more: Any) -> dict[str, Any]:
        """A heartbeat that says everything, and owns what it was given."""
        return self.send(joining(self.group, self.id, self.names, **{
            **self.more, "MemberEpoch": self.epoch, "TopicPartitions": self.owned(), **more}))

    def take(self, **more: Any) -> dict[str, Any]:
        """Owns what it was given, and says so."""
        instance = {"InstanceId": self.more["InstanceId"]} if "InstanceId" in self.more else {}
        return self.send({"GroupId": self.group, "MemberId": self.id, "MemberEpoch": self.epoch, "TopicPartitions": self.owned(),
                          **instance, **more})

    def owned(self) -> list[dict[str, Any]]:
        """What it was given last."""
        return [{"TopicId": topic, "Partitions": parts} for topic, parts in self.given]

    def leave(self, epoch: int = -1) -> dict[str, Any]:
        """Leaves, for good or (static, -2) for a while."""
        instance = {"InstanceId": self.more["InstanceId"]} if "InstanceId" in self.more else {}
        return self.send(beating(self.group, self.id, epoch, **instance))


def describe(t: Talk, *names: str) -> dict[str, Any]:
    """What is there now, compared."""
    return t.ask(describing(*names), "ConsumerGroupDescribe")


def settled(t: Talk, *members: Consumer) -> None:
    """Heartbeats that are not compared, until the group is stable and each member owns what it is to own."""
    end, was = time.monotonic() + 15, members[0].asked
    while True:
        for x in members:
            x.asked = False
            x.take()
        seen = t.setup("ConsumerGroupDescribe", describing(members[0].group))["Groups"][0]
        if seen["GroupState"] == "Stable":
            break
        if time.monotonic() > end:
            raise Stop(f"setup: the group stays {seen['GroupState']}")
        time.sleep(0.02)
    for x in members:
        x.asked = was


def stable(t: Talk, name: str, *topics: Topic, **more: Any) -> Consumer:
    """The one member of a stable group."""
    x = Consumer(t, name, topics, **more).join()
    settled(t, x)
    return x


def new(t: Talk, *topics: Topic, suffix: str = "g", member: str = "m", asked: bool = True, **more: Any) -> Consumer:
    """A member of a group of this case, not yet joined."""
    return Consumer(t, group(t, suffix), topics, member, asked, **more)
