"""ConsumerGroupHeartbeat 0-1, and what other APIs say of the groups that it makes."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any

from cases import add, case, simple, spoiled
from cases import group_helpers as classic
from cases.consumer_group_helpers import Consumer, beating, describe, describing, joining, new, one, settled, stable
from cases.group_helpers import NOBODY, committed, committing, group, offset, reading
from talk import UNKNOWN_ID, ZERO_ID, Talk, Topic

API = "ConsumerGroupHeartbeat"
spoiled(API, lambda t: joining("", "m"))


def joins(label: str, versions: tuple[int, int] | None = None, **more: Any) -> None:
    """A case of one request to join, of a new group unless `GroupId` is given, and what came of it."""
    def run(t: Talk) -> None:
        t.ask(joining(group(t), **{"names": (one(t, 3).name,), **more}))
        describe(t, group(t))
    add(API, f"join-{label}", run, versions)


joins("group-empty", GroupId="")
joins("group-blank", GroupId="  ")
joins("member-own")
joins("member-empty-v1", (1, 1), member="")
joins("member-blank", member="  ")
joins("member-36", member="m" * 36)
joins("member-37", member="m" * 37)
joins("member-long", member="m" * 300)
joins("epoch-minus-three", MemberEpoch=-3)
joins("epoch-minus-two", MemberEpoch=-2)
joins("epoch-minus-two-instance", MemberEpoch=-2, InstanceId="i")
joins("epoch-minus-two-instance-empty", MemberEpoch=-2, InstanceId="")
joins("epoch-minus-one", MemberEpoch=-1)
joins("epoch-minus-one-instance", MemberEpoch=-1, InstanceId="i")
joins("epoch-one", MemberEpoch=1)
joins("epoch-largest", MemberEpoch=2**31 - 1)
joins("instance", InstanceId="i")
joins("instance-empty", InstanceId="")
joins("instance-blank", InstanceId=" ")
joins("rack", RackId="r")
joins("rack-empty", RackId="")
joins("rack-blank", RackId=" ")
for number in (-2, -1, 0, 1, 2**31 - 1):
    joins(f"rebalance-timeout-{number}", RebalanceTimeoutMs=number)
joins("owned-null", TopicPartitions=None)
joins("owned-some", TopicPartitions=[{"TopicId": UNKNOWN_ID, "Partitions": [0]}])
joins("owned-topic-without-partitions", TopicPartitions=[{"TopicId": UNKNOWN_ID, "Partitions": []}])
joins("names-null", names=None)
joins("names-empty-list", names=())
joins("name-empty", names=("",))
joins("name-invalid", names=("a b",))
joins("name-unknown", names=("nobody-makes-this",))
joins("names-twice", names=("nobody-makes-this", "nobody-makes-this"))
for name in ("uniform", "range", "nonsense", "", " ", "Uniform"):
    joins(f"assignor-{name.strip() or ('blank' if name else 'empty')}-{name[:1].isupper()}".lower().replace("-false", ""),
          ServerAssignor=name)
joins("regex-empty", (1, 1), names=None, SubscribedTopicRegex="")
joins("regex-empty-and-names", (1, 1), SubscribedTopicRegex="")
joins("regex-bad", (1, 1), names=None, SubscribedTopicRegex="(")
joins("regex-bad-look-ahead", (1, 1), names=None, SubscribedTopicRegex="(?=a)")
joins("regex-bad-and-names", (1, 1), SubscribedTopicRegex="[")
joins("several-wrong", GroupId="", member="", RebalanceTimeoutMs=-1, MemberEpoch=-7)
joins("wrong-timeout-and-owned", RebalanceTimeoutMs=-1, TopicPartitions=None)
joins("wrong-owned-and-names", TopicPartitions=None, names=None)
joins("wrong-assignor-and-names", ServerAssignor="nonsense", names=None)
joins("wrong-assignor-and-instance", ServerAssignor="nonsense", InstanceId="")


@case(API, (0, 0))
def join_member_empty_v0(t: Talk) -> None:
    """The broker gives an id: that there is one counts."""
    answer = t.setup(API, joining(group(t), "", (one(t, 3).name,)), 0)
    t.note("given", [answer["ErrorCode"], len(answer["MemberId"] or ""), answer["MemberEpoch"], answer["HeartbeatIntervalMs"]])
    again = t.setup(API, joining(group(t), answer["MemberId"], (one(t, 3).name,)), 0)
    t.note("again", [again["ErrorCode"], again["MemberId"] == answer["MemberId"], again["MemberEpoch"]])


def others(label: str, member: str, epoch: int, **more: Any) -> None:
    """A heartbeat of a group that there is not, and one of a stranger to a group that there is."""
    def run(t: Talk) -> None:
        t.ask(beating(group(t), member, epoch, **more))
        stable(t, group(t, "there"), one(t, 3))
        t.ask(beating(group(t, "there"), member, epoch, **more))
        describe(t, group(t), group(t, "there"))
    add(API, f"stranger-{label}", run)


for number in (1, 2, 7, -1, -2, 0):
    others(f"epoch-{number}", NOBODY, number)
    others(f"epoch-{number}-instance", NOBODY, number, InstanceId="i")


@case(API)
def joins_and_beats(t: Talk) -> None:
    """One member, step by step: nothing is told twice."""
    x = new(t, one(t, 3)).join()
    x.beat()
    x.take()
    x.beat()
    x.full()
    x.beat()
    describe(t, x.group)


@case(API)
def joins_twice(t: Talk) -> None:
    """It joins again with its id: epoch 0 of one that is there."""
    x = new(t, one(t, 3)).join()
    x.join()
    x.take()
    x.join()
    describe(t, x.group)


def epochs(label: str, *ways: tuple[int, list[int] | None]) -> None:
    """A case of heartbeats with other epochs than the one that is right (added), each with partitions or none, after a change."""
    def run(t: Talk) -> None:
        topic = one(t, 3)
        x = stable(t, group(t), topic)
        x.names = [topic.name, "not-there-yet"]
        x.full()
        settled(t, x)
        for off, owned in ways:
            t.ask(beating(x.group, x.id, x.epoch + off, None if owned is None else [(topic, owned)]))
        describe(t, x.group)
    add(API, f"epoch-{label}", run)


epochs("right", (0, None), (0, [0, 1, 2]), (0, [0]), (0, []), (0, [7]))
epochs("greater", (1, None), (1, [0, 1, 2]), (100, None))
epochs("previous-silent", (-1, None))
epochs("previous-all", (-1, [0, 1, 2]))
epochs("previous-subset", (-1, [0, 2]))
epochs("previous-none", (-1, []))
epochs("previous-others", (-1, [0, 7]))
epochs("smaller", (-2, None), (-2, [0, 1, 2]))


@case(API)
def owns_unknown_topics(t: Talk) -> None:
    """Partitions of a topic that nobody knows, the zero id, a topic twice."""
    topic = one(t, 3)
    x = stable(t, group(t), topic, asked=True)
    for some in ([(Topic("", UNKNOWN_ID), [0])], [(Topic("", ZERO_ID), [0])], [(topic, [0, 1, 2]), (topic, [0])], [(topic, [0, 0, 1, 2])]):
        x.beat(some)
    describe(t, x.group)


@case(API)
def one_wrong_field_of_a_member(t: Talk) -> None:
    """What a member of a stable group must not say."""
    x = stable(t, group(t), one(t, 3))
    for more in ({"InstanceId": ""}, {"InstanceId": "i"}, {"RackId": ""}, {"ServerAssignor": "nonsense"}, {"ServerAssignor": ""},
                 {"SubscribedTopicNames": []}):
        t.ask(beating(x.group, x.id, x.epoch, **more))
    describe(t, x.group)


@case(API)
def rebalance_timeout_of_a_member(t: Talk) -> None:
    """It may say any, later; nothing is to be revoked meanwhile."""
    x = stable(t, group(t), one(t, 3))
    for number in (0, -5, -1, 60_000):
        t.ask(beating(x.group, x.id, x.epoch, RebalanceTimeoutMs=number))
    describe(t, x.group)


@case(API)
def full_heartbeat(t: Talk) -> None:
    """It is told its assignment again when it says everything, with owned partitions or none."""
    x = stable(t, group(t), one(t, 3), asked=True)
    x.full()
    x.full(TopicPartitions=[])
    x.full(TopicPartitions=None)
    x.beat([])
    x.beat(RebalanceTimeoutMs=60_000)
    x.beat(SubscribedTopicNames=x.names)


# Two members, step by step.


@case(API)
def second_joins_revocation_acknowledged(t: Talk) -> None:
    """The first gives up, tells so, and the second is given."""
    topic = one(t, 4)
    a, b = stable(t, group(t), topic, asked=True, member="a"), new(t, topic, member="b")
    b.join()
    describe(t, a.group)
    b.beat()
    a.beat()
    describe(t, a.group)
    b.beat()
    a.take()
    describe(t, a.group)
    b.beat()
    b.take()
    a.beat()
    describe(t, a.group)


@case(API)
def second_joins_revocation_not_acknowledged(t: Talk) -> None:
    """The first goes on owning everything."""
    topic = one(t, 4)
    a, b = stable(t, group(t), topic, asked=True, member="a"), new(t, topic, member="b")
    b.join()
    a.beat()
    for _ in range(3):
        a.beat()
        a.beat([(topic, [0, 1, 2, 3])])
        b.beat()
    describe(t, a.group)


@case(API)
def second_joins_revocation_partial(t: Talk) -> None:
    """The first gives up one partition after another; then it says that it owns none."""
    topic = one(t, 4)
    a, b = stable(t, group(t), topic, asked=True, member="a"), new(t, topic, member="b")
    b.join()
    a.beat()
    a.beat([(topic, [0, 1, 2])])
    b.beat()
    describe(t, a.group)
    a.beat([])
    b.beat()
    b.take()
    describe(t, a.group)
    a.beat()
    a.full()


@case(API)
def second_joins_and_leaves_while_the_first_revokes(t: Talk) -> None:
    """What was to be given up is given back."""
    topic = one(t, 4)
    a, b = stable(t, group(t), topic, asked=True, member="a"), new(t, topic, member="b")
    b.join()
    a.beat()
    b.leave()
    a.beat()
    a.beat([(topic, [0, 1, 2, 3])])
    a.beat()
    describe(t, a.group)
    b.leave()
    b.beat()


@case(API)
def three_members_one_after_another(t: Talk) -> None:
    """The epochs that each has, and who waits for whom."""
    topic = one(t, 6)
    members = [new(t, topic, member=x, ServerAssignor="range") for x in "abc"]
    for x in members:
        x.join()
    for _ in range(4):
        for x in members:
            x.beat()
            x.take()
    describe(t, members[0].group)
    members[0].leave()
    for _ in range(3):
        for x in members[1:]:
            x.beat()
            x.take()
    describe(t, members[0].group)


@case(API)
def first_joins_again_while_it_revokes(t: Talk) -> None:
    """Epoch 0 in the middle of a reconciliation."""
    topic = one(t, 4)
    a, b = stable(t, group(t), topic, asked=True, member="a"), new(t, topic, member="b")
    b.join()
    a.beat()
    a.join()
    b.beat()
    a.take()
    describe(t, a.group)


Shares = dict[tuple[str, int], str]


def has(t: Talk, *members: Consumer, exact: bool, before: Shares | None = None) -> Shares:
    """Who has what; if not `exact`, how many each has, whether that is all there is, and how many moved away from one who is
    still there. Which of
    several equal partitions moves, and who has one more than the others, hangs in Kafka on the hashes of members and of topics' ids."""
    shares = {(i, p): x.id for x in members for i, several in x.given for p in several}
    if exact:
        describe(t, members[0].group)
    else:
        t.note("each has", sorted(sum(len(p) for _, p in x.given) for x in members))
        t.note("in all", [len(shares), sum(len(p) for x in members for _, p in x.given)])
        here_still = [x.id for x in members]
        t.note("moved", sum(shares.get(k) != v for k, v in (before or {}).items() if v in here_still))
    return shares


def shared_out(assignor: str, count: int, *sizes: int) -> None:
    """A case of some members and topics: who has what when all has settled; they join one after another, and then leave."""
    exact = assignor == "range" or count == 1 or count == 2 and len(sizes) == 1

    def run(t: Talk) -> None:
        topics = [one(t, n) for n in sizes]
        members = [Consumer(t, group(t), topics, x, ServerAssignor=assignor) for x in "abc"[:count]]
        shares: Shares = {}
        for n, x in enumerate(members, 1):
            x.join()
            settled(t, *members[:n])
            shares = has(t, *members[:n], exact=exact, before=shares)
        while len(members) > 1:
            members.pop(0).leave()
            settled(t, *members)
            shares = has(t, *members, exact=exact, before=shares)
    add(API, f"{assignor}-{count}-members-topics-{'-'.join(map(str, sizes))}", run)


for which in ("uniform", "range"):
    for many in (1, 2, 3):
        for sized in ((1,), (4,), (1, 3), (1, 3, 4)):
            shared_out(which, many, *sized)


@case(API)
def assignors_of_a_majority(t: Talk) -> None:
    """Two want range, one wants uniform; then the two go."""
    topics = [one(t, 3), one(t, 4)]
    members = [Consumer(t, group(t), topics, m, ServerAssignor=w) for m, w in (("a", "uniform"), ("b", "range"), ("c", "range"))]
    for x in members:
        x.join()
        settled(t, *members[:members.index(x) + 1])
        has(t, *members[:members.index(x) + 1], exact=x.id != "b")  # one each: uniform, which comes first by name
    members[2].leave()
    members[1].leave()
    settled(t, members[0])
    describe(t, members[0].group)


@case(API)
def different_subscriptions(t: Talk) -> None:
    """Each has a topic of its own, and one they share."""
    both, first, second = one(t, 4), one(t, 3), one(t, 1)
    a, b = new(t, both, first, member="a", asked=False), new(t, both, second, member="b", asked=False)
    a.join()
    b.join()
    settled(t, a, b)
    describe(t, a.group)


@case(API)
def subscription_changes(t: Talk) -> None:
    """To another topic, to both, to one that does not exist, to none."""
    first, second = one(t, 3), one(t, 1)
    x = stable(t, group(t), first, asked=True)
    for names in ([second.name], [first.name, second.name], ["not-there"], []):
        x.beat(SubscribedTopicNames=names)
        x.take()
        x.beat()
        describe(t, x.group)


@case(API)
def assignor_and_rack_change(t: Talk) -> None:
    """A member says something new of itself."""
    x = stable(t, group(t), one(t, 3), asked=True)
    x.beat(ServerAssignor="range")
    describe(t, x.group)
    x.beat(RackId="r")
    describe(t, x.group)
    x.beat(RebalanceTimeoutMs=5000)
    describe(t, x.group)


@case(API)
def topic_is_made_later(t: Talk) -> None:
    """A subscription to what does not exist yet."""
    x = new(t, asked=False)
    x.names = [t.name("later")]
    x.join()
    describe(t, x.group)
    t.topic("later", 2)
    end = time.monotonic() + 10
    while not x.given and time.monotonic() < end:
        x.take()
        time.sleep(0.05)
    settled(t, x)
    describe(t, x.group)


@case(API)
def leaves(t: Talk) -> None:
    """The group is empty, and may be joined again."""
    x = stable(t, group(t), one(t, 3), asked=True)
    x.leave()
    describe(t, x.group)
    x.leave()
    x.beat(MemberEpoch=1)
    x.epoch = 0
    x.join()
    describe(t, x.group)


def matching(label: str, make: Callable[[Talk], str], names: bool = False) -> None:
    """A case of a regular expression, whose topics are compared when it has settled."""
    def run(t: Talk) -> None:
        t.topic("aa", 2)
        t.topic("ab", 1)
        x = new(t, asked=False)
        x.names = [one(t, 3).name] if names else None
        pattern = make(t)
        x.join(SubscribedTopicRegex=pattern)
        end, seen, same = time.monotonic() + 6, None, 0
        while same < 12 and time.monotonic() < end:  # until nothing has changed for a while: Kafka looks for matches in the background
            x.take()
            same = same + 1 if seen == (x.epoch, x.given) else 0
            seen = (x.epoch, list(x.given))
            time.sleep(0.1)
        t.note("given", sorted((t.ids.get(i, i), p) for i, p in x.given))
        answer = t.setup("ConsumerGroupDescribe", describing(x.group))["Groups"][0]
        t.note("seen", [answer["ErrorCode"], answer["GroupState"], answer["Members"][0]["SubscribedTopicRegex"],
                        answer["Members"][0]["SubscribedTopicNames"]])
    add(API, f"regex-{label}", run, (1, 1))


matching("several", lambda t: f"{t.prefix}[.]a.*".replace("+", "[+]"))
matching("one", lambda t: f"{t.prefix}[.]aa")
matching("only-the-beginning", lambda t: f"{t.prefix}[.]a")
matching("nothing", lambda t: "no-topic-is-called-so.*")
matching("and-names", lambda t: f"{t.prefix}[.]ab", True)


@case(API, (1, 1))
def regex_of_a_member(t: Talk) -> None:
    """A member of a stable group says one, a bad one, an empty one; Kafka's answers come before it has looked for matches."""
    x = stable(t, group(t), one(t, 3))
    for pattern in ("(", "[", ""):
        t.ask(beating(x.group, x.id, x.epoch, SubscribedTopicRegex=pattern))
    describe(t, x.group)


@case(API, (1, 1))
def regex_changes(t: Talk) -> None:
    """To other topics, and to none at all; each compared when it has settled."""
    for name, partitions in (("aa", 2), ("ab", 1)):
        t.topic(name, partitions)
    x = new(t, asked=False)
    x.names = None
    x.join(SubscribedTopicRegex=f"{t.prefix}[.]aa")
    for pattern, wanted in ((None, 2), (f"{t.prefix}[.]ab", 1), (f"{t.prefix}[.]a.", 3), ("", 0)):
        end = time.monotonic() + 8
        if pattern is not None:
            x.beat(SubscribedTopicRegex=pattern)
        while sum(len(p) for _, p in x.given) != wanted and time.monotonic() < end:
            time.sleep(0.05)
            x.take()
        t.note("given", sorted((t.ids.get(i, i), p) for i, p in x.given))


@case(API)
def previous_epoch_while_it_revokes(t: Talk) -> None:
    """The answer that told it to revoke was lost: it says again what it said."""
    topic = one(t, 4)
    a, b = stable(t, group(t), topic, asked=True, member="a"), new(t, topic, member="b")
    b.join()
    a.beat()
    a.beat([(topic, [0, 1, 2, 3])])
    was = a.epoch
    a.take()
    for owned in (None, [0, 1, 2, 3], [0, 1], [0], []):
        t.ask(beating(a.group, a.id, was, None if owned is None else [(topic, owned)]))
    describe(t, a.group)


@case(API)
def waits_for_what_another_revokes(t: Talk) -> None:
    """What the second says meanwhile: that it owns what it is not given, and everything again."""
    topic = one(t, 4)
    a, b = stable(t, group(t), topic, asked=True, member="a"), new(t, topic, member="b")
    b.join()
    b.beat([(topic, [2, 3])])
    b.full()
    b.beat([])
    describe(t, a.group)
    b.join()
    describe(t, a.group)


@case(API)
def subscription_changes_while_it_revokes(t: Talk) -> None:
    """The first changes its mind in the middle of a reconciliation."""
    topic, other = one(t, 4), one(t, 3)
    a, b = stable(t, group(t), topic, asked=True, member="a"), new(t, topic, member="b")
    b.join()
    a.beat()
    a.beat(SubscribedTopicNames=[other.name])
    describe(t, a.group)
    a.beat([])
    a.take()
    b.beat()
    b.take()
    describe(t, a.group)


@case(API)
def revoking_member_leaves(t: Talk) -> None:
    """What it had not given up is free."""
    topic = one(t, 4)
    a, b = stable(t, group(t), topic, asked=True, member="a"), new(t, topic, member="b")
    b.join()
    a.beat()
    a.leave()
    b.beat()
    b.take()
    describe(t, a.group)


@case(API)
def range_of_different_subscriptions(t: Talk) -> None:
    """By topic, among those who read it."""
    first, second = one(t, 3), one(t, 4)
    members = [Consumer(t, group(t), topics, m, ServerAssignor="range") for m, topics in (
        ("a", [first, second]), ("b", [second]), ("c", [first]))]
    for x in members:
        x.join()
    settled(t, *members)
    describe(t, members[0].group)


@case(API)
def range_of_static_members(t: Talk) -> None:
    """By instance rather than by id."""
    topic = one(t, 3)
    members = [Consumer(t, group(t), [topic], m, ServerAssignor="range", InstanceId=i) for m, i in (("a", "z"), ("b", "y"))]
    for x in members:
        x.join()
    settled(t, *members)
    describe(t, members[0].group)


# Static members.


def here(t: Talk, member: str = "a", **more: Any) -> Consumer:
    """A static member of a stable group."""
    return stable(t, group(t), one(t, 4), asked=True, member=member, InstanceId="i", **more)


@case(API)
def static_goes_away_and_comes_back(t: Talk) -> None:
    """-2, then a new id with the same instance, which is given what the old one had; the old id is fenced."""
    a = here(t)
    a.leave(-2)
    describe(t, a.group)
    b = new(t, one(t, 4), member="b", InstanceId="i")
    b.join()
    b.take()
    describe(t, a.group)
    a.epoch = b.epoch
    a.beat()
    a.leave(-2)
    a.leave(-1)
    t.ask(beating(a.group, a.id, 1))
    t.ask(beating(a.group, a.id, -1))
    describe(t, a.group)


@case(API)
def static_unreleased(t: Talk) -> None:
    """Another id takes the instance of one that is there."""
    a = here(t)
    new(t, one(t, 4), member="b", InstanceId="i").join()
    a.beat()
    describe(t, a.group)


@case(API)
def static_leaves(t: Talk) -> None:
    """-1: for good."""
    a = here(t)
    a.leave(-1)
    describe(t, a.group)
    new(t, one(t, 4), member="b", InstanceId="i").join()
    describe(t, a.group)


@case(API)
def static_away_heartbeats(t: Talk) -> None:
    """What the one that went away for a while may say."""
    a = here(t)
    epoch = a.epoch
    a.leave(-2)
    for number in (epoch, -2, -1):
        t.ask(beating(a.group, a.id, number, InstanceId="i"))
    describe(t, a.group)


@case(API)
def static_same_id_comes_back(t: Talk) -> None:
    """Away and back with the same id; and back without having gone."""
    a = here(t)
    a.leave(-2)
    a.join()
    a.take()
    a.join()
    describe(t, a.group)


@case(API)
def static_comes_back_with_another_subscription(t: Talk) -> None:
    """The assignment is another, too."""
    a = here(t)
    a.leave(-2)
    b = new(t, one(t, 3), member="b", InstanceId="i")
    b.join()
    b.take()
    describe(t, a.group)


@case(API)
def static_wrong_instance(t: Talk) -> None:
    """A member's id with the wrong instance, and without."""
    a = here(t)
    for instance in (None, "j"):
        for epoch in (a.epoch, 7, -2, -1):
            t.ask(beating(a.group, a.id, epoch, InstanceId=instance))
    describe(t, a.group)


@case(API)
def static_away_while_another_joins(t: Talk) -> None:
    """The partitions of the one that is away stay its own."""
    a, b = here(t), new(t, one(t, 4), member="b")
    a.leave(-2)
    b.join()
    b.beat()
    describe(t, a.group)
    c = new(t, one(t, 4), member="c", InstanceId="i")
    c.join()
    c.take()
    b.beat()
    describe(t, a.group)


@case(API)
def static_commits(t: Talk) -> None:
    """The old id and the new one."""
    a = here(t)
    a.leave(-2)
    commits(t, a, 9, (a.id, -2), (a.id, 2), (a.id, -1))
    b = new(t, one(t, 4), member="b", InstanceId="i").join()
    commits(t, b, 9, (a.id, b.epoch), (b.id, b.epoch), (b.id, b.epoch - 1))


# Groups of the other kind, and other APIs.


@case(API)
def group_of_offsets_alone(t: Talk) -> None:
    """Offsets made the group: it converts, and the offsets stay."""
    topic = one(t, 3)
    committed(t, group(t), (topic, [offset()]))
    describe(t, group(t))
    x = new(t, topic)
    t.ask(beating(x.group, "m", 1))
    x.join()
    describe(t, x.group)
    t.ask(reading(x.group, everything=True), "OffsetFetch")


@case(API)
def group_that_a_classic_member_left(t: Talk) -> None:
    """It is empty: it converts."""
    classic.stable(t, group(t)).leave()
    x = new(t, one(t, 3)).join()
    x.take()
    describe(t, x.group)


@case(API)
def group_with_a_classic_member(t: Talk) -> None:
    """A metadata that cannot be read as an assignment: the policy of the broker, and the classic member's state."""
    m = classic.stable(t, group(t))
    t.ask(beating(m.group, NOBODY, 1))
    t.ask(beating(m.group, m.id, 1))
    t.ask(beating(m.group, NOBODY, -1))
    new(t, one(t, 3)).join()


def embedded(topic: Topic, *partitions: int) -> bytes:
    """An assignment as a classic consumer writes it."""
    name = topic.name.encode()
    return struct.pack(">hih", 0, 1, len(name)) + name + struct.pack(f">i{len(partitions)}ii", len(partitions), *partitions, -1)


@case(API)
def group_with_a_classic_consumer(t: Talk) -> None:
    """It may be upgraded: the classic member stays in it, and is told to join again."""
    topic = one(t, 4)
    m = classic.Member(t, group(t), protocols=(("range", classic.subscription(topic.name)),)).join()
    m.sync({m.id: embedded(topic, 0, 1, 2, 3)})
    new(t, topic).join()
    seen = t.setup("ConsumerGroupDescribe", describing(m.group))["Groups"][0]
    t.note("seen", [seen["ErrorCode"], seen["GroupState"], sorted(x["MemberType"] for x in seen["Members"])])
    t.ask(classic.beating(m.group, m.generation, m.id), "Heartbeat")


@case(API)
def classic_consumer_joins(t: Talk) -> None:
    """JoinGroup of a consumer, with the handshake, on a group of the new protocol: which errors there are."""
    topic = one(t, 4)
    x = stable(t, group(t), topic)
    for instance in (None, "s"):
        body = classic.joining(x.group, "", instance, (("range", classic.subscription(topic.name)),))
        t.note("joins", t.setup("JoinGroup", body)["ErrorCode"])


@case(API)
def group_of_connect(t: Talk) -> None:
    """Not of consumers at all."""
    m = classic.stable(t, group(t), ProtocolType="connect")
    new(t, one(t, 3)).join()
    t.ask({"Groups": [m.group]}, "DescribeGroups")


@case(API)
def classic_member_joins(t: Talk) -> None:
    """JoinGroup on a group with a member of the new protocol: of connect, and with an unknown protocol."""
    x = stable(t, group(t), one(t, 3))
    t.ask(classic.joining(x.group, NOBODY), "JoinGroup")
    t.ask(classic.joining(x.group, ProtocolType="connect"), "JoinGroup")
    t.ask(classic.joining(x.group, protocols=(("nonsense", b"\0"),), instance="s"), "JoinGroup")
    for api, body in (("SyncGroup", classic.syncing(x.group, x.epoch, x.id)), ("Heartbeat", classic.beating(x.group, x.epoch, x.id)),
                      ("Heartbeat", classic.beating(x.group, 1, NOBODY)), ("LeaveGroup", classic.leaving(x.group, (NOBODY, None))),
                      ("LeaveGroup", classic.leaving(x.group, ("", "i")))):
        t.ask(body, api)
    describe(t, x.group)


@case(API)
def classic_member_joins_an_empty_group(t: Talk) -> None:
    """It converts back."""
    x = stable(t, group(t), one(t, 3))
    x.leave()
    m = classic.Member(t, x.group).join()
    m.sync({m.id: b"all"})
    t.note("generation", m.generation)
    describe(t, x.group)


def commits(t: Talk, x: Consumer, version: int, *ways: tuple[str, int]) -> None:
    """Commits by id and epoch in one version."""
    for member, epoch in ways:
        t.ask(committing(x.group, (one(t, 3), [offset()]), member=member, generation=epoch), "OffsetCommit", version)


for number in (7, 8, 9, 10):
    def commit(t: Talk, version: int = number) -> None:
        """As the member; of other epochs; as others."""
        x = stable(t, group(t), one(t, 3))
        x.beat(SubscribedTopicNames=[one(t, 3).name, "not-there"])
        settled(t, x)
        commits(t, x, version, (x.id, x.epoch), (x.id, x.epoch - 1), (x.id, x.epoch + 1), (x.id, -1), (x.id, 0), (NOBODY, x.epoch),
                (NOBODY, -1), ("", x.epoch), ("", -1), ("", -2))
        t.ask(reading(x.group, everything=True), "OffsetFetch")
        x.leave()
        commits(t, x, version, (x.id, x.epoch), ("", -1), (NOBODY, 1), ("", 1))
    add(API, f"offset-commit-v{number}", commit)
for number in (7, 8, 9, 10):
    def fetch(t: Talk, version: int = number) -> None:
        """As the member; of other epochs; as others."""
        x = stable(t, group(t), one(t, 3))
        x.beat(SubscribedTopicNames=[one(t, 3).name, "not-there"])
        settled(t, x)
        commits(t, x, 9, (x.id, x.epoch))
        for member, epoch in ((x.id, x.epoch), (x.id, x.epoch - 1), (x.id, x.epoch + 1), (x.id, -1), (x.id, 0), (NOBODY, x.epoch),
                              (NOBODY, -1), ("", x.epoch), ("", -1), (None, -1), (None, 5)):
            body = reading(x.group, (one(t, 3), [0, 1]))
            body["Groups"][0].update({"MemberId": member, "MemberEpoch": epoch})
            t.ask(body, "OffsetFetch", version)
    add(API, f"offset-fetch-v{number}", fetch)


@case(API)
def listed_and_described_by_others(t: Talk) -> None:
    """ListGroups by type and state, DescribeGroups."""
    stable(t, group(t, "stable"), one(t, 3))
    stable(t, group(t, "empty"), one(t, 3)).leave()
    stable(t, group(t, "reconciling"), one(t, 3))
    new(t, one(t, 3), suffix="reconciling", member="n", asked=False).join()
    classic.stable(t, group(t, "classic"))
    for states, types in (((), ()), ((), ("consumer",)), ((), ("Consumer",)), ((), ("classic",)), (("Stable",), ()), (("Empty",), ()),
                          (("Reconciling",), ()), (("Assigning",), ()), (("reconciling",), ("consumer",)), (("Stable",), ("consumer",))):
        answer = t.ask({"StatesFilter": list(states), "TypesFilter": list(types)}, "ListGroups")
        if answer:
            answer["Groups"] = [g for g in answer["Groups"] if g["GroupId"].startswith(f"{t.prefix}.")]
    for version in (5, 6):
        t.ask({"Groups": [group(t, x) for x in ("stable", "empty", "reconciling")]}, "DescribeGroups", version)


@case(API)
def deletion(t: Talk) -> None:
    """Not while there are members."""
    x = stable(t, group(t), one(t, 3))
    t.ask({"GroupsNames": [x.group]}, "DeleteGroups")
    describe(t, x.group)
    x.leave()
    t.ask({"GroupsNames": [x.group]}, "DeleteGroups")
    describe(t, x.group)
    t.ask({"GroupsNames": [x.group]}, "DeleteGroups")


@case(API)
def deletion_of_offsets(t: Talk) -> None:
    """Not of a topic that somebody reads."""
    first, second = one(t, 3), one(t, 1)
    x = stable(t, group(t), first)
    for topic in (first, second):
        t.setup("OffsetCommit", committing(x.group, (topic, [offset()]), member=x.id, generation=x.epoch))
    body = {"GroupId": x.group, "Topics": [{"Name": n.name, "Partitions": [{"PartitionIndex": 0}]} for n in (first, second)]}
    t.ask(body, "OffsetDelete")
    t.ask(reading(x.group, everything=True), "OffsetFetch")
    x.leave()
    t.ask(body, "OffsetDelete")
    t.ask(reading(x.group, everything=True), "OffsetFetch")
