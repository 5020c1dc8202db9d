"""OffsetDelete 0."""

from __future__ import annotations

from typing import Any

from cases import add, case, simple, spoiled
from cases.group_helpers import Member, committed, group, offset, reading, rebalancing, stable, subscription
from talk import Talk, Topic

API = "OffsetDelete"


def two(t: Talk, name: str) -> Topic:
    """A topic of two partitions."""
    return t.topic(partitions=2, whole_name=name)


def topics(t: Talk) -> tuple[Topic, Topic]:
    """Two that all cases have offsets of, each in a group of its own."""
    return t.shared("forget-a", two), t.shared("forget-b", two)


def deleting(name: str, *some: tuple[str, list[int]]) -> dict[str, Any]:
    """Some partitions."""
    return {"GroupId": name, "Topics": [{"Name": n, "Partitions": [{"PartitionIndex": p} for p in parts]} for n, parts in some]}


def filled(t: Talk) -> str:
    """A group that has offsets of both partitions of both topics."""
    committed(t, group(t), *((x, [offset(0), offset(1)]) for x in topics(t)))
    return group(t)


def left(t: Talk, name: str) -> None:
    """What is left."""
    t.ask(reading(name, everything=True), "OffsetFetch")


def of(label: str, *some: tuple[str, list[int]]) -> None:
    """A case of topics (`a` and `b` exist), of a group of offsets alone."""
    def run(t: Talk) -> None:
        names = dict(zip("ab", (x.name for x in topics(t))))
        t.ask(deleting(filled(t), *((names.get(n, n), parts) for n, parts in some)))
        left(t, group(t))
        t.ask(deleting(group(t, "unknown"), *((names.get(n, n), parts) for n, parts in some)), label="unknown group")
        t.ask(deleting("", *((names.get(n, n), parts) for n, parts in some)), label="no group")
    add(API, label, run)


of("one", ("a", [0]))
of("all", ("b", [1, 0]), ("a", [0, 1]))
of("partition-unknown", ("a", [9, 0]))
of("partition-negative", ("a", [-1]))
of("topic-unknown", ("missing-topic", [0, 1]))
of("topics-known-and-unknown", ("missing-topic", [0]), ("a", [1]))
of("topic-empty", ("", [0]))
of("topic-invalid", ("a b", [0]))
of("same-partition-twice", ("a", [0, 0]))
of("same-topic-twice", ("a", [0]), ("a", [1]))
of("no-topics")
of("no-partitions", ("a", []))
simple(API, "group-empty", lambda t: deleting("" if group(t) else "", ("x", [0])))
spoiled(API, lambda t: deleting(""))


@case(API)
def all_one_after_another(t: Talk) -> None:
    """A group of offsets alone that has none left; there is nothing to delete a second time."""
    name = filled(t)
    for one in topics(t):
        t.ask(deleting(name, (one.name, [0, 1])))
    t.ask(deleting(name, (topics(t)[0].name, [0])))
    t.ask({"Groups": [name]}, "DescribeGroups")


def by(label: str, make: Any) -> None:
    """A case of a group with members that somehow subscribe to topic `a`."""
    def run(t: Talk) -> None:
        a, b = topics(t)
        name = filled(t)
        make(t, name, subscription(a.name))
        t.ask(deleting(name, (a.name, [0, 9]), (b.name, [0, 9]), ("missing-topic", [0])))
        left(t, name)
    add(API, label, run)


by("subscribed", lambda t, name, what: stable(t, name, protocols=(("range", what),)))
by("subscribed-to-nothing", lambda t, name, _: stable(t, name, protocols=(("range", subscription()),)))
by("subscribed-by-a-protocol-not-chosen", lambda t, name, what: stable(t, name, protocols=(("range", subscription()), ("x", what))))
by("subscribed-before-the-sync", lambda t, name, what: Member(t, name, protocols=(("range", what),)).join())
by("subscription-unreadable", lambda t, name, _: stable(t, name, protocols=(("range", b"\0"),)))
by("subscription-of-a-later-version", lambda t, name, what: stable(t, name, protocols=(("range", b"\0\x63" + what[2:] + b"more"),)))
by("subscribed-and-left", lambda t, name, what: stable(t, name, protocols=(("range", what),)).leave())
by("not-of-consumers", lambda t, name, what: stable(t, name, protocols=(("range", what),), ProtocolType="connect"))
by("not-of-consumers-and-left", lambda t, name, what: stable(t, name, protocols=(("range", what),), ProtocolType="connect").leave())
by("member-that-has-only-its-id", lambda t, name, what: Member(t, name, protocols=(("range", what),)).introduce())


@case(API)
def while_the_group_rebalances(t: Talk) -> None:
    """Its members' metadata could not be read."""
    name = filled(t)
    rebalancing(t, name)
    t.ask(deleting(name, (topics(t)[0].name, [0])))
