"""Produce with a producer id: sequences (KIP-98, KIP-360)."""

from __future__ import annotations

import batch
from batch import Record
from cases import case
from cases.helpers import fetch_body, produce_body
from talk import Talk, Topic

API = "Produce"
LAST = 2**31 - 1


def idem(t: Talk, pid: int, epoch: int, sequence: int, count: int = 1, flags: int = 0) -> bytes:
    """A batch of an idempotent producer."""
    return batch.batch([Record(value=b"%d" % i) for i in range(count)], timestamp=t.now, producer_id=pid, producer_epoch=epoch,
                       sequence=sequence, flags=flags)


class Producer:
    """Asks with the id it was given."""

    def __init__(self, t: Talk, topic: Topic | None = None) -> None:
        self.t, self.topic = t, topic or t.topic()
        self.pid, self.epoch = t.producer_id()

    def ask(self, sequence: int, count: int = 1, epoch: int | None = None) -> None:
        """One compared batch."""
        self.t.ask(produce_body(self.topic, idem(self.t, self.pid, self.epoch if epoch is None else epoch, sequence, count)))


def sequence(name: str, *steps: tuple[int, ...]) -> None:
    """A case of batches, each (sequence, count, epoch)."""
    def run(t: Talk) -> None:
        producer = Producer(t)
        for step in steps:
            producer.ask(*step)
        t.ask(fetch_body((producer.topic, 0, 0)), "Fetch")
    run.__name__ = name.replace("-", "_")
    case(API)(run)


sequence("idempotent-in-order", (0, 1), (1, 2), (3, 1))
sequence("idempotent-duplicate-of-last", (0, 2), (0, 2), (2, 1))
sequence("idempotent-duplicate-of-fifth-last", *[(i, 1) for i in range(6)], (1, 1))
sequence("idempotent-duplicate-of-sixth-last", *[(i, 1) for i in range(6)], (0, 1))
sequence("idempotent-gap", (0, 1), (2, 1), (1, 1))
sequence("idempotent-overlap", (0, 3), (1, 3), (1, 1), (2, 2))
sequence("idempotent-first-not-zero", (5, 1), (6, 1))
sequence("idempotent-first-not-zero-then-zero", (5, 1), (0, 1))
sequence("idempotent-new-epoch-from-zero", (0, 1), (0, 1, 1), (1, 1, 1))
sequence("idempotent-new-epoch-not-from-zero", (0, 1), (1, 1, 1))
sequence("idempotent-old-epoch", (0, 1, 3), (1, 1, 2), (0, 1, 2))
sequence("idempotent-epoch-negative", (0, 1, -1))
sequence("idempotent-epoch-negative-after-good", (0, 1, 0), (1, 1, -1))
sequence("idempotent-wrap", (LAST, 1), (0, 1), (1, 1))
sequence("idempotent-wrap-inside-batch", (LAST - 1, 3), (1, 1))
sequence("idempotent-wrap-to-one", (LAST, 1), (1, 1))
sequence("idempotent-sequence-negative", (-1, 1))
sequence("idempotent-sequence-minus-two", (-2, 1))


@case(API)
def idempotent_on_two_partitions(t: Talk) -> None:
    """Each partition has its own state."""
    producer = Producer(t, t.topic(partitions=2))
    for partition in (0, 1, 0):
        t.ask(produce_body(producer.topic, idem(t, producer.pid, 0, 0), partition=partition))


@case(API)
def idempotent_two_batches(t: Talk) -> None:
    """Two batches at once."""
    producer = Producer(t)
    t.ask(produce_body(producer.topic, idem(t, producer.pid, 0, 0) + idem(t, producer.pid, 0, 1)))


@case(API)
def idempotent_pipelined(t: Talk) -> None:
    """A duplicate with acks 0, then one that is answered."""
    producer = Producer(t)
    t.send(produce_body(producer.topic, idem(t, producer.pid, 0, 0), acks=0))
    producer.ask(0)
    producer.ask(1)


@case(API)
def idempotent_unknown_id(t: Talk) -> None:
    """An id that nobody was given is as good as any."""
    topic = t.topic()
    t.ask(produce_body(topic, idem(t, 7_000_000, 0, 0)))
    t.ask(produce_body(topic, idem(t, 7_000_000, 0, 4)))


@case(API)
def idempotent_acks_one(t: Talk) -> None:
    """Kafka takes it, though its clients do not ask so."""
    topic = t.topic()
    t.ask(produce_body(topic, idem(t, 7_000_001, 0, 0), acks=1))


@case(API, alone=True)  # Kafka verifies such batches for several producers at once, and mixes what it tells them
def transactional_batch_without_transaction(t: Talk) -> None:
    """A transactional batch, with its id, of a producer that has no transaction."""
    topic = t.topic()
    pid, epoch = t.producer_id()
    t.ask(produce_body(topic, idem(t, pid, epoch, 0, flags=batch.TRANSACTIONAL), txn=t.name("tx")))


@case(API)
def transactional_batch_without_transactional_id(t: Talk) -> None:
    """The bit alone."""
    topic = t.topic()
    pid, epoch = t.producer_id()
    t.ask(produce_body(topic, idem(t, pid, epoch, 0, flags=batch.TRANSACTIONAL)))
