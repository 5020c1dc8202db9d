"""Produce with a transactional id, Fetch and ListOffsets at isolation level 1, DeleteRecords under an open transaction."""

from __future__ import annotations

from typing import Any

import batch
from batch import Record
from cases import add, case
from cases.helpers import fetch_body, produce_body
from cases.txn_helpers import COMMITTED, UNCOMMITTED, Txn, describe, ending, look, old, plain, records, txn
from talk import Talk, Topic

PRODUCE, FETCH, LIST = "Produce", "Fetch", "ListOffsets"
IMPLICIT = 12  # the first version of Produce that adds its partitions to the transaction
# VERIFIED: before that version Kafka asks the coordinator whether a partition was added, for several producers at once, and then tells
# them all in the words of one of them: INVALID_TXN_STATE, or TRANSACTION_ABORTABLE where that one knows it. Cases that are refused so
# run alone.


def newer(t: Talk) -> bool:
    """Whether the version in question belongs to the newer protocol."""
    return t.version >= IMPLICIT


def begun(t: Talk, topic: Topic, suffix: str = "x") -> Txn:
    """A producer that may write to partition 0."""
    x = Txn(t, suffix, new=newer(t))
    return x if newer(t) else x.add(topic)


@case(PRODUCE)
def in_a_transaction(t: Talk) -> None:
    """Two batches, then the end, then the next transaction."""
    topic = t.topic()
    x = begun(t, topic)
    t.ask(x.body(topic))
    t.ask(x.body(topic, count=2))
    describe(t, x.name)
    x.end(commit=True)
    if not newer(t):
        x.add(topic)
    t.ask(x.body(topic))
    look(t, topic)


@case(PRODUCE, alone=True)  # see VERIFIED
def partition_that_was_not_added(t: Talk) -> None:
    """Where the client must add it: refused, and the log is unchanged; else it is added."""
    topic, x = t.topic(partitions=2), Txn(t)
    t.ask(x.body(topic))
    describe(t, x.name)
    x.add(topic, 1)
    t.ask(x.body(topic))
    t.ask(x.body(topic, 1))
    describe(t, x.name)
    look(t, topic)


@case(PRODUCE, alone=True)  # see VERIFIED
def partition_after_the_end(t: Talk) -> None:
    """Added to the transaction before; in the older protocol it has to be added again."""
    topic = t.topic()
    x = begun(t, topic)
    x.write(topic).end(commit=True)
    t.ask(x.body(topic))
    describe(t, x.name)


@case(PRODUCE)
def epoch_of_the_transaction_before(t: Talk) -> None:
    """After the newer protocol's end the epoch is gone."""
    topic, x = t.topic(), Txn(t, new=True)
    x.write(topic)
    before = x.epoch
    x.end(commit=True)
    t.ask(produce_body(topic, records(t, x.pid, before, 1), txn=x.name))
    t.ask(produce_body(topic, records(t, x.pid, before, 0), txn=x.name))
    look(t, topic)


def wrong(label: str, epoch: int = 0, pid: int | None = None, sequence: int = 0) -> None:
    """A case of a batch that is not the producer's own, whose epoch is 1, before and after a good one."""
    def run(t: Talk) -> None:
        topic = t.topic()
        x = Txn(t, new=newer(t)).init()
        if not newer(t):
            x.add(topic)
        def bad() -> None:
            t.ask(produce_body(topic, records(t, x.pid if pid is None else pid, x.epoch + epoch, sequence), txn=x.name))
        bad()
        t.ask(x.body(topic))
        bad()
        look(t, topic)
    add(PRODUCE, f"transactional-{label}", run, alone=True)  # see VERIFIED


wrong("epoch-before", -1)
wrong("epoch-to-come", 1)
wrong("epoch-negative", -3)
wrong("another-id", pid=7_000_000)
wrong("no-id", pid=-1)
wrong("first-sequence-not-zero", sequence=5)


@case(PRODUCE, alone=True)  # see VERIFIED
def transactional_id_of_another(t: Talk) -> None:
    """The producer id belongs to one, the request names another."""
    topic = t.topic()
    x, y = begun(t, topic), begun(t, topic, "y")
    t.ask(produce_body(topic, x.batch(topic), txn=y.name))
    t.ask(produce_body(topic, y.batch(topic), txn=t.name("nobody")))
    look(t, topic)


@case(PRODUCE, alone=True)  # see VERIFIED
def transactional_batch_in_a_plain_request(t: Talk) -> None:
    """The request names no transactional id."""
    topic = t.topic()
    x = begun(t, topic)
    t.ask(produce_body(topic, x.batch(topic)))
    look(t, topic)


@case(PRODUCE, alone=True)  # see VERIFIED
def plain_batch_in_a_transactional_request(t: Talk) -> None:
    """Of no producer; of the producer, without the bit; before and within a transaction."""
    topic = t.topic()
    x = begun(t, topic)
    t.ask(produce_body(topic, batch.batch([Record()], timestamp=t.now), txn=x.name))
    t.ask(produce_body(topic, records(t, x.pid, x.epoch, 0, flags=0), txn=x.name))
    t.ask(produce_body(topic, records(t, x.pid, x.epoch, 1), txn=x.name))
    t.ask(produce_body(topic, records(t, x.pid, x.epoch, 2, flags=0), txn=x.name))
    t.ask(produce_body(topic, records(t, x.pid, x.epoch, 2, flags=0)))
    look(t, topic)


@case(PRODUCE, alone=True)  # see VERIFIED
def plain_and_transactional_in_one_request(t: Talk) -> None:
    """A partition each."""
    topic = t.topic(partitions=2)
    x = begun(t, topic)
    body = produce_body(topic, x.batch(topic), txn=x.name)
    body["TopicData"][0]["PartitionData"].append({"Index": 1, "Records": batch.batch([Record()], timestamp=t.now)})
    t.ask(body)
    look(t, topic)
    look(t, topic, 1)


@case(PRODUCE, alone=True)  # see VERIFIED
def several_partitions_in_a_transactional_request(t: Talk) -> None:
    """Added, not added, not there."""
    topic = t.topic(partitions=3)
    x = begun(t, topic)
    body = produce_body(topic, x.batch(topic), txn=x.name)
    body["TopicData"][0]["PartitionData"] += [{"Index": i, "Records": x.batch(topic, i)} for i in (1, 9)]
    t.ask(body)
    describe(t, x.name)
    look(t, topic)
    look(t, topic, 1)


@case(PRODUCE, alone=True)  # see VERIFIED
def two_producers_in_a_transactional_request(t: Talk) -> None:
    """A partition each; only one of them is the transaction's."""
    topic = t.topic(partitions=2)
    x, y = begun(t, topic), Txn(t, "y", new=newer(t))
    body = produce_body(topic, x.batch(topic), txn=x.name)
    body["TopicData"][0]["PartitionData"].append({"Index": 1, "Records": y.batch(topic, 1)})
    t.ask(body)
    look(t, topic)


@case(PRODUCE, alone=True)  # see VERIFIED
def duplicate_in_a_transaction(t: Talk) -> None:
    """Answered with the first offset; also after the end."""
    topic = t.topic()
    x = begun(t, topic)
    first = records(t, x.pid, x.epoch, 0)
    for _ in range(2):
        t.ask(produce_body(topic, first, txn=x.name))
    x.end(commit=True)
    t.ask(produce_body(topic, first, txn=x.name))
    look(t, topic)


@case(PRODUCE, alone=True)  # see VERIFIED
def sequence_gap_in_a_transaction(t: Talk) -> None:
    """And over two transactions."""
    topic = t.topic()
    x = begun(t, topic)
    for sequence in (0, 2, 1):
        t.ask(produce_body(topic, records(t, x.pid, x.epoch, sequence), txn=x.name))
    x.end(commit=False)
    if not newer(t):
        x.add(topic)
    for sequence in (5, 0, 2):
        t.ask(produce_body(topic, records(t, x.pid, x.epoch, sequence), txn=x.name))
    look(t, topic)


@case(PRODUCE)
def acks_of_a_transaction(t: Talk) -> None:
    """One, and none that waits for an answer."""
    topic = t.topic()
    x = begun(t, topic)
    t.ask(produce_body(topic, records(t, x.pid, x.epoch, 0), txn=x.name, acks=1))
    t.send(produce_body(topic, records(t, x.pid, x.epoch, 1), txn=x.name, acks=0))
    t.ask(produce_body(topic, records(t, x.pid, x.epoch, 2), txn=x.name))
    look(t, topic)


@case(PRODUCE)
def control_batch_of_a_transaction(t: Talk) -> None:
    """A client writes no markers."""
    topic = t.topic()
    x = begun(t, topic)
    t.ask(x.body(topic))
    t.ask(produce_body(topic, records(t, x.pid, x.epoch, 1, flags=batch.TRANSACTIONAL | batch.CONTROL), txn=x.name))
    t.ask(produce_body(topic, records(t, x.pid, x.epoch, 1, flags=batch.CONTROL)))
    look(t, topic)


@case(PRODUCE, alone=True)  # see VERIFIED
def records_after_a_timeout(t: Talk) -> None:
    """The broker aborted the transaction and fenced its producer."""
    topic = t.topic()
    x = Txn(t, new=newer(t), timeout=500)
    x.write(topic).settle("CompleteAbort")
    t.ask(x.body(topic))
    look(t, topic)


@case(PRODUCE)
def plain_records_of_the_producer_afterwards(t: Talk) -> None:
    """The same producer id without transactions, when its transaction is over."""
    topic = t.topic()
    x = begun(t, topic)
    x.write(topic).end(commit=True)
    sequence = 0 if newer(t) else 1
    t.ask(produce_body(topic, records(t, x.pid, x.epoch, sequence, flags=0)))
    look(t, topic)


@case(PRODUCE)
def topic_that_is_gone(t: Talk) -> None:
    """Deleted within a transaction, which still ends."""
    gone, kept = t.topic("gone"), t.topic("kept")
    x = Txn(t, new=newer(t))
    x.write(gone).write(kept)
    t.setup("DeleteTopics", {"Topics": [{"Name": gone.name}], "TopicNames": [gone.name], "TimeoutMs": 5000})
    t.ask(x.body(kept))
    x.end(commit=True)
    describe(t, x.name)
    look(t, kept)


# Reading


def fetch(t: Talk, topic: Topic, offset: int = 0, level: dict[str, int] = COMMITTED, **more: Any) -> None:
    """One compared question."""
    t.ask(fetch_body((topic, 0, offset), **level, **more))


def every_offset(t: Talk, topic: Topic, end: int) -> None:
    """From each offset, so that batches and aborted transactions that begin before are seen, too."""
    for offset in range(end + 1):
        fetch(t, topic, offset)


@case(FETCH)
def committed_transaction(t: Talk) -> None:
    """Nothing before the end; everything after it."""
    topic, x = t.topic(), Txn(t)
    x.write(topic, count=2)
    fetch(t, topic)
    fetch(t, topic, level=UNCOMMITTED)
    x.end(commit=True)
    every_offset(t, topic, 3)
    fetch(t, topic, level=UNCOMMITTED)


@case(FETCH)
def aborted_transaction(t: Talk) -> None:
    """The records come, with the transaction in the list of the aborted ones."""
    topic, x = t.topic(), Txn(t)
    plain(t, topic)
    x.write(topic, count=2).write(topic)
    plain(t, topic)
    x.end(commit=False)
    plain(t, topic)
    every_offset(t, topic, 7)
    fetch(t, topic, level=UNCOMMITTED)


@case(FETCH)
def aborted_transaction_of_the_newer_protocol(t: Talk) -> None:
    """Its marker has the next epoch."""
    topic, x = t.topic(), Txn(t, new=True)
    x.write(topic).end(commit=False).write(topic).end(commit=True)
    every_offset(t, topic, 4)


@case(FETCH)
def aborted_transactions_over_each_other(t: Talk) -> None:
    """Several producers, ended in another order than begun."""
    topic = t.topic()
    w, x, y, z = (Txn(t, n, new=n in "xz") for n in "wxyz")
    for one in (w, x, y, z, x, w):
        one.write(topic)
    y.end(commit=False)
    fetch(t, topic)
    w.end(commit=False)
    fetch(t, topic)
    z.end(commit=True)
    x.end(commit=False)
    every_offset(t, topic, 10)


@case(FETCH)
def later_records_are_held_back(t: Talk) -> None:
    """Behind an open transaction: plain ones and a transaction that is committed."""
    topic, x, y = t.topic(), Txn(t), Txn(t, "y")
    plain(t, topic)
    x.write(topic)
    plain(t, topic)
    y.write(topic).end(commit=True)
    every_offset(t, topic, 5)
    x.end(commit=True)
    every_offset(t, topic, 6)


@case(FETCH)
def open_transaction_at_every_offset(t: Talk) -> None:
    """Between the last stable offset and the end; beyond the end: out of range."""
    topic, x = t.topic(), Txn(t)
    plain(t, topic)
    x.write(topic, count=3)
    every_offset(t, topic, 5)


@case(FETCH)
def committed_and_small(t: Talk) -> None:
    """Limits: the aborted list is that of what is sent."""
    topic, x, y = t.topic(), Txn(t), Txn(t, "y")
    x.write(topic).end(commit=False).write(topic).end(commit=False)
    y.write(topic).end(commit=False)
    for most in (1, 100, 200, 300):
        fetch(t, topic, partition_max=most)
    fetch(t, topic, max_bytes=1)


@case(FETCH)
def fetch_waits_for_the_end_of_a_transaction(t: Talk) -> None:
    """At the last stable offset: the end wakes it, more records do not."""
    topic, x = t.topic(), Txn(t)
    x.write(topic)
    answer = t.ask_later(fetch_body((topic, 0, 0), **COMMITTED) | {"MaxWaitMs": 9_000, "MinBytes": 1})
    plain(t, topic)
    x.write(topic).end(commit=True)
    answer()


@case(FETCH)
def timed_out_transaction(t: Talk) -> None:
    """Aborted by the broker."""
    topic, x = t.topic(), Txn(t, timeout=500)
    x.write(topic).settle("CompleteAbort")
    plain(t, topic)
    every_offset(t, topic, 3)


@case(FETCH, (7, 18))
def session_over_a_transaction(t: Talk) -> None:
    """The last stable offset moves without a record: a session tells it."""
    topic, x = t.topic(), Txn(t)
    x.write(topic)
    opened = t.ask(fetch_body((topic, 0, 0), **COMMITTED, SessionId=0, SessionEpoch=0)) or {}
    session = opened.get("SessionId", 0)
    t.ask({**fetch_body(**COMMITTED), "SessionId": session, "SessionEpoch": 1})
    x.end(commit=False)
    t.ask({**fetch_body(**COMMITTED), "SessionId": session, "SessionEpoch": 2})


def places(topic: Topic, level: int, *times: int) -> dict[str, Any]:
    """Offsets of partition 0."""
    return {"ReplicaId": -1, "IsolationLevel": level, "Topics": [
        {"Name": topic.name, "Partitions": [{"PartitionIndex": 0, "CurrentLeaderEpoch": -1, "Timestamp": x} for x in times]}]}


def ask_places(t: Talk, topic: Topic) -> None:
    """Earliest, latest, by time, and the largest time, at both levels; one at a time, for a partition must not be named twice."""
    kinds = [-1, -2, t.now, t.now + 5, t.now + 60_000]
    if t.version >= 7:
        kinds.append(-3)
    for level in (0, 1):
        for kind in kinds:
            t.ask(places(topic, level, kind))


@case(LIST, (2, 11))
def offsets_of_an_open_transaction(t: Talk) -> None:
    """Level 1 ends at the last stable offset."""
    topic, x = t.topic(), Txn(t)
    plain(t, topic)
    x.write(topic, timestamp=t.now + 5)
    plain(t, topic)
    ask_places(t, topic)


@case(LIST, (2, 11))
def offsets_after_a_commit(t: Talk) -> None:
    """The end is behind the marker."""
    topic, x = t.topic(), Txn(t)
    x.write(topic, timestamp=t.now + 5).end(commit=True)
    for level in (0, 1):
        for kind in (-1, -2, t.now, t.now + 5):
            t.ask(places(topic, level, kind))


@case(LIST, (2, 11))
def offsets_after_an_abort(t: Talk) -> None:
    """The same: also aborted records are found by their time."""
    topic, x = t.topic(), Txn(t)
    x.write(topic, timestamp=t.now + 5).end(commit=False)
    for level in (0, 1):
        for kind in (-1, -2, t.now, t.now + 5):
            t.ask(places(topic, level, kind))


@case("DeleteRecords")
def records_of_an_open_transaction(t: Talk) -> None:
    """Up to the end; the transaction is still ended."""
    topic, x = t.topic(), Txn(t)
    plain(t, topic)
    x.write(topic, count=2)
    plain(t, topic)
    for offset in (1, 2, -1):
        t.ask({"TimeoutMs": 5000, "Topics": [{"Name": topic.name, "Partitions": [{"PartitionIndex": 0, "Offset": offset}]}]})
        t.ask(places(topic, 1, -2), LIST)
        t.ask(places(topic, 1, -1), LIST)
    x.end(commit=False)
    t.ask(places(topic, 1, -1), LIST)
    look(t, topic, offset=4)
