"""DescribeTransactions 0, ListTransactions 0-2, FindCoordinator of transactions, DescribeProducers with transactions."""

from __future__ import annotations

from typing import Any

from cases import add, case, simple, spoiled
from cases.txn_helpers import Txn, adding, describe, plain, txn
from talk import Talk

DESCRIBE, LIST, FIND, PRODUCERS = "DescribeTransactions", "ListTransactions", "FindCoordinator", "DescribeProducers"


def one_of_each(t: Talk) -> dict[str, Txn]:
    """A transaction in each state that lasts, in both protocols."""
    topic, made = t.topic(partitions=2), {}
    for new in (False, True):
        word = "new" if new else "old"
        made |= {f"{word}-{state}": Txn(t, f"{word}-{state}", new=new) for state in ("empty", "open", "committed", "aborted")}
        made[f"{word}-open"].write(topic, 0).write(topic, 1)
        made[f"{word}-committed"].write(topic).end(commit=True)
        made[f"{word}-aborted"].write(topic).end(commit=False)
    return made


@case(DESCRIBE)
def every_state(t: Talk) -> None:
    """Each, and all in one question."""
    made = one_of_each(t)
    for x in made.values():
        describe(t, x.name)
    describe(t, *[x.name for x in made.values()])


@case(DESCRIBE)
def ids_out_of_the_ordinary(t: Talk) -> None:
    """Unknown, without a name, none, the same twice."""
    x = Txn(t)
    for names in ((t.name("other"),), ("",), (), (x.name, x.name), (x.name, t.name("other"), "")):
        describe(t, *names)


@case(DESCRIBE)
def partitions_of_two_topics(t: Talk) -> None:
    """By topic; gone when the transaction is over."""
    a, b, x = t.topic("a", partitions=3), t.topic("b"), Txn(t)
    x.add(b, 0).add(a, 2, 0).add(a, 1)
    describe(t, x.name)
    x.end(commit=True)
    describe(t, x.name)
    x.add(a, 1)
    describe(t, x.name)


@case(DESCRIBE)
def timed_out(t: Talk) -> None:
    """The broker ended it."""
    x = Txn(t, timeout=500)
    x.write(t.topic()).settle("CompleteAbort")
    describe(t, x.name)


@case(DESCRIBE)
def refused_partitions(t: Talk) -> None:
    """None of a request is added if one is refused."""
    topic, x = t.topic(), Txn(t)
    t.setup("AddPartitionsToTxn", adding(*x.who, (topic.name, [0, 5])), 3)
    describe(t, x.name)


spoiled(DESCRIBE, lambda t: {"TransactionalIds": [txn(t, "nobody")]})


def own(t: Talk, answer: Any) -> None:
    """Leaves others' transactions out of an answer, which is kept already and compared later."""
    if answer:
        answer["TransactionStates"] = [x for x in answer["TransactionStates"] if x["TransactionalId"].startswith(f"{t.prefix}.")]


def listed(t: Talk, states: tuple[str, ...] = (), pids: tuple[int, ...] = (), duration: int = -1, pattern: str | None = None) -> None:
    """One question."""
    own(t, t.ask({"StateFilters": list(states), "ProducerIdFilters": list(pids), "DurationFilter": duration, "TransactionalIdPattern": pattern}))


@case(LIST)
def all_states(t: Talk) -> None:
    """All there are."""
    one_of_each(t)
    listed(t)


def filtered(label: str, *filters: tuple[str, ...]) -> None:
    """A case of filters of states, one after another."""
    def run(t: Talk) -> None:
        one_of_each(t)
        for states in filters:
            listed(t, states)
    add(LIST, f"states-{label}", run)


for name in ("Empty", "Ongoing", "CompleteCommit", "CompleteAbort", "PrepareCommit", "PrepareAbort", "Dead", "PrepareEpochFence"):
    filtered(name.lower(), (name,))
filtered("two", ("Empty", "Ongoing"), ("Empty", "Empty"))
filtered("unknown", ("Nonsense",), ("",), ("Nonsense", "Ongoing"), ("Unknown",), ("Nonsense", "Gibberish", "Nonsense"))
filtered("in-other-letters", ("ongoing",), ("ONGOING",), (" Ongoing ",), ("complete_commit",))


@case(LIST)
def producer_ids(t: Talk) -> None:
    """One, two, one that nobody has, none, and beside a state."""
    made = one_of_each(t)
    a, b = made["old-open"].pid, made["new-committed"].pid
    for pids in ((a,), (a, b), (7_000_000,), (-1,), (a, 7_000_000)):
        listed(t, pids=pids)
    listed(t, ("Ongoing",), (a, b))
    listed(t, ("Empty",), (a,))


@case(LIST, (1, 2))
def durations(t: Talk) -> None:
    """Only what is open has a duration; none is an hour old."""
    one_of_each(t)
    for duration in (-1, 0, 3_600_000, -2, -(2**63), 2**63 - 1):
        listed(t, duration=duration)
    listed(t, ("Ongoing",), duration=3_600_000)


@case(LIST, (2, 2))
def patterns(t: Talk) -> None:
    """A regular expression of the whole id."""
    one_of_each(t)
    for pattern in ("", ".*", f"{t.prefix}.old-.*", ".*open", "open", ".*-(open|empty)", f"{t.prefix}.new-open", "nothing-like-it", ".*OPEN",
                    f"\\Q{t.prefix}.new-open", "\\Q", "\\Q\\E.*open", "(.{10}){101}"):
        listed(t, pattern=pattern)
    listed(t, ("Ongoing",), pattern=".*old.*")


@case(LIST, (2, 2))
def patterns_that_are_none(t: Talk) -> None:
    """How they are refused."""
    Txn(t)
    for pattern in ("(", "[a", "*", "a{2,1}", "(?=x)x", "\\", "a{1001}", "a{1,1001}", "x**", "a{2}{2}", "[\\Qa]"):
        listed(t, pattern=pattern)
    listed(t, ("Nonsense",), pattern="(")


spoiled(LIST, lambda t: {"StateFilters": ["Nonsense"], "ProducerIdFilters": [7_000_000]}, own)


def find(*keys: str) -> dict[str, Any]:
    """Coordinators of transactions."""
    return {"Key": keys[0] if keys else "", "KeyType": 1, "CoordinatorKeys": list(keys)}


for label, key in {"id": "x", "id-empty": "", "id-space": "a b", "id-umlaut": "ä", "id-long": "x" * 300}.items():
    simple(FIND, f"transactional-{label}", lambda t, k=key: find(k if txn(t) else k), (1, 6))


@case(FIND, (4, 6))
def transactional_ids_at_once(t: Talk) -> None:
    """Answered in the order of the question."""
    txn(t)
    t.ask(find("b", "a", "c"))
    t.ask(find("a", "a"))
    t.ask(find("a", "", "b"))
    t.ask(find())


def producers(t: Talk, topic_name: str, *partitions: int) -> None:
    """Compares what partitions know of producers."""
    t.ask({"Topics": [{"Name": topic_name, "PartitionIndexes": list(partitions)}]}, PRODUCERS)


def through(label: str, new: bool, commit: bool) -> None:
    """A case of a transaction from its first record to beyond its end."""
    def run(t: Talk) -> None:
        topic, x = t.topic(partitions=2), Txn(t, new=new)
        if not new:
            x.add(topic)
            producers(t, topic.name, 0)
        plain(t, topic)
        x.write(topic, count=3)
        producers(t, topic.name, 0, 1)
        x.write(topic)
        producers(t, topic.name, 0)
        x.end(commit)
        producers(t, topic.name, 0)
        x.write(topic)
        producers(t, topic.name, 0)
    add(PRODUCERS, label, run)


through("transaction-committed", new=False, commit=True)
through("transaction-aborted", new=False, commit=False)
through("transaction-committed-newer-protocol", new=True, commit=True)
through("transaction-aborted-newer-protocol", new=True, commit=False)


@case(PRODUCERS)
def transactions_of_two_producers(t: Talk) -> None:
    """Each has its own beginning."""
    topic, x, y = t.topic(), Txn(t), Txn(t, "y", new=True)
    x.write(topic)
    y.write(topic, count=2)
    producers(t, topic.name, 0)
    x.end(commit=True)
    producers(t, topic.name, 0)


@case(PRODUCERS)
def fenced_producer(t: Talk) -> None:
    """The abort that the next producer caused."""
    topic, x = t.topic(), Txn(t)
    x.write(topic)
    x.init()
    producers(t, topic.name, 0)
    x.write(topic)
    producers(t, topic.name, 0)
