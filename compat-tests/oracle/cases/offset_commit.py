"""OffsetCommit 2-10."""

from __future__ import annotations

from typing import Any

from cases import add, case, simple, spoiled
from cases.group_helpers import NOBODY, Member, committed, committing, group, offset, reading, rebalancing, stable
from talk import ZERO_ID, Talk, Topic

API = "OffsetCommit"


def two(t: Talk, name: str) -> Topic:
    """A topic of two partitions."""
    return t.topic(partitions=2, whole_name=name)


def topic(t: Talk) -> Topic:
    """One that all cases commit to, each for a group of its own."""
    return t.shared("commit", two)


def read(t: Talk, name: str | None = None) -> None:
    """What is there now, in the version that tells most."""
    t.ask(reading(group(t) if name is None else name, everything=True), "OffsetFetch")


def alone(label: str, *parts: dict[str, Any], versions: tuple[int, int] | None = None, **more: Any) -> None:
    """A case of a commit by nobody's member, read back."""
    def run(t: Talk) -> None:
        t.ask(committing(group(t), (topic(t), list(parts)), **more))
        read(t)
    add(API, label, run, versions)


alone("standalone", offset())
alone("standalone-two-partitions", offset(1, 8), offset(0, 7))
alone("no-partitions")
alone("partition-unknown", offset(2))
alone("partition-negative", offset(-1))
alone("partition-known-and-unknown", offset(9), offset(0))
alone("same-partition-twice", offset(0, 7), offset(0, 5))
for number in (0, -1, -2, 2**63 - 1):
    alone(f"offset-{number}", offset(0, number))
for label, metadata in {"null": None, "empty": "", "4096": "x" * 4096, "4097": "x" * 4097, "umlauts-2048": "ä" * 2048,
                        "umlauts-2049": "ä" * 2049, "umlauts-4097": "ä" * 4097}.items():
    alone(f"metadata-{label}", offset(0, 7, metadata))
alone("metadata-of-one-too-large", offset(0, 7, "x" * 4097), offset(1, 8))
alone("metadata-too-large-partition-unknown", offset(9, 7, "x" * 4097))
for number in (0, 5, -2):
    alone(f"leader-epoch-{number}", offset(0, 7, epoch=number), versions=(6, 10))
for number in (-1, 0, 1, 86_400_000, -2):
    alone(f"retention-{number}", offset(), versions=(2, 4), RetentionTimeMs=number)
alone("generation-of-no-group", offset(), generation=0)
alone("generation-and-member-of-no-group", offset(), generation=1, member=NOBODY)
alone("member-of-no-group", offset(), member=NOBODY)
alone("generation-minus-two", offset(), generation=-2)
alone("instance-of-no-group", offset(), instance="i", versions=(7, 10))
alone("instance-and-generation-of-no-group", offset(), instance="i", generation=1, member=NOBODY, versions=(7, 10))


@case(API, alone=True)
def group_empty(t: Talk) -> None:
    """A group without a name holds offsets like any other. All cases share it: it is gone afterwards, before others look for it."""
    group(t)
    t.setup("DeleteGroups", {"GroupsNames": [""]})  # of an earlier run, on a broker that lives longer
    t.ask(committing("", (topic(t), [offset()])))
    t.ask(committing("", (topic(t), [offset()]), member=NOBODY, generation=1))
    t.ask(committing("", (t.missing(), [offset()])))
    read(t, "")
    for api, body in (("DescribeGroups", {"Groups": [""]}), ("DeleteGroups", {"GroupsNames": [""]})):
        t.ask(body, api)
    read(t, "")


def to(label: str, *names: str) -> None:
    """A case of topics, `""` for the one that exists."""
    def run(t: Talk) -> None:
        made = [topic(t) if n == "exists" else Topic(n, t.missing().id) for n in names]
        t.ask(committing(group(t), *((x, [offset()]) for x in made)))
        read(t)
    add(API, label, run, (2, 9))


to("topic-unknown", "missing-topic")
to("topic-empty", "")
to("topic-invalid", "a b")
to("topics-known-and-unknown", "missing-topic", "exists", "another")
to("no-topics")
to("same-topic-twice", "exists", "exists")
to("unknown-topic-twice", "missing-topic", "missing-topic")


@case(API, (10, 10))
def ids(t: Talk) -> None:
    """v10 knows topics by their ids alone."""
    name, there = group(t), topic(t)
    for one in ([t.missing()], [Topic("", ZERO_ID)], [t.missing("a"), there, Topic("", ZERO_ID)], [t.missing(), t.missing()]):
        t.ask(committing(name, *((x, [offset()]) for x in one)))
    read(t)


@case(API, (10, 10))
def same_id_twice(t: Talk) -> None:
    """Twice the same topic, with another partition and with the same one."""
    name, there = group(t), topic(t)
    t.ask(committing(name, (there, [offset(0, 7)]), (there, [offset(1, 8)])))
    t.ask(committing(name, (there, [offset(0, 9)]), (there, [offset(0, 3)])))
    read(t)


@case(API, (10, 10))
def id_of_a_deleted_topic(t: Talk) -> None:
    """An id of the past."""
    gone = t.topic()
    t.setup("DeleteTopics", {"Topics": [{"Name": gone.name}], "TopicNames": [gone.name], "TimeoutMs": 5000})
    for _ in range(500):
        if t.setup("Metadata", {"Topics": [{"Name": gone.name}], "AllowAutoTopicCreation": False})["Topics"][0]["ErrorCode"] == 3:
            break
    t.ask(committing(group(t), (gone, [offset()])))


@case(API)
def over_and_over(t: Talk) -> None:
    """The last one counts, though it is lower; the rest stays."""
    name, there = group(t), topic(t)
    t.ask(committing(name, (there, [offset(0, 7), offset(1, 8)])))
    t.ask(committing(name, (there, [offset(0, 3, None)])))
    read(t)


def every_way(t: Talk, one: Member) -> None:
    """As the member; of other generations; as another; as nobody's member."""
    for member, generation in ((one.id, one.generation), (one.id, one.generation - 1), (one.id, one.generation + 1), (one.id, -1),
                               (NOBODY, one.generation), (NOBODY, 7), ("", one.generation), ("", -1), (NOBODY, -1), ("", -2)):
        t.ask(committing(one.group, (topic(t), [offset()]), member=member, generation=generation))


@case(API)
def member_of_a_stable_group(t: Talk) -> None:
    """Where there are members, only they may."""
    every_way(t, stable(t, group(t)))


@case(API)
def member_of_a_group_that_is_not_of_consumers(t: Talk) -> None:
    """All the same."""
    every_way(t, stable(t, group(t), ProtocolType="connect"))


@case(API)
def member_before_the_sync(t: Talk) -> None:
    """Nobody may, since nobody has an assignment yet."""
    every_way(t, Member(t, group(t)).join())


@case(API)
def member_while_the_group_rebalances(t: Talk) -> None:
    """A member may still, so that the next one goes on from there."""
    one, _ = rebalancing(t, group(t))
    every_way(t, one)
    read(t)


@case(API)
def member_who_left(t: Talk) -> None:
    """The group is empty: it is open to all who name no generation."""
    one = stable(t, group(t))
    one.leave()
    every_way(t, one)


@case(API)
def member_that_has_only_its_id(t: Talk) -> None:
    """It has not joined."""
    one = Member(t, group(t)).introduce()
    every_way(t, one)


@case(API)
def group_of_offsets_alone(t: Talk) -> None:
    """It has no generation."""
    committed(t, group(t), (topic(t), [offset()]))
    for member, generation in ((NOBODY, 0), ("", 0), ("", 1), (NOBODY, -1)):
        t.ask(committing(group(t), (topic(t), [offset()]), member=member, generation=generation))


@case(API)
def member_and_unknown_topic(t: Talk) -> None:
    """What is wrong with the member is told of what could be committed; unknown topics are told as such."""
    one = stable(t, group(t))
    parts = [offset(0), offset(9), offset(1, metadata="x" * 4097)]
    for generation in (one.generation, 7):
        t.ask(committing(one.group, (topic(t), parts), (t.missing(), [offset()]), member=one.id, generation=generation))


@case(API, (7, 10))
def static_member(t: Talk) -> None:
    """By id and instance, by id alone; then the old id, when the instance has come back."""
    one = stable(t, group(t), instance="i")

    def every(*ways: tuple[str, str | None, int]) -> None:
        for member, instance, generation in ways:
            t.ask(committing(one.group, (topic(t), [offset()]), member=member, instance=instance, generation=generation))
    every((one.id, "i", 1), (one.id, None, 1), (one.id, "j", 1), (NOBODY, "i", 1), ("", "i", 1), ("", "i", -1), (one.id, "i", 7))
    old, one.id = one.id, ""
    one.join()
    every((old, "i", one.generation), (old, "i", 7), (old, None, one.generation), (one.id, "i", one.generation))


simple(API, "no-topics-empty-group", lambda t: committing("" if group(t) else ""))
simple(API, "no-topics-unknown-member", lambda t: committing(group(t), member=NOBODY, generation=1))
spoiled(API, lambda t: committing("", (Topic("x", ZERO_ID), [offset()])))
