"""JoinGroup 0-9: members whose ids the broker gives. Static members are in join_group_static.py."""

from __future__ import annotations

import time

import codec
from cases import case, simple, spoiled
from cases.group_helpers import (
    HANDSHAKE, NOBODY, Member, await_members, await_state, group, joined_pair, joining, pair, rebalancing, stable, subscription,
)
from talk import Talk

API = "JoinGroup"
RANGE, ROBIN = ("range", subscription("x", "y")), ("roundrobin", subscription("z"))
CHANGED = [{"Name": "range", "Metadata": subscription("y")}]

simple(API, "group-empty", lambda t: joining("" if group(t) else ""))
simple(API, "group-empty-bad-timeout", lambda t: joining("" if group(t) else "", SessionTimeoutMs=1))
simple(API, "member-unknown", lambda t: joining(group(t), NOBODY))
simple(API, "member-unknown-bad-timeout", lambda t: joining(group(t), NOBODY, SessionTimeoutMs=1))
for number in (5999, 6000, 1_800_000, 1_800_001, 0, -1):
    simple(API, f"session-timeout-{number}", lambda t, n=number: joining(group(t), SessionTimeoutMs=n))
for label, protocols in {"empty": (), "name-empty": (("", b"m"),), "metadata-empty": (("range", b""),)}.items():
    simple(API, f"protocols-{label}", lambda t, p=protocols: joining(group(t), protocols=p))
for label, kind in {"empty": "", "other": "connect", "upper-case": "CONSUMER"}.items():
    simple(API, f"protocol-type-{label}", lambda t, k=kind: joining(group(t), ProtocolType=k))
simple(API, "protocols-and-type-empty", lambda t: joining(group(t), protocols=(), ProtocolType=""))
simple(API, "protocols-empty-member-unknown", lambda t: joining(group(t), NOBODY, protocols=()))
simple(API, "group-long-name", lambda t: joining(group(t, "x" * 300)))
simple(API, "group-name-of-no-topic", lambda t: joining(group(t, "a b/ä")))
spoiled(API, lambda t: joining(""))


@case(API)
def new_member(t: Talk) -> None:
    """From v4 on it is given an id first, and joins with it; the first member leads and sees the members."""
    Member(t, group(t), asked=True).join()


@case(API)
def new_member_with_many_protocols(t: Talk) -> None:
    """All agree on the first."""
    Member(t, group(t), asked=True, protocols=(ROBIN, RANGE, ("x", subscription()))).join()


@case(API)
def new_member_of_another_type(t: Talk) -> None:
    """A group need not be of consumers."""
    Member(t, group(t), asked=True, ProtocolType="connect", protocols=(("v0", b"\0\xff"),)).join()


@case(API)
def new_member_with_unreadable_subscription(t: Talk) -> None:
    """Kafka reads what consumers subscribe to, for OffsetDelete; who cannot be read is none the worse."""
    for number, metadata in enumerate((b"meta", b"\xff\xff", subscription("x") + b"more", b"\0\x63" + subscription("x")[2:])):
        Member(t, group(t, f"g{number}"), asked=True, protocols=(("range", metadata),)).join()


@case(API, (8, 9))
def new_member_with_one_protocol_twice(t: Talk) -> None:
    """Kafka votes by name and fails: nobody of the group is answered."""
    t.patience = 2.0
    one = Member(t, group(t), asked=True, protocols=(RANGE, RANGE)).introduce()
    t.ask(one.joining())


@case(API, (8, 9))
def new_member_with_endless_subscription(t: Talk) -> None:
    """More topics announced than there are bytes: on Kafka nobody of the group is answered."""
    t.patience = 2.0
    one = Member(t, group(t), asked=True, protocols=(("range", b"\0\0\x7f\0\0\0"),)).introduce()
    t.ask(one.joining())


@case(API)
def new_member_without_client_id(t: Talk) -> None:
    """Its id is made of the client's, which may be missing or empty."""
    for client in (None, ""):
        t.ask_frame(codec.request(API, t.version, joining(group(t, f"g{client}")), 7, client), t.version)


@case(API, (1, 9))
def rebalance_timeout(t: Talk) -> None:
    """Kafka takes any."""
    for number in (0, -1, 2**31 - 1):
        Member(t, group(t, f"g{number}"), asked=True, RebalanceTimeoutMs=number).join()


@case(API, (8, 9))
def with_reason(t: Talk) -> None:
    """Only for the log."""
    for reason in ("why", "", "x" * 300):
        Member(t, group(t, f"g{len(reason)}"), asked=True, Reason=reason).join()


@case(API, (HANDSHAKE, 9))
def handshake_on_another_connection(t: Talk) -> None:
    """An id belongs to the group, not to the connection; and to no other group."""
    member = Member(t, group(t), asked=True).introduce()
    t.reconnect()
    t.ask(joining(group(t, "other"), member.id))
    member.join()


@case(API, (HANDSHAKE, 9))
def handshake_twice(t: Talk) -> None:
    """Two ids were given, of which one never comes: the first generation does not wait for it, a later one for the rebalance timeout."""
    name = group(t)
    Member(t, name).introduce()
    one = Member(t, name, asked=True, RebalanceTimeoutMs=300).join()
    one.sync({one.id: b"all"})
    one.join()


@case(API, (HANDSHAKE, 9))
def handshake_of_one_who_goes(t: Talk) -> None:
    """The others wait for whoever has an id, until he leaves."""
    name = group(t)
    one = stable(t, name)
    one.asked = True
    lost = Member(t, name).introduce()
    answer = one.join_later()
    await_state(t, name, "PreparingRebalance")
    lost.leave()
    answer()


@case(API, (HANDSHAKE, 9))
def handshake_with_other_protocols(t: Talk) -> None:
    """What a member says when it joins counts."""
    name = group(t)
    member = Member(t, name, asked=True).introduce()
    t.ask(member.joining(Protocols=[]))
    t.ask(member.joining(ProtocolType="connect"))


@case(API)
def member_unknown_in_a_group(t: Talk) -> None:
    """The group exists, the member does not."""
    one = stable(t, group(t))
    t.ask(joining(one.group, NOBODY))


@case(API)
def member_who_left(t: Talk) -> None:
    """His id is void."""
    one = stable(t, group(t))
    one.leave()
    t.ask(one.joining())


@case(API)
def group_that_was_left(t: Talk) -> None:
    """An empty group counts on."""
    stable(t, group(t)).leave()
    Member(t, group(t), asked=True, ProtocolType="connect", protocols=(ROBIN,)).join()


@case(API)
def other_protocols_than_the_group(t: Talk) -> None:
    """Another type, other protocols, none: of a newcomer, of an unknown member, of the one there is."""
    one = stable(t, group(t))
    for more in ({"ProtocolType": "connect"}, {"Protocols": [{"Name": "other"}]}, {"Protocols": []}, {"ProtocolType": ""}):
        t.ask({**joining(one.group), **more})
        t.ask({**joining(one.group, NOBODY), **more})
        t.ask({**one.joining(), **more})


@case(API)
def leader_joins_again_before_the_sync(t: Talk) -> None:
    """The same again gets the same answer; something else begins anew."""
    one = Member(t, group(t), asked=True).join()
    one.join()
    one.join(Protocols=CHANGED)


@case(API)
def leader_joins_again_after_the_sync(t: Talk) -> None:
    """A leader who joins wants to assign anew."""
    one = stable(t, group(t))
    one.asked = True
    one.join()


@case(API)
def session_timeout_of_a_member(t: Talk) -> None:
    """Out of bounds, of a member that there is."""
    one = stable(t, group(t))
    t.ask(one.joining(SessionTimeoutMs=1))


@case(API)
def two_members(t: Talk) -> None:
    """The leader sees both, the other nobody. What they offer is not the same; each is shown with what it offers of the chosen one."""
    name = group(t)
    one = Member(t, name, asked=True, protocols=(RANGE, ROBIN)).join()
    two = Member(t, name, asked=True, protocols=(("roundrobin", subscription()),))
    answer = two.join_later()
    await_state(t, name, "PreparingRebalance")
    again = one.join_later()
    answer()
    again()


@case(API)
def two_members_and_a_protocol_of_one(t: Talk) -> None:
    """A newcomer must offer what all offer."""
    name = group(t)
    one = Member(t, name, protocols=(RANGE, ROBIN)).join()
    two = Member(t, name, protocols=(ROBIN,))
    answer = two.join_later()
    await_state(t, name, "PreparingRebalance")
    again = one.join_later()
    answer()
    again()
    t.ask(joining(name, protocols=(RANGE,)))
    t.ask(joining(name, two.id, protocols=(RANGE,)))


@case(API)
def follower_joins_again(t: Talk) -> None:
    """Nothing new: the same generation, and no rebalance."""
    _, two = pair(t, group(t))
    two.asked = True
    two.join()
    two.beat()


@case(API)
def follower_joins_again_before_the_sync(t: Talk) -> None:
    """The same."""
    one, two = joined_pair(t, group(t))
    one.asked = two.asked = True
    two.join()
    one.join()


@case(API)
def follower_changes_what_it_offers(t: Talk) -> None:
    """A rebalance, for which the leader must join."""
    one, two = pair(t, group(t))
    one.asked = two.asked = True
    answer = two.join_later(Protocols=CHANGED)
    await_state(t, one.group, "PreparingRebalance")
    one.beat()
    again = one.join_later()
    answer()
    again()


@case(API)
def leader_leaves(t: Talk) -> None:
    """The next one leads."""
    one, two = pair(t, group(t))
    one.leave()
    two.asked = True
    two.beat()
    two.join()


@case(API, (1, 9))
def member_that_does_not_join_again(t: Talk) -> None:
    """It is given the rebalance timeout, then it is forgotten, whoever leads."""
    one = Member(t, group(t), RebalanceTimeoutMs=300).join()
    one.sync({one.id: b"all"})
    two = Member(t, one.group, asked=True, RebalanceTimeoutMs=300)
    two.join()
    t.ask(one.joining())


@case(API, (1, 9))
def follower_that_does_not_sync(t: Talk) -> None:
    """A member that joins and then does not take its assignment is forgotten after the rebalance timeout, and the others begin anew."""
    one, two = joined_pair(t, group(t), RebalanceTimeoutMs=300)
    one.asked = True
    one.sync({one.id: b"first", two.id: b"second"})
    await_state(t, one.group, "PreparingRebalance")
    one.beat()
    one.join()
    t.ask(two.joining())


@case(API)
def third_member_while_others_are_awaited(t: Talk) -> None:
    """All that wait are answered at once, when the last one has come."""
    name = group(t)
    one, second = rebalancing(t, name)
    third = Member(t, name, asked=True).join_later()
    await_members(t, name, 3)
    one.asked = True
    again = one.join_later()
    third()
    second()
    again()


@case(API, (8, 9))
def member_joins_again_while_it_waits(t: Talk) -> None:
    """The client gave up and asks anew, on another connection: the first question is never answered."""
    one, two = pair(t, group(t))
    t.patience, two.asked = 2.0, True
    lost = t.ask_later(two.joining(Protocols=CHANGED))
    await_state(t, one.group, "PreparingRebalance")
    answer = two.join_later(Protocols=CHANGED)
    time.sleep(0.2)  # nothing tells when the second question has arrived
    one.join()
    answer()
    lost()


@case(API, (9, 9))
def member_without_a_session(t: Talk) -> None:
    """The shortest session ends while nobody beats."""
    one = Member(t, group(t), SessionTimeoutMs=6000).join()
    one.sync({one.id: b"all"})
    time.sleep(5)
    await_state(t, one.group, "Empty")
    t.ask(one.joining())
