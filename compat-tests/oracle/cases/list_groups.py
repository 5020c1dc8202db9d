"""ListGroups 0-5. A broker has groups of all cases: those of the case are compared."""

from __future__ import annotations

from typing import Any

from cases import add, case, spoiled
from cases.group_helpers import Member, committed, group, offset, promised, rebalancing, stable
from talk import Talk

API = "ListGroups"


def own(t: Talk, answer: Any) -> None:
    """Leaves others' groups out of an answer, which is kept already and compared later."""
    if answer:
        answer["Groups"] = [g for g in answer["Groups"] if g["GroupId"].startswith(f"{t.prefix}.")]


def listed(t: Talk, states: tuple[str, ...] = (), types: tuple[str, ...] = ()) -> None:
    """One question."""
    own(t, t.ask({"StatesFilter": list(states), "TypesFilter": list(types)}))


def one_of_each(t: Talk) -> None:
    """A group in each state."""
    stable(t, group(t, "stable"))
    stable(t, group(t, "connect"), ProtocolType="connect")
    stable(t, group(t, "left")).leave()
    Member(t, group(t, "unassigned")).join()
    promised(t, group(t, "promised"))
    rebalancing(t, group(t, "rebalancing"))
    committed(t, group(t, "offsets"), (t.topic(), [offset()]))


@case(API)
def every_state(t: Talk) -> None:
    """All there are."""
    one_of_each(t)
    listed(t)


@case(API)
def deleted_group(t: Talk) -> None:
    """It is listed no more."""
    committed(t, group(t), (t.topic(), [offset()]))
    listed(t)
    t.setup("DeleteGroups", {"GroupsNames": [group(t)]})
    listed(t)


def filtered(label: str, *filters: tuple[tuple[str, ...], tuple[str, ...]], since: int) -> None:
    """A case of filters of states and of types, one after another."""
    def run(t: Talk) -> None:
        one_of_each(t)
        for states, types in filters:
            listed(t, states, types)
    add(API, label, run, (since, 5))


for name in ("Stable", "Empty", "PreparingRebalance", "CompletingRebalance", "Dead", "Assigning", "Reconciling"):
    filtered(f"state-{name.lower()}", ((name,), ()), since=4)
filtered("states-in-other-letters", (("stable",), ()), (("EMPTY",), ()), (("preparing_rebalance",), ()), (("Preparing-Rebalance",), ()),
         ((" Stable ",), ()), since=4)
filtered("states-unknown", (("Nonsense",), ()), (("",), ()), (("Nonsense", "Stable"), ()), (("Unknown",), ()), since=4)
filtered("states-two", (("Stable", "Empty"), ()), (("Empty", "Empty"), ()), since=4)
filtered("types", ((), ("classic",)), ((), ("consumer",)), ((), ("share",)), ((), ("streams",)), since=5)
filtered("types-in-other-letters", ((), ("Classic",)), ((), ("CLASSIC",)), ((), (" classic ",)), since=5)
filtered("types-unknown", ((), ("nonsense",)), ((), ("",)), ((), ("nonsense", "classic")), ((), ("unknown",)), since=5)
filtered("types-two", ((), ("classic", "consumer")), since=5)
filtered("states-and-types", (("Stable",), ("classic",)), (("Stable",), ("consumer",)), (("Dead",), ("classic",)),
         (("Nonsense",), ("classic",)), (("Stable",), ("nonsense",)), since=5)
spoiled(API, lambda t: {"StatesFilter": ["Nonsense"], "TypesFilter": ["share"]}, own)
