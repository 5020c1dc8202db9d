"""JoinGroup 5-9: static members (KIP-345), which come back under the name of their instance."""

from __future__ import annotations

from cases import case, simple
from cases.group_helpers import (
    NOBODY, ONE_PROTOCOL, Member, await_state, beating, group, joining, leaving, pair, stable, subscription, syncing,
)
from talk import Talk

API = "JoinGroup"
SINCE = (5, 9)
ROBIN = ("roundrobin", subscription("z"))
NAMED = {"Name": ROBIN[0], "Metadata": ROBIN[1]}

simple(API, "static-member-unknown", lambda t: joining(group(t), NOBODY, "i"), SINCE)
simple(API, "static-no-protocols", lambda t: joining(group(t), "", "i", ()), SINCE)
for label, instance in {"": "i", "-empty": "", "-dots": "..", "-umlaut": "ä b", "-long": "x" * 300}.items():
    simple(API, f"static-new-instance{label}", lambda t, i=instance: joining(group(t), "", i), SINCE)


@case(API, SINCE)
def static_member_joins_again_with_its_id(t: Talk) -> None:
    """Like any member: before the sync, and after it."""
    one = Member(t, group(t), asked=True, instance="i").join()
    one.join()
    one.sync({one.id: b"all"})
    one.join()


@case(API, SINCE)
def static_member_comes_back(t: Talk) -> None:
    """Without an id: the old id is void, the group stays as it is. From v9 on the leader is told that nobody need assign."""
    one = stable(t, group(t), instance="i")
    old = one.id
    one.id, one.asked = "", True
    one.join()
    for member in (old, one.id):
        t.ask(beating(one.group, one.generation, member, "i"), "Heartbeat")
    t.ask(syncing(one.group, one.generation, old, GroupInstanceId="i"), "SyncGroup")
    t.ask(joining(one.group, old, "i"))
    t.ask(joining(one.group, old))
    one.sync()
    t.ask(leaving(one.group, (old, "i")), "LeaveGroup")


@case(API, SINCE)
def static_member_comes_back_changed(t: Talk) -> None:
    """With other metadata of the same protocol; with another protocol."""
    one = stable(t, group(t), instance="i", protocols=(*ONE_PROTOCOL, ROBIN))
    one.id, one.asked = "", True
    one.join(Protocols=[{"Name": "range", "Metadata": subscription("y")}, NAMED])
    one.id = ""
    one.join(Protocols=[NAMED])


@case(API, SINCE)
def static_member_comes_back_before_the_sync(t: Talk) -> None:
    """The group begins anew."""
    one = Member(t, group(t), asked=True, instance="i").join()
    one.id = ""
    one.join()


@case(API, SINCE)
def static_member_comes_back_to_an_empty_group(t: Talk) -> None:
    """It left, so it is new."""
    one = stable(t, group(t), instance="i")
    one.leave()
    t.ask(one.joining())
    one.id, one.asked = "", True
    one.join()


@case(API, SINCE)
def static_member_comes_back_with_other_type(t: Talk) -> None:
    """What the group does not offer."""
    one = stable(t, group(t), instance="i")
    one.id = ""
    t.ask(one.joining(ProtocolType="connect"))
    t.ask(one.joining(Protocols=[{"Name": "other"}]))
    t.ask(one.joining(Protocols=[]))


@case(API, SINCE)
def static_instance_of_another(t: Talk) -> None:
    """An id and an instance that do not belong together, or of whom one is unknown."""
    name = group(t)
    one = stable(t, name, instance="i")
    t.ask(joining(name, NOBODY, "i"))
    t.ask(joining(name, NOBODY, "j"))
    t.ask(joining(name, one.id, "j"))
    t.ask(joining(name, one.id))


@case(API, SINCE)
def static_follower_comes_back(t: Talk) -> None:
    """The leader goes on as before."""
    name = group(t)
    one = Member(t, name).join()
    two = Member(t, name, instance="i")
    answer = two.join_later()
    await_state(t, name, "PreparingRebalance")
    one.join()
    answer()
    one.sync({one.id: b"first", two.id: b"second"})
    two.sync()
    two.id, two.asked, one.asked = "", True, True
    two.join()
    one.beat()
    two.sync()


@case(API, SINCE)
def static_leader_of_two_comes_back(t: Talk) -> None:
    """It leads on, and sees both members in v9 alone."""
    name = group(t)
    one, two = Member(t, name, instance="i").join(), Member(t, name)
    answer = two.join_later()
    await_state(t, name, "PreparingRebalance")
    one.join()
    answer()
    one.sync({one.id: b"first", two.id: b"second"})
    two.sync()
    one.id, two.asked, one.asked = "", True, True
    one.join()
    two.beat()
    one.sync()


@case(API, SINCE)
def static_member_comes_back_while_it_waits(t: Talk) -> None:
    """Its first join is refused, since its id is void."""
    name = group(t)
    one = stable(t, name)
    one.asked = True
    first = Member(t, name, asked=True, instance="i").join_later()
    await_state(t, name, "PreparingRebalance")
    second = Member(t, name, asked=True, instance="i").join_later()
    first()
    again = one.join_later()
    second()
    again()


@case(API, SINCE)
def static_member_comes_back_while_it_waits_for_its_assignment(t: Talk) -> None:
    """The same for a sync."""
    name = group(t)
    one, two = pair_with_static(t, name)
    waiting = t.ask_later(two.syncing(), "SyncGroup")
    t.setup("Heartbeat", beating(name, one.generation, one.id))
    again = Member(t, name, asked=True, instance="i").join_later()
    waiting()
    one.asked = True
    leader = one.join_later()
    again()
    leader()


def pair_with_static(t: Talk, name: str) -> tuple[Member, Member]:
    """A group of two that waits for its leader's assignment; the second is static."""
    one, two = Member(t, name).join(), Member(t, name, instance="i")
    answer = two.join_later()
    await_state(t, name, "PreparingRebalance")
    one.join()
    answer()
    return one, two


@case(API, SINCE)
def static_and_other_members(t: Talk) -> None:
    """A member without an instance, in the same group, leaves: the static one is asked to join."""
    name = group(t)
    one, two = pair(t, name)
    three = Member(t, name, asked=True, instance="i")
    answer = three.join_later()
    await_state(t, name, "PreparingRebalance")
    two.leave()
    one.asked = True
    again = one.join_later()
    answer()
    again()
