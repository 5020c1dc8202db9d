"""DescribeGroups 0-6."""

from __future__ import annotations

from cases import case, simple, spoiled
from cases.group_helpers import Member, committed, group, joined_pair, offset, pair, promised, rebalancing, stable, subscription
from talk import Talk

API = "DescribeGroups"


def asking(*names: str, operations: bool = False) -> dict:
    """Some groups."""
    return {"Groups": list(names), "IncludeAuthorizedOperations": operations}


simple(API, "unknown", lambda t: asking(group(t)))
simple(API, "several-unknown", lambda t: asking(group(t, "b"), group(t, "a"), group(t, "c")))
simple(API, "empty-name", lambda t: asking("" if group(t) else ""))
simple(API, "none", lambda t: asking() if group(t) else {})
simple(API, "same-twice", lambda t: asking(group(t), group(t)))
simple(API, "unknown-authorized-operations", lambda t: asking(group(t), "", operations=True), (3, 6))
spoiled(API, lambda t: asking())


@case(API)
def stable_group(t: Talk) -> None:
    """Its protocol, its member's metadata and assignment."""
    t.ask(asking(stable(t, group(t), protocols=(("range", subscription("x")), ("other", b"\0"))).group))


@case(API)
def two_members(t: Talk) -> None:
    """Each with its own."""
    t.ask(asking(pair(t, group(t))[0].group))


@case(API)
def before_the_sync(t: Talk) -> None:
    """A group without an assignment yet shows neither protocol nor metadata."""
    t.ask(asking(Member(t, group(t)).join().group))
    t.ask(asking(joined_pair(t, group(t, "h"))[0].group))


@case(API)
def while_it_rebalances(t: Talk) -> None:
    """Nor does one that waits for its members."""
    t.ask(asking(rebalancing(t, group(t))[0].group))


@case(API)
def member_that_has_only_its_id(t: Talk) -> None:
    """It is no member yet."""
    t.ask(asking(promised(t, group(t)).group))
    there = stable(t, group(t, "there"))
    Member(t, there.group).introduce()
    t.ask(asking(there.group))


@case(API)
def after_the_last_left(t: Talk) -> None:
    """The group remains, with its type."""
    one = stable(t, group(t))
    one.leave()
    t.ask(asking(one.group))


@case(API)
def group_of_offsets_alone(t: Talk) -> None:
    """It has no type."""
    committed(t, group(t), (t.topic(), [offset()]))
    t.ask(asking(group(t)))


@case(API)
def group_that_was_deleted(t: Talk) -> None:
    """As if it had never been."""
    committed(t, group(t), (t.topic(), [offset()]))
    t.setup("DeleteGroups", {"GroupsNames": [group(t)]})
    t.ask(asking(group(t)))


@case(API)
def static_member(t: Talk) -> None:
    """Its instance is shown from v4 on."""
    t.ask(asking(stable(t, group(t), instance="i").group))


@case(API)
def type_of_its_own(t: Talk) -> None:
    """Not a consumer."""
    t.ask(asking(stable(t, group(t), ProtocolType="connect", protocols=(("v0", b"m"),)).group))


@case(API)
def several(t: Talk) -> None:
    """Known and unknown ones, and one without a name."""
    t.ask(asking(group(t, "b"), stable(t, group(t)).group, "", group(t, "a")))


@case(API, (3, 6))
def authorized_operations(t: Talk) -> None:
    """What the asker may do: all, where nobody is asked who he is."""
    t.ask(asking(stable(t, group(t)).group, operations=True))
