"""OffsetFetch 1-10."""

from __future__ import annotations

from typing import Any

from cases import add, case, simple, spoiled
from cases.group_helpers import NOBODY, committed, group, offset, promised, reading, stable
from talk import ZERO_ID, Stop, Talk, Topic

API = "OffsetFetch"
BY_NAME, SEVERAL, BY_ID = (1, 9), (8, 10), (10, 10)


def two(t: Talk, name: str) -> Topic:
    """A topic of two partitions."""
    return t.topic(partitions=2, whole_name=name)


def topic(t: Talk, suffix: str = "a") -> Topic:
    """One that all cases read, each of a group of its own."""
    return t.shared(f"offsets-{suffix}", two)


def filled(t: Talk, suffix: str = "g") -> str:
    """A group with an offset of partition 0, of each of two topics."""
    name = group(t, suffix)
    committed(t, name, (topic(t), [offset(0, 7, "why", 3)]), (topic(t, "b"), [offset(0, 8, None)]))
    return name


def of(label: str, *asked: tuple[str, list[int]], versions: tuple[int, int] | None = None, **more: Any) -> None:
    """A case of topics: `a` and `b` exist, others do not."""
    def run(t: Talk) -> None:
        topics = [(topic(t, n) if n in ("a", "b") else Topic(n, t.missing().id), parts) for n, parts in asked]
        t.ask(reading(filled(t), *topics, **more))
        t.ask(reading(group(t, "unknown"), *topics, **more), label="unknown group")
    add(API, label, run, versions)


of("one", ("a", [0]))
of("one-of-two", ("a", [1, 0]))
of("two-topics", ("b", [0]), ("a", [0]))
of("partition-unknown", ("a", [0, 9]))
of("partition-negative", ("a", [-1]))
of("same-partition-twice", ("a", [0, 0]))
of("same-topic-twice", ("a", [0]), ("a", [1]))
of("no-topics")
of("no-partitions", ("a", []))
of("topic-unknown", ("missing-topic", [0]))
of("topics-unknown-and-known", ("missing-topic", [0, 1]), ("a", [0]))
of("topic-empty", ("", [0]), versions=BY_NAME)
of("topic-invalid", ("a b", [0]), versions=BY_NAME)
of("stable", ("a", [0, 1]), versions=(7, 10), RequireStable=True)


@case(API)
def all_topics(t: Talk) -> None:
    """Null asks for all; v1 has no null."""
    t.ask(reading(filled(t), everything=True))
    t.ask(reading(group(t, "unknown"), everything=True))


@case(API, (7, 10))
def all_topics_stable(t: Talk) -> None:
    """Nothing is pending here."""
    t.ask(reading(filled(t), everything=True, RequireStable=True))


@case(API)
def group_empty(t: Talk) -> None:
    """A group without a name."""
    group(t)
    t.ask(reading("", (topic(t), [0])))
    t.ask(reading("", everything=True))


@case(API)
def group_without_offsets(t: Talk) -> None:
    """It has a member, but no offsets; and one who has only its id."""
    one = stable(t, group(t))
    t.ask(reading(one.group, (topic(t), [0])))
    t.ask(reading(one.group, everything=True))
    t.ask(reading(promised(t, group(t, "new")).group, (topic(t), [0])))


@case(API)
def metadata_null_and_empty(t: Talk) -> None:
    """One reads like the other."""
    name = group(t)
    committed(t, name, (topic(t), [offset(0, 1, None), offset(1, 2, "")]))
    t.ask(reading(name, (topic(t), [0, 1])))


@case(API)
def offsets_out_of_the_ordinary(t: Talk) -> None:
    """Negative, and the largest."""
    name = group(t)
    committed(t, name, (topic(t), [offset(0, -5), offset(1, 2**63 - 1)]))
    t.ask(reading(name, (topic(t), [0, 1])))


@case(API)
def deleted_topic(t: Talk) -> None:
    """Its offsets go with it, a moment later; also when it comes back under its name."""
    name, gone = group(t), t.topic()
    committed(t, name, (gone, [offset()]), (topic(t), [offset()]))
    t.setup("DeleteTopics", {"Topics": [{"Name": gone.name}], "TopicNames": [gone.name], "TimeoutMs": 5000})
    for _ in range(1000):
        seen = t.setup(API, reading(name, (gone, [0])), 9)["Groups"][0]["Topics"][0]["Partitions"][0]
        if seen["CommittedOffset"] < 0:
            break
    else:
        raise Stop("setup: the offsets stay")
    t.ask(reading(name, (gone, [0])))
    t.ask(reading(name, everything=True))
    t.ask(reading(name, (t.topic(), [0])))


def groups(*some: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Several groups in one request."""
    return {"Groups": [g["Groups"][0] for g in some], **more}


@case(API, SEVERAL)
def groups_in_one_request(t: Talk) -> None:
    """Each has an answer of its own; unknown ones and one without a name between them."""
    a, b = filled(t), filled(t, "h")
    some = [(topic(t), [0])]
    t.ask(groups(reading(b, *some), reading(a, everything=True)))
    t.ask(groups(reading(a, *some), reading(group(t, "unknown"), *some), reading("", *some), reading(b, *some)))
    t.ask(groups(reading(a, *some), reading(b, *some), RequireStable=True))


@case(API, SEVERAL)
def same_group_twice(t: Talk) -> None:
    """With different questions."""
    name = filled(t)
    t.ask(groups(reading(name, (topic(t), [0])), reading(name, (topic(t, "b"), [0]))))
    t.ask(groups(reading(name, (topic(t), [0])), reading(name, everything=True)))


simple(API, "no-groups", lambda t: {"Groups": []} if group(t) else {}, SEVERAL)


@case(API, (9, 10))
def member_and_epoch(t: Talk) -> None:
    """Those of the newer protocol; a classic group has no epochs."""
    one = stable(t, group(t))
    for name in (one.group, filled(t, "offsets"), group(t, "unknown")):
        for member, epoch in ((None, 0), (None, -1), ("", -1), (NOBODY, -1), (NOBODY, 0), (one.id, 1), (one.id, 7), ("", 0)):
            body = reading(name, (topic(t), [0]))
            body["Groups"][0].update(MemberId=member, MemberEpoch=epoch)
            t.ask(body)
    body["Groups"][0]["GroupId"] = ""
    t.ask(body)


@case(API, BY_ID)
def ids(t: Talk) -> None:
    """Topics by their ids alone: unknown ones, and zero."""
    name = filled(t)
    t.ask(reading(name, (Topic("", ZERO_ID), [0])))
    t.ask(reading(name, (t.missing(), [0, 1]), (topic(t), [0]), (Topic("", ZERO_ID), [0])))
    t.ask(reading(name, (t.missing(), [0]), (t.missing(), [1])))
    t.ask(reading(name, (topic(t), [0]), (topic(t), [1])))
    t.ask(reading("", (t.missing(), [0])))


spoiled(API, lambda t: reading("", (t.missing(), [0])))
