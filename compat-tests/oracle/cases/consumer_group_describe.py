"""ConsumerGroupDescribe 0-1."""

from __future__ import annotations

from cases import case, simple, spoiled
from cases import group_helpers as classic
from cases.consumer_group_helpers import Consumer, describing, new, one, settled, stable
from cases.group_helpers import committed, group, offset
from talk import Talk

API = "ConsumerGroupDescribe"

simple(API, "unknown", lambda t: describing(group(t)))
simple(API, "several-unknown", lambda t: describing(group(t, "b"), group(t, "a"), group(t, "c")))
simple(API, "empty-name", lambda t: describing("" if group(t) else ""))
simple(API, "blank-name", lambda t: describing("  " if group(t) else ""))
simple(API, "none", lambda t: describing() if group(t) else {})
simple(API, "same-unknown-twice", lambda t: describing(group(t), group(t)))
simple(API, "unknown-authorized-operations", lambda t: describing(group(t), "", operations=True))
spoiled(API, lambda t: describing())


@case(API)
def classic_group(t: Talk) -> None:
    """Stable, empty, of offsets alone: not of this protocol."""
    classic.stable(t, group(t, "stable"))
    classic.stable(t, group(t, "left")).leave()
    committed(t, group(t, "offsets"), (one(t, 3), [offset()]))
    for operations in (False, True):
        t.ask(describing(*(group(t, x) for x in ("stable", "left", "offsets")), operations=operations))


@case(API)
def empty_group(t: Talk) -> None:
    """Its member left."""
    x = stable(t, group(t), one(t, 3))
    x.leave()
    t.ask(describing(x.group))


@case(API)
def stable_group(t: Talk) -> None:
    """Everything that a member told."""
    x = stable(t, group(t), one(t, 3), one(t, 1), RackId="r", InstanceId="i", ServerAssignor="range")
    for operations in (False, True):
        t.ask(describing(x.group, operations=operations))
    t.ask(describing(x.group, x.group, group(t, "unknown")))


@case(API)
def before_it_owns(t: Talk) -> None:
    """Given, not yet taken."""
    x = new(t, one(t, 3), asked=False).join()
    t.ask(describing(x.group))


@case(API)
def several_members(t: Talk) -> None:
    """While they reconcile, and when they have."""
    members = [Consumer(t, group(t), [one(t, 6)], x) for x in "abc"]
    for x in members:
        x.join()
    t.ask(describing(members[0].group))
    settled(t, *members)
    t.ask(describing(members[0].group))


@case(API)
def subscribed_to_what_does_not_exist(t: Talk) -> None:
    """Nothing to own."""
    x = new(t, asked=False)
    x.names = ["nobody-makes-this", "a"]
    x.join()
    t.ask(describing(x.group))


@case(API)
def topic_that_was_deleted(t: Talk) -> None:
    """What is left of an assignment; it is compared when the member has given it up."""
    topic = t.topic()
    x = stable(t, group(t), topic)
    t.setup("DeleteTopics", {"Topics": [{"Name": topic.name}], "TopicNames": [topic.name], "TimeoutMs": 5000})
    for _ in range(200):
        x.take()
        if not x.given:
            break
    settled(t, x)
    answer = t.setup(API, describing(x.group))["Groups"][0]
    t.note("seen", [answer["GroupState"], answer["Members"][0]["Assignment"], answer["Members"][0]["SubscribedTopicNames"]])


@case(API)
def static_member_that_is_away(t: Talk) -> None:
    """It keeps what it had, and epoch -2."""
    x = stable(t, group(t), one(t, 3), InstanceId="i")
    x.leave(-2)
    t.ask(describing(x.group))


@case(API)
def unknown_classic_and_new_together(t: Talk) -> None:
    """Each is told for itself."""
    classic.stable(t, group(t, "classic"))
    stable(t, group(t, "new"), one(t, 3))
    t.ask(describing(*(group(t, x) for x in ("unknown", "classic", "new")), ""))


@case(API)
def deleted_group(t: Talk) -> None:
    """It is gone."""
    x = stable(t, group(t), one(t, 3))
    x.leave()
    t.setup("DeleteGroups", {"GroupsNames": [x.group]})
    t.ask(describing(x.group))
