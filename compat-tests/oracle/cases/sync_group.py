"""SyncGroup 0-5."""

from __future__ import annotations

from typing import Any

from cases import add, case, simple, spoiled
from cases.group_helpers import NOBODY, Member, await_state, group, joined_pair, pair, rebalancing, stable, syncing
from talk import Talk

API = "SyncGroup"

simple(API, "group-empty", lambda t: syncing("" if group(t) else "", 1, NOBODY))
simple(API, "group-unknown", lambda t: syncing(group(t), 1, NOBODY))
simple(API, "group-unknown-no-member", lambda t: syncing(group(t), -1, ""))
simple(API, "group-empty-without-protocol", lambda t: syncing("" if group(t) else "", 1, NOBODY, ProtocolType=None, ProtocolName=None))
spoiled(API, lambda t: syncing("", 1, NOBODY))


def wrong(label: str, **more: Any) -> None:
    """A case: what a leader must not say, before its assignment and after it."""
    def run(t: Talk) -> None:
        one = Member(t, group(t)).join()
        t.ask(one.syncing({one.id: b"all"}, **more))
        one.sync({one.id: b"all"})
        t.ask(one.syncing(**more))
    add(API, label, run)


for number in (0, 2, -1):
    wrong(f"generation-{number}", GenerationId=number)
for label, member in {"unknown": NOBODY, "empty": ""}.items():
    wrong(f"member-{label}", MemberId=member)
wrong("protocol-type-other", ProtocolType="connect")
wrong("protocol-name-other", ProtocolName="other")
wrong("protocol-type-null", ProtocolType=None)
wrong("protocol-name-null", ProtocolName=None)
wrong("protocols-null", ProtocolType=None, ProtocolName=None)
wrong("member-and-generation", MemberId=NOBODY, GenerationId=7)
wrong("protocol-name-and-generation", ProtocolName="other", GenerationId=7)
wrong("instance-unknown", GroupInstanceId="i")


@case(API)
def assignment_of_the_leader(t: Talk) -> None:
    """It reads back what it gave; once there is one, another is not taken."""
    one = Member(t, group(t)).join()
    t.ask(one.syncing({one.id: b"first\0\xff"}))
    t.ask(one.syncing())
    t.ask(one.syncing({one.id: b"second"}))


@case(API)
def assignment_of_nobody(t: Talk) -> None:
    """A leader that assigns nothing gets nothing."""
    one = Member(t, group(t)).join()
    t.ask(one.syncing())
    t.ask(one.syncing({one.id: b"late"}))


@case(API)
def assignment_of_strangers(t: Talk) -> None:
    """Who is no member is passed over."""
    one = Member(t, group(t)).join()
    t.ask(one.syncing({NOBODY: b"x", "": b"y", one.id: b"all"}))


@case(API)
def assignment_twice(t: Talk) -> None:
    """The later one counts."""
    one = Member(t, group(t)).join()
    t.ask({**one.syncing(), "Assignments": [{"MemberId": one.id, "Assignment": a} for a in (b"a", b"b")]})


@case(API)
def follower_after_the_leader(t: Talk) -> None:
    """It finds its assignment."""
    one, two = joined_pair(t, group(t))
    t.ask(one.syncing({one.id: b"first", two.id: b"second"}))
    t.ask(two.syncing())


@case(API)
def follower_before_the_leader(t: Talk) -> None:
    """It waits for it. What it assigns itself is passed over."""
    one, two = joined_pair(t, group(t))
    waiting = t.ask_later(two.syncing({two.id: b"mine"}))
    t.ask(two.syncing(GenerationId=7))
    t.ask(one.syncing({two.id: b"second"}))
    waiting()


@case(API)
def follower_waits_and_the_leader_leaves(t: Talk) -> None:
    """There will be no assignment: join again."""
    one, two = joined_pair(t, group(t))
    waiting = t.ask_later(two.syncing())
    t.ask(two.syncing(MemberId=NOBODY))
    one.leave()
    waiting()


@case(API)
def follower_waits_and_another_joins(t: Talk) -> None:
    """The same."""
    name = group(t)
    _, two = joined_pair(t, name)
    waiting = t.ask_later(two.syncing())
    t.ask(two.syncing(MemberId=NOBODY))
    _ = Member(t, name).join_later()  # kept, so that its connection stays
    waiting()


@case(API)
def follower_syncs_again(t: Talk) -> None:
    """As often as it likes."""
    one, two = pair(t, group(t))
    t.ask(two.syncing({two.id: b"mine"}))
    t.ask(one.syncing())


@case(API)
def while_the_group_rebalances(t: Talk) -> None:
    """Join again, says the broker to its members; others are unknown, and other generations wrong."""
    one, _ = rebalancing(t, group(t))
    t.ask(one.syncing())
    t.ask(one.syncing(GenerationId=7))
    t.ask(one.syncing(MemberId=NOBODY))


@case(API)
def after_the_last_left(t: Talk) -> None:
    """An empty group has no members."""
    one = stable(t, group(t))
    one.leave()
    t.ask(one.syncing())
    t.ask(one.syncing(GenerationId=7))


@case(API)
def member_that_has_only_its_id(t: Talk) -> None:
    """It has not joined."""
    one = Member(t, group(t)).introduce()
    t.ask(one.syncing(GenerationId=0))
    t.ask(one.syncing(GenerationId=1))


@case(API, (3, 5))
def static_member(t: Talk) -> None:
    """By id and instance, by id alone; then the old id, when the instance has come back."""
    one = stable(t, group(t), instance="i")
    t.ask(one.syncing())
    t.ask(one.syncing(GroupInstanceId=None))
    t.ask(one.syncing(GroupInstanceId="j"))
    t.ask(one.syncing(MemberId=NOBODY))
    t.ask(one.syncing(MemberId=""))
    old, one.id = one.id, ""
    one.join()
    t.ask(one.syncing(MemberId=old))
    t.ask(one.syncing(MemberId=old, GenerationId=7))
    t.ask(one.syncing(MemberId=old, GroupInstanceId=None))
    t.ask(one.syncing())


@case(API)
def leader_that_does_not_sync(t: Talk) -> None:
    """Who waits for it is told to join again, when the rebalance timeout is over."""
    _, two = joined_pair(t, group(t), RebalanceTimeoutMs=300)
    t.ask(two.syncing())
    await_state(t, two.group, "PreparingRebalance")
    t.ask(two.syncing())
