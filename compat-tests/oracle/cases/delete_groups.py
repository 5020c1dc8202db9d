"""DeleteGroups 0-2."""

from __future__ import annotations

from cases import case, simple, spoiled
from cases.group_helpers import Member, committed, group, offset, promised, reading, rebalancing, stable
from talk import Talk

API = "DeleteGroups"


def deleting(*names: str) -> dict:
    """Some groups."""
    return {"GroupsNames": list(names)}


def left(t: Talk, name: str) -> None:
    """What is left of the group."""
    t.ask({"Groups": [name]}, "DescribeGroups")


simple(API, "unknown", lambda t: deleting(group(t)))
simple(API, "several-unknown", lambda t: deleting(group(t, "b"), group(t, "a"), group(t, "c")))
simple(API, "same-unknown-twice", lambda t: deleting(group(t), group(t)))
simple(API, "empty-name", lambda t: deleting("" if group(t) else ""))
simple(API, "none", lambda t: deleting() if group(t) else {})
spoiled(API, lambda t: deleting())


@case(API)
def stable_group(t: Talk) -> None:
    """It has a member; when that has left, it may go."""
    one = stable(t, group(t))
    t.ask(deleting(one.group))
    left(t, one.group)
    one.leave()
    t.ask(deleting(one.group))
    t.ask(deleting(one.group))
    left(t, one.group)


@case(API)
def before_the_sync(t: Talk) -> None:
    """It has a member."""
    t.ask(deleting(Member(t, group(t)).join().group))


@case(API)
def while_it_rebalances(t: Talk) -> None:
    """It has members."""
    t.ask(deleting(rebalancing(t, group(t))[0].group))


@case(API)
def member_that_has_only_its_id(t: Talk) -> None:
    """It is no member yet, and its id goes with the group."""
    one = promised(t, group(t))
    t.ask(deleting(one.group))
    left(t, one.group)
    t.ask(one.joining(), "JoinGroup")


@case(API)
def group_of_offsets_alone(t: Talk) -> None:
    """Its offsets go with it."""
    topic = t.topic()
    committed(t, group(t), (topic, [offset()]))
    t.ask(deleting(group(t)))
    t.ask(reading(group(t), (topic, [0])), "OffsetFetch")
    left(t, group(t))


@case(API)
def begins_anew(t: Talk) -> None:
    """A group of the same name counts from one."""
    one = stable(t, group(t)).join()
    one.leave()
    t.ask(deleting(one.group))
    Member(t, group(t), asked=True).join()


@case(API)
def several(t: Talk) -> None:
    """Each has an answer of its own, in which order ever."""
    full, empty = stable(t, group(t, "full")), stable(t, group(t, "empty"))
    empty.leave()
    t.ask(deleting(group(t, "unknown"), full.group, empty.group, ""))


@case(API)
def same_twice(t: Talk) -> None:
    """In one request."""
    committed(t, group(t), (t.topic(), [offset()]))
    t.ask(deleting(group(t), group(t)))
    left(t, group(t))
