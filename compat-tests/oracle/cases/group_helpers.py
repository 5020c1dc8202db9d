"""Members of classic groups, and the requests that the modules about groups build.

A step is compared in the API that a case is about; the steps that only lead there are `setup`, in the highest version.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

from talk import Stop, Talk, Topic

NOT_YET = (14, 15, 16)  # COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
MEMBER_ID_REQUIRED = 79
HANDSHAKE = 4  # the first version of JoinGroup that gives a new member its id and sends it back
NOBODY = "nobody"  # a member's id that no broker gave
Protocols = tuple[tuple[str, bytes], ...]


def subscription(*topics: str) -> bytes:
    """What a consumer tells of itself: version 0, the topics, no user data."""
    names = b"".join(struct.pack(">h", len(n.encode())) + n.encode() for n in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


ONE_PROTOCOL: Protocols = (("range", subscription("x")),)


def group(t: Talk, suffix: str = "g") -> str:
    """The name of a group of this case and version, at a broker that answers for groups."""
    t.shared("coordinator", await_coordinator)
    return t.name(suffix)


def await_coordinator(t: Talk, _: str) -> tuple[()]:
    """Kafka makes its topic of offsets when it is first asked for a coordinator, and then loads each partition. So many names that
    each partition has one."""
    names = [f"warm-{i}" for i in range(64)]
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = t.setup("FindCoordinator", find("warm"))
        seen = t.setup("DescribeGroups", {"Groups": names})["Groups"] if "DescribeGroups" in t.common else []
        if not any(x["ErrorCode"] in NOT_YET for x in found["Coordinators"] + seen):
            return ()
        time.sleep(0.05)
    raise Stop("setup: no coordinator")


def await_group(t: Talk, name: str, fits: Callable[[dict[str, Any]], bool]) -> None:
    """Until a request on another connection has done its work."""
    end = time.monotonic() + 10
    while not fits(seen := t.setup("DescribeGroups", {"Groups": [name]})["Groups"][0]):
        if time.monotonic() > end:
            raise Stop(f"setup: group stays {seen['GroupState']} with {len(seen['Members'])} members")
        time.sleep(0.01)


def await_state(t: Talk, name: str, wanted: str) -> None:
    """Until it is in this state."""
    await_group(t, name, lambda seen: seen["GroupState"] == wanted)


def await_members(t: Talk, name: str, count: int) -> None:
    """Until it has so many members."""
    await_group(t, name, lambda seen: len(seen["Members"]) == count)


def find(*keys: str, kind: int = 0) -> dict[str, Any]:
    """Coordinators."""
    return {"Key": keys[0] if keys else "", "KeyType": kind, "CoordinatorKeys": list(keys)}


def joining(name: str, member: str = "", instance: str | None = None, protocols: Iterable[tuple[str, bytes]] = ONE_PROTOCOL,
            **more: Any) -> dict[str, Any]:
    """A request to join."""
    return {"GroupId": name, "SessionTimeoutMs": 30_000, "RebalanceTimeoutMs": 30_000, "MemberId": member, "GroupInstanceId": instance,
            "ProtocolType": "consumer", "Protocols": [{"Name": n, "Metadata": m} for n, m in protocols], **more}


def syncing(name: str, generation: int, member: str, assignments: dict[str, bytes] | None = None, **more: Any) -> dict[str, Any]:
    """A request for an assignment, or with all of them."""
    return {"GroupId": name, "GenerationId": generation, "MemberId": member, "ProtocolType": "consumer", "ProtocolName": "range",
            "Assignments": [{"MemberId": m, "Assignment": a} for m, a in (assignments or {}).items()], **more}


def beating(name: str, generation: int, member: str, instance: str | None = None) -> dict[str, Any]:
    """A heartbeat."""
    return {"GroupId": name, "GenerationId": generation, "MemberId": member, "GroupInstanceId": instance}


def leaving(name: str, *members: tuple[str, str | None], reason: str | None = None) -> dict[str, Any]:
    """Members by id and instance; before v3 the first."""
    return {"GroupId": name, "MemberId": members[0][0] if members else "",
            "Members": [{"MemberId": m, "GroupInstanceId": i, "Reason": reason} for m, i in members]}


def offset(partition: int = 0, at: int = 7, metadata: str | None = "m", epoch: int = -1) -> dict[str, Any]:
    """What is committed of one partition."""
    return {"PartitionIndex": partition, "CommittedOffset": at, "CommittedLeaderEpoch": epoch, "CommittedMetadata": metadata}


def committing(name: str, *topics: tuple[Topic, list[dict[str, Any]]], member: str = "", generation: int = -1,
               instance: str | None = None, **more: Any) -> dict[str, Any]:
    """Offsets of some topics; without a member and a generation, of somebody who assigns partitions himself."""
    return {"GroupId": name, "GenerationIdOrMemberEpoch": generation, "MemberId": member, "GroupInstanceId": instance,
            "Topics": [{"Name": topic.name, "TopicId": topic.id, "Partitions": parts} for topic, parts in topics], **more}


def reading(name: str, *topics: tuple[Topic, list[int]], everything: bool = False, **more: Any) -> dict[str, Any]:
    """The offsets of one group: of some partitions, or all that there are."""
    asked = None if everything else [{"Name": x.name, "TopicId": x.id, "PartitionIndexes": parts} for x, parts in topics]
    plain = None if asked is None else [{k: v for k, v in x.items() if k != "TopicId"} for x in asked]
    return {"GroupId": name, "Topics": plain, "Groups": [{"GroupId": name, "Topics": asked}], **more}


def committed(t: Talk, name: str, *topics: tuple[Topic, list[dict[str, Any]]]) -> None:
    """Offsets as a preparation."""
    answer = t.setup("OffsetCommit", committing(name, *topics))
    codes = [p["ErrorCode"] for x in answer["Topics"] for p in x["Partitions"]]
    if any(codes):
        raise Stop(f"setup: OffsetCommit: {codes}")


class Member:
    """A member of a classic group. What it does is compared if `asked`; else it prepares, and must succeed."""

    def __init__(self, t: Talk, name: str, asked: bool = False, instance: str | None = None, protocols: Protocols = ONE_PROTOCOL,
                 **more: Any) -> None:
        self.t, self.group, self.asked, self.instance, self.protocols, self.more = t, name, asked, instance, protocols, more
        self.id, self.generation = "", -1

    def joining(self, **more: Any) -> dict[str, Any]:
        """Its request to join."""
        return joining(self.group, self.id, self.instance, self.protocols, **{**self.more, **more})

    def join(self, **more: Any) -> Member:
        """Joins, by way of the handshake where there is one."""
        answer = self._do("JoinGroup", self.joining(**more))
        if answer["ErrorCode"] == MEMBER_ID_REQUIRED and not self.id:
            self.id = answer["MemberId"]
            answer = self._do("JoinGroup", self.joining(**more))
        return self._joined(answer)

    def introduce(self) -> Member:
        """The first half of the handshake."""
        self.id = self._do("JoinGroup", self.joining())["MemberId"]
        return self

    def join_later(self, **more: Any) -> Callable[[], Member]:
        """Joins where that waits for others; what this returns takes the answer."""
        version = self.t.version if self.asked and self.t.api == "JoinGroup" else self.t.common.get("JoinGroup", 0)
        if version >= HANDSHAKE and self.instance is None and not self.id:
            self.introduce()
        answer = self.t.ask_later(self.joining(**more), "JoinGroup", kept=self.asked)
        return lambda: self._joined(self._checked("JoinGroup", answer()))

    def sync(self, assignments: dict[str, bytes] | None = None, **more: Any) -> Member:
        """Takes its assignment, or gives all of them (the leader)."""
        self._do("SyncGroup", self.syncing(assignments, **more))
        return self

    def syncing(self, assignments: dict[str, bytes] | None = None, **more: Any) -> dict[str, Any]:
        """Its request to sync."""
        return syncing(self.group, self.generation, self.id, assignments, **{
            "GroupInstanceId": self.instance, "ProtocolName": self.protocols[0][0],
            "ProtocolType": self.more.get("ProtocolType", "consumer"), **more})

    def beat(self) -> None:
        """One heartbeat."""
        self._do("Heartbeat", beating(self.group, self.generation, self.id, self.instance))

    def leave(self) -> None:
        """Leaves."""
        self._do("LeaveGroup", leaving(self.group, (self.id, self.instance)))

    def _joined(self, answer: dict[str, Any]) -> Member:
        if answer["ErrorCode"] == 0:
            self.id, self.generation = answer["MemberId"], answer["GenerationId"]
        return self

    def _do(self, api: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._checked(api, self.t.ask(body, api) if self.asked else self.t.setup(api, body))

    def _checked(self, api: str, answer: Any) -> dict[str, Any]:
        if not isinstance(answer, dict):
            raise Stop(f"{api}: {answer or 'no answer'}")
        if not self.asked and answer["ErrorCode"] not in (0, MEMBER_ID_REQUIRED):
            raise Stop(f"setup: {api}: {answer['ErrorCode']}")
        return answer


def stable(t: Talk, name: str, **more: Any) -> Member:
    """The one member of a stable group."""
    one = Member(t, name, **more).join()
    return one.sync({one.id: b"all"})


def promised(t: Talk, name: str) -> Member:
    """One who has only its id, of a new group. Kafka gives the id before it has written down that there is a group."""
    one = Member(t, name).introduce()
    await_state(t, name, "Empty")
    return one


def joined_pair(t: Talk, name: str, **more: Any) -> tuple[Member, Member]:
    """A group of two, the first of which leads; no assignment yet. Generation 2."""
    one, two = Member(t, name, **more).join(), Member(t, name, **more)
    answer = two.join_later()
    await_state(t, name, "PreparingRebalance")
    again = one.join_later()
    answer()  # first, so that the second member's id is known when the leader is told it
    again()
    return one, two


def pair(t: Talk, name: str, **more: Any) -> tuple[Member, Member]:
    """The same, stable."""
    one, two = joined_pair(t, name, **more)
    one.sync({one.id: b"first", two.id: b"second"})
    two.sync()
    return one, two


def rebalancing(t: Talk, name: str) -> tuple[Member, Callable[[], Member]]:
    """A group whose second member waits for the first to join again: both."""
    one = stable(t, name)
    answer = Member(t, name).join_later()
    await_state(t, name, "PreparingRebalance")
    return one, answer
