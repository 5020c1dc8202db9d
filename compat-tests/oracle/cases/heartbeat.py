"""Heartbeat 0-4."""

from __future__ import annotations

from cases import case, simple, spoiled
from cases.group_helpers import NOBODY, Member, beating, committed, group, offset, rebalancing, stable
from talk import Talk

API = "Heartbeat"

simple(API, "group-empty", lambda t: beating("" if group(t) else "", 1, NOBODY))
simple(API, "group-unknown", lambda t: beating(group(t), 1, NOBODY))
simple(API, "group-unknown-no-member", lambda t: beating(group(t), -1, ""))
simple(API, "group-unknown-instance", lambda t: beating(group(t), 1, NOBODY, "i"))
spoiled(API, lambda t: beating("", 1, NOBODY))


def all_ways(t: Talk, one: Member) -> None:
    """Right; of other generations; of others."""
    for generation, member in ((one.generation, one.id), (one.generation - 1, one.id), (one.generation + 1, one.id), (-1, one.id),
                               (one.generation, NOBODY), (one.generation, ""), (7, NOBODY)):
        t.ask(beating(one.group, generation, member))


@case(API)
def stable_group(t: Talk) -> None:
    """All is well."""
    all_ways(t, stable(t, group(t)))


@case(API)
def before_the_sync(t: Talk) -> None:
    """All is well, too."""
    all_ways(t, Member(t, group(t)).join())


@case(API)
def while_the_group_rebalances(t: Talk) -> None:
    """Join again."""
    one, _ = rebalancing(t, group(t))
    all_ways(t, one)


@case(API)
def after_leaving(t: Talk) -> None:
    """Unknown from then on."""
    one = stable(t, group(t))
    one.leave()
    all_ways(t, one)


@case(API)
def old_generation_after_a_rebalance(t: Talk) -> None:
    """The generation before this one."""
    one = stable(t, group(t)).join()
    t.ask(beating(one.group, 1, one.id))
    t.ask(beating(one.group, 2, one.id))


@case(API)
def member_that_has_only_its_id(t: Talk) -> None:
    """It has not joined: of a new group, and of one that there is."""
    one = Member(t, group(t)).introduce()
    for generation in (-1, 0, 1):
        t.ask(beating(one.group, generation, one.id))
    there = stable(t, group(t, "there"))
    two = Member(t, there.group).introduce()
    for generation in (-1, 1):
        t.ask(beating(two.group, generation, two.id))


@case(API)
def group_of_offsets_alone(t: Talk) -> None:
    """It has no members."""
    committed(t, group(t), (t.topic(), [offset()]))
    t.ask(beating(group(t), -1, ""))
    t.ask(beating(group(t), 0, NOBODY))


@case(API, (3, 4))
def static_member(t: Talk) -> None:
    """By id and instance, by id alone; then the old id, when the instance has come back."""
    one = stable(t, group(t), instance="i")
    for member, instance in ((one.id, "i"), (one.id, None), (one.id, "j"), (NOBODY, "i"), ("", "i"), (NOBODY, "j")):
        t.ask(beating(one.group, 1, member, instance))
    t.ask(beating(one.group, 7, one.id, "i"))
    old, one.id = one.id, ""
    one.join()
    for member, instance in ((old, "i"), (old, None), (one.id, "i")):
        t.ask(beating(one.group, one.generation, member, instance))
    t.ask(beating(one.group, 7, old, "i"))


@case(API, (3, 4))
def instance_of_a_member_without(t: Talk) -> None:
    """A member that named none when it joined."""
    one = stable(t, group(t))
    t.ask(beating(one.group, 1, one.id, "i"))
    t.ask(beating(one.group, 1, one.id, ""))
