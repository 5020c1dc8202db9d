"""LeaveGroup 0-5."""

from __future__ import annotations

from cases import case, simple, spoiled
from cases.group_helpers import NOBODY, Member, await_state, committed, group, leaving, offset, pair, promised, rebalancing, stable
from talk import Talk

API = "LeaveGroup"
SEVERAL = (3, 5)  # versions in which several may leave, by instance, too

simple(API, "group-empty", lambda t: leaving("" if group(t) else "", (NOBODY, None)))
simple(API, "group-empty-nobody", lambda t: leaving("" if group(t) else ""))
simple(API, "group-unknown", lambda t: leaving(group(t), (NOBODY, None)))
simple(API, "group-unknown-no-id", lambda t: leaving(group(t), ("", None)))
simple(API, "group-unknown-several", lambda t: leaving(group(t), (NOBODY, None), ("other", "i"), ("", "j")), SEVERAL)
simple(API, "group-unknown-nobody", lambda t: leaving(group(t)), SEVERAL)
spoiled(API, lambda t: leaving("", (NOBODY, None)))


def left(t: Talk, name: str) -> None:
    """What is left of the group."""
    t.ask({"Groups": [name]}, "DescribeGroups")


@case(API)
def only_member(t: Talk) -> None:
    """The group is empty then; the second time the member is unknown."""
    one = stable(t, group(t))
    t.ask(leaving(one.group, (one.id, None), reason="done"))
    left(t, one.group)
    t.ask(leaving(one.group, (one.id, None)))


@case(API)
def others(t: Talk) -> None:
    """Who is no member."""
    one = stable(t, group(t))
    t.ask(leaving(one.group, (NOBODY, None)))
    t.ask(leaving(one.group, ("", None)))
    left(t, one.group)


@case(API)
def before_the_sync(t: Talk) -> None:
    """Empty, too."""
    one = Member(t, group(t)).join()
    t.ask(leaving(one.group, (one.id, None)))
    left(t, one.group)


@case(API)
def one_of_two(t: Talk) -> None:
    """The other is told to join again."""
    one, two = pair(t, group(t))
    t.ask(leaving(one.group, (one.id, None)))
    two.asked = True
    two.beat()
    left(t, one.group)


@case(API)
def while_the_group_rebalances(t: Talk) -> None:
    """Who waits no longer has to."""
    one, answer = rebalancing(t, group(t))
    t.ask(leaving(one.group, (one.id, None)))
    answer()
    left(t, one.group)


@case(API)
def while_it_waits(t: Talk) -> None:
    """A member leaves while its join is not yet answered: the join is refused then, and the others are still awaited."""
    name = group(t)
    one = stable(t, name)
    two = Member(t, name).introduce()
    two.asked = True
    answer = two.join_later()
    await_state(t, name, "PreparingRebalance")
    t.ask(leaving(name, (two.id, None)))
    answer()
    one.asked = True
    one.beat()
    one.join()


@case(API)
def member_that_has_only_its_id(t: Talk) -> None:
    """It has not joined, and may leave all the same."""
    name = group(t)
    one = promised(t, name)
    t.ask(leaving(name, (one.id, None)))
    t.ask(leaving(name, (one.id, None)))
    left(t, name)


@case(API)
def group_of_offsets_alone(t: Talk) -> None:
    """It has no members."""
    committed(t, group(t), (t.topic(), [offset()]))
    t.ask(leaving(group(t), (NOBODY, None)))


@case(API, SEVERAL)
def two_at_once(t: Talk) -> None:
    """Each has an answer of its own, in the order of the question."""
    one, two = pair(t, group(t))
    t.ask(leaving(one.group, (two.id, None), (NOBODY, None), (one.id, None)))
    left(t, one.group)


@case(API, SEVERAL)
def same_twice_at_once(t: Talk) -> None:
    """The second time it is gone already."""
    one = stable(t, group(t))
    t.ask(leaving(one.group, (one.id, None), (one.id, None)))


@case(API, SEVERAL)
def nobody_at_all(t: Talk) -> None:
    """An empty list."""
    one = stable(t, group(t))
    t.ask(leaving(one.group))
    left(t, one.group)


@case(API, SEVERAL)
def static_member(t: Talk) -> None:
    """By its instance alone, as an administrator does it."""
    one = stable(t, group(t), instance="i")
    t.ask(leaving(one.group, ("", "j")))
    t.ask(leaving(one.group, (NOBODY, "i")))
    t.ask(leaving(one.group, (NOBODY, "j")))
    t.ask(leaving(one.group, (one.id, "j")))
    left(t, one.group)
    t.ask(leaving(one.group, ("", "i")))
    left(t, one.group)


@case(API, SEVERAL)
def static_member_by_both_names(t: Talk) -> None:
    """By id and instance."""
    one = stable(t, group(t), instance="i")
    t.ask(leaving(one.group, (one.id, "i")))
    left(t, one.group)


@case(API)
def static_member_by_id(t: Talk) -> None:
    """By its id alone."""
    one = stable(t, group(t), instance="i")
    t.ask(leaving(one.group, (one.id, None)))
    left(t, one.group)


@case(API, SEVERAL)
def instance_of_a_member_without(t: Talk) -> None:
    """A member that named none when it joined."""
    one = stable(t, group(t))
    t.ask(leaving(one.group, (one.id, "i")))
    t.ask(leaving(one.group, (one.id, "")))
    left(t, one.group)


@case(API, (5, 5))
def reasons(t: Talk) -> None:
    """Any will do."""
    for reason in (None, "", "x" * 300):
        one = stable(t, group(t, f"g{reason and len(reason)}"))
        t.ask(leaving(one.group, (one.id, None), reason=reason))
