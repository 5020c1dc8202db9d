"""TxnOffsetCommit 0-4 (after AddOffsetsToTxn) and 5 (which adds the group itself), and what readers of offsets see meanwhile."""

from __future__ import annotations

from typing import Any

from cases import add, case, simple, spoiled
from cases.group_helpers import NOBODY, Member, committed, committing, offset, reading, stable
from cases.txn_helpers import Txn, at, describe, group, offsets_adding, offsets_committing, patiently, txn
from talk import Talk, Topic

API, FETCH = "TxnOffsetCommit", "OffsetFetch"
MEMBERS = (3, 5)
METADATA_MAX = 4096


def newer(t: Talk) -> bool:
    """Whether the version in question adds the group itself."""
    return t.version >= 5 if t.api == API else True


def begun(t: Talk, to: str, suffix: str = "x") -> Txn:
    """A producer that may commit offsets of a group."""
    x = Txn(t, suffix, new=newer(t))
    if not newer(t):
        patiently(t, "AddOffsetsToTxn", offsets_adding(*x.who, to))
    return x


def seen(t: Talk, to: str, *topics: tuple[Topic, list[int]], label: str | None = None) -> None:
    """Compares what is committed, and what is stable."""
    for stable_ones in (False, True):
        t.ask(reading(to, *topics, RequireStable=stable_ones), FETCH, min(9, t.common.get(FETCH, 0)), label=label and f"{label} {stable_ones}")


def ended(label: str, commit: bool) -> None:
    """A case of an end."""
    def run(t: Talk) -> None:
        topic, to = t.topic(partitions=2), group(t)
        committed(t, to, (topic, [offset(0, 3), offset(1, 4)]))
        x = begun(t, to)
        t.ask(offsets_committing(*x.who, to, (topic.name, [at(0, 9, "new", 2)])))
        describe(t, x.name)
        seen(t, to, (topic, [0, 1]), label="pending")
        x.end(commit)
        seen(t, to, (topic, [0, 1]), label="ended")
    add(API, label, run)


ended("commit", True)
ended("abort", False)


def of(label: str, *asked: tuple[str, list[dict[str, Any]]]) -> None:
    """A case of topics: `a` and `b` have two partitions, others are not there."""
    def run(t: Talk) -> None:
        known = {n: t.topic(n, partitions=2) for n in ("a", "b")}
        to = group(t)
        x = begun(t, to)
        t.ask(offsets_committing(*x.who, to, *[(known[n].name if n in known else n, some) for n, some in asked]))
        seen(t, to, (known["a"], [0, 1]), (known["b"], [0, 1]))
        describe(t, x.name)
        if asked:
            x.end(commit=True)
        seen(t, to, (known["a"], [0, 1]), (known["b"], [0, 1]))
    add(API, label, run)


of("two-topics", ("b", [at(1, 5)]), ("a", [at(0, 6), at(1, 7)]))
of("partition-known-and-unknown", ("a", [at(0), at(9)]))
of("partition-known-and-negative", ("a", [at(0), at(-1)]))
of("topic-known-and-unknown", ("missing-topic", [at()]), ("a", [at()]))
of("topic-known-and-empty", ("", [at()]), ("a", [at()]))
of("same-partition-twice", ("a", [at(0, 1), at(0, 2)]))
of("offset-negative", ("a", [at(0, -1)]), ("b", [at(0, -5)]))
of("offset-largest", ("a", [at(0, 2**63 - 1)]))
of("metadata", ("a", [at(0, 1, None), at(1, 1, "")]))
of("metadata-longest-and-longer", ("a", [at(0, 1, "x" * METADATA_MAX), at(1, 1, "x" * (METADATA_MAX + 1))]))
of("leader-epochs", ("a", [at(0, 1, epoch=7), at(1, 1, epoch=-5)]))
of("no-topics")


@case(API)
def only_unknown_topics(t: Talk) -> None:
    """Nothing is committed, so nothing is added."""
    to = group(t)
    x = Txn(t, new=newer(t))
    t.ask(offsets_committing(*x.who, to, ("missing-topic", [at()])))
    describe(t, x.name)


@case(API)
def without_adding_the_group(t: Talk) -> None:
    """The versions of the older protocol must."""
    topic, to = t.topic(), group(t)
    x = Txn(t)
    t.ask(offsets_committing(*x.who, to, (topic.name, [at()])))
    describe(t, x.name)
    seen(t, to, (topic, [0]))


@case(API)
def in_a_transaction_with_records(t: Talk) -> None:
    """Consume, transform, produce."""
    topic, to = t.topic(), group(t)
    x = begun(t, to).write(topic)
    t.ask(offsets_committing(*x.who, to, (topic.name, [at()])))
    describe(t, x.name)
    x.end(commit=True)
    seen(t, to, (topic, [0]))
    describe(t, x.name)


@case(API)
def twice_in_a_transaction(t: Talk) -> None:
    """The last one counts."""
    topic, to = t.topic(), group(t)
    x = begun(t, to)
    for place in (5, 9, 7):
        t.ask(offsets_committing(*x.who, to, (topic.name, [at(0, place)])))
    x.end(commit=True)
    seen(t, to, (topic, [0]))


@case(API)
def two_transactions_of_one_group(t: Talk) -> None:
    """Each partition is stable when nobody has it pending."""
    topic, to = t.topic(partitions=2), group(t)
    x, y = begun(t, to), begun(t, to, "y")
    t.ask(offsets_committing(*x.who, to, (topic.name, [at(0, 5), at(1, 5)])))
    t.ask(offsets_committing(*y.who, to, (topic.name, [at(0, 6)])))
    x.end(commit=True)
    seen(t, to, (topic, [0, 1]), label="one open")
    y.end(commit=False)
    seen(t, to, (topic, [0, 1]), label="none open")


@case(API)
def two_groups_in_a_transaction(t: Talk) -> None:
    """Both are committed."""
    topic, to, other = t.topic(), group(t), group(t, "h")
    x = begun(t, to)
    if not newer(t):
        patiently(t, "AddOffsetsToTxn", offsets_adding(*x.who, other))
    for name in (to, other):
        t.ask(offsets_committing(*x.who, name, (topic.name, [at()])))
    x.end(commit=True)
    for name in (to, other):
        seen(t, name, (topic, [0]))


@case(API)
def plain_commit_beside_it(t: Talk) -> None:
    """A commit of no transaction after a pending one, whose end comes later: the one with the larger offset in the log of commits wins."""
    topic, to = t.topic(partitions=2), group(t)
    x = begun(t, to)
    t.ask(offsets_committing(*x.who, to, (topic.name, [at(0, 5), at(1, 5)])))
    committed(t, to, (topic, [offset(0, 8)]))
    seen(t, to, (topic, [0, 1]), label="pending")
    x.end(commit=True)
    seen(t, to, (topic, [0, 1]), label="ended")


@case(API)
def somebody_else(t: Talk) -> None:
    """Ids and epochs that are not the producer's, whose epoch is 1."""
    topic, to = t.topic(), group(t)
    x = Txn(t, new=newer(t)).init()
    if not newer(t):
        patiently(t, "AddOffsetsToTxn", offsets_adding(*x.who, to))
    for name, pid, epoch in ((x.name, x.pid, 0), (x.name, x.pid, 2), (x.name, x.pid, -1), (x.name, 7_000_000, 1), (x.name, -1, -1),
                             (t.name("other"), x.pid, 1)):
        t.ask(offsets_committing(name, pid, epoch, to, (topic.name, [at()])))
    seen(t, to, (topic, [0]))
    describe(t, x.name)


@case(API)
def of_a_producer_that_was_fenced(t: Talk) -> None:
    """By another of the same name."""
    topic, to = t.topic(), group(t)
    x = begun(t, to)
    zombie = x.who
    t.ask(offsets_committing(*zombie, to, (topic.name, [at()])))
    x.init()
    t.ask(offsets_committing(*zombie, to, (topic.name, [at(0, 8)])))
    seen(t, to, (topic, [0]))


@case(API)
def after_a_timeout(t: Talk) -> None:
    """The broker aborted it, and took the offsets back."""
    topic, to = t.topic(), group(t)
    x = Txn(t, new=newer(t), timeout=500)
    x.commit_offsets(to, topic).settle("CompleteAbort")
    seen(t, to, (topic, [0]))
    t.ask(offsets_committing(*x.who, to, (topic.name, [at()])))


@case(API)
def group_empty_name(t: Talk) -> None:
    """A group without a name."""
    topic, x = t.topic(), begun(t, group(t))
    t.ask(offsets_committing(*x.who, "", (topic.name, [at()])))


def ways(t: Talk, one: Member, x: Txn, topic: Topic) -> None:
    """As the member that it is; of other generations; as others."""
    for generation, member, instance in (
            (one.generation, one.id, one.instance), (one.generation + 1, one.id, None), (one.generation - 1, one.id, None), (-1, one.id, None),
            (one.generation, NOBODY, None), (-1, "", None), (0, "", None), (7, NOBODY, None), (one.generation, one.id, "other")):
        more = {"GenerationId": generation, "MemberId": member, "GroupInstanceId": instance}
        t.ask(offsets_committing(*x.who, one.group, (topic.name, [at(0, 5)]), **more))


@case(API, MEMBERS)
def member_of_a_stable_group(t: Talk) -> None:
    """KIP-447."""
    topic, one = t.topic(), stable(t, group(t))
    x = begun(t, one.group)
    ways(t, one, x, topic)
    x.end(commit=True)
    seen(t, one.group, (topic, [0]))


@case(API, MEMBERS)
def member_of_instance(t: Talk) -> None:
    """A static member, then the id that its instance had before."""
    topic, one = t.topic(), stable(t, group(t), instance="i")
    x = begun(t, one.group)
    ways(t, one, x, topic)
    old_id, one.id = one.id, ""
    one.join()
    for member in (old_id, one.id):
        more = {"GenerationId": one.generation, "MemberId": member, "GroupInstanceId": "i"}
        t.ask(offsets_committing(*x.who, one.group, (topic.name, [at(0, 6)]), **more))


@case(API, MEMBERS)
def member_before_the_sync(t: Talk) -> None:
    """A rebalance is on its way."""
    topic, one = t.topic(), Member(t, group(t)).join()
    ways(t, one, begun(t, one.group), topic)


@case(API, MEMBERS)
def member_of_no_group(t: Talk) -> None:
    """Nobody has heard of the group."""
    topic, to = t.topic(), group(t)
    x = begun(t, to)
    for generation, member in ((1, NOBODY), (-1, NOBODY), (0, ""), (1, ""), (-1, "")):
        t.ask(offsets_committing(*x.who, to, (topic.name, [at()]), GenerationId=generation, MemberId=member))


simple(API, "transactional-id-empty", lambda t: offsets_committing("" if txn(t) else "", 1, 0, group(t), (t.topic().name, [at()])))
simple(API, "transactional-id-unknown", lambda t: offsets_committing(txn(t), 1, 0, group(t), (t.topic().name, [at()])))
spoiled(API, lambda t: offsets_committing(txn(t), 1, 0, group(t), ("missing-topic", [at()])))


def pending(t: Talk, first: bool = True) -> tuple[str, Topic, Txn]:
    """A group with an offset of one partition pending, of another not; and of both committed before (`first`)."""
    topic, to = t.topic(partitions=3), group(t)
    if first:
        committed(t, to, (topic, [offset(0, 3), offset(1, 4)]))
    x = Txn(t, new=True)
    return to, topic, x.commit_offsets(to, topic, at(0, 9))


@case(FETCH, (7, 10))
def pending_offsets(t: Talk) -> None:
    """UNSTABLE_OFFSET_COMMIT for that partition alone; then what the end made of it."""
    for commit in (True, False):
        to, topic, x = pending(t) if commit else pending_again(t)
        for stable_ones in (False, True):
            t.ask(reading(to, (topic, [0, 1, 2]), RequireStable=stable_ones))
            t.ask(reading(to, everything=True, RequireStable=stable_ones))
        x.end(commit)
        t.ask(reading(to, (topic, [0, 1, 2]), RequireStable=True))


def pending_again(t: Talk) -> tuple[str, Topic, Txn]:
    """The same of another group and topic."""
    topic, to = t.topic("t2", partitions=3), group(t, "g2")
    x = Txn(t, "x2", new=True)
    return to, topic, x.commit_offsets(to, topic, at(0, 9))


@case(FETCH, (7, 10))
def pending_offsets_alone(t: Talk) -> None:
    """A group that has nothing else."""
    to, topic, x = pending(t, first=False)
    for stable_ones in (False, True):
        t.ask(reading(to, (topic, [0, 1]), RequireStable=stable_ones))
        t.ask(reading(to, everything=True, RequireStable=stable_ones))
    x.end(commit=False)
    t.ask(reading(to, (topic, [0, 1]), RequireStable=True))
    t.ask({"Groups": [to]}, "DescribeGroups")


@case("OffsetCommit")
def over_pending_offsets(t: Talk) -> None:
    """A commit of no transaction is taken; the transaction's, if it is committed later, does not take it back."""
    to, topic, x = pending(t)
    t.ask(committing(to, (topic, [offset(0, 5)])))
    t.ask(reading(to, (topic, [0]), RequireStable=True), FETCH)
    x.end(commit=True)
    t.ask(reading(to, (topic, [0]), RequireStable=True), FETCH)


@case("OffsetDelete")
def pending_offsets_deleted(t: Talk) -> None:
    """Of a partition with one committed and one pending."""
    to, topic, x = pending(t)
    t.ask({"GroupId": to, "Topics": [{"Name": topic.name, "Partitions": [{"PartitionIndex": i} for i in (0, 1, 2)]}]})
    t.ask(reading(to, (topic, [0, 1]), RequireStable=True), FETCH)
    x.end(commit=True)
    t.ask(reading(to, (topic, [0, 1]), RequireStable=True), FETCH)


@case("DeleteGroups")
def group_with_pending_offsets(t: Talk) -> None:
    """The group goes; the transaction ends afterwards."""
    to, topic, x = pending(t)
    t.ask({"GroupsNames": [to]})
    t.ask(reading(to, (topic, [0, 1]), RequireStable=True), FETCH)
    x.end(commit=True)
    t.ask(reading(to, (topic, [0, 1]), RequireStable=True), FETCH)
