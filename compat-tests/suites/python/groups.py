"""Groups: who has which partitions, and what the broker says of them."""

import time

from checks import check, equal, equal_lists, wait_until
from driver import FENCED_INSTANCE_ID, GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP, Record, refused
from members import Committed, gather, settle, sharing

PARTITIONS = 4
# A session of 6 s, whose last heartbeat was moments before, ends no sooner; and not much later.
SURVIVES_S = 3
DIES_S = 12


def spread(count, partitions=PARTITIONS):
    """`count` records for each partition."""
    return [Record(b"%d of %d" % (i, p), partition=p) for p in range(partitions) for i in range(count)]


def places(arrivals):
    return sorted((a.partition, a.offset) for a in arrivals)


def continues(driver):
    topic, group = driver.new_topic(2), driver.new_name()
    driver.write(topic, spread(10, 2))
    with driver.join(topic, group) as first:
        equal_lists("read by the first", places(first.take(20)), [(p, i) for p in range(2) for i in range(10)])
        first.commit({0: 10, 1: 10})
    equal("committed", driver.offsets(group, topic), {0: Committed(10), 1: Committed(10)})
    driver.write(topic, spread(3, 2))
    with driver.join(topic, group) as second:
        equal_lists("read by the second", places(second.take(6)), [(p, i) for p in range(2) for i in range(10, 13)])


def share(driver):
    topic, group = driver.new_topic(PARTITIONS), driver.new_name()
    with sharing(driver, topic, group, PARTITIONS) as members:
        driver.write(topic, spread(25))
        found = [m.take(50) for m in members]
        for member, arrivals in zip(members, found):
            of_its_own = [(p, i) for p in sorted(member.partitions) for i in range(25)]
            equal_lists(f"read by the member with {member.partitions}", places(arrivals), of_its_own)
            equal_lists("read besides", member.gather(), [])


def leaves(driver):
    topic, group = driver.new_topic(PARTITIONS), driver.new_name()
    with sharing(driver, topic, group, PARTITIONS) as (one, other):
        one.leave()
        settle([other], PARTITIONS)
        driver.write(topic, spread(1))
        equal_lists("read by who is left", places(other.take(PARTITIONS)), [(p, 0) for p in range(PARTITIONS)])


def dies(driver):
    topic, group = driver.new_topic(PARTITIONS), driver.new_name()
    doomed = driver.mortal(topic, group)
    try:
        with driver.join(topic, group) as heir:
            wait_until("two members share", lambda: gather([heir]) and len(heir.partitions) == PARTITIONS // 2)
            doomed.kill()
            died = time.monotonic()
            settle([heir], PARTITIONS, DIES_S)
            took = time.monotonic() - died
            check(took > SURVIVES_S, f"it was given up after {took:.1f} s, its session is 6 s")
            driver.write(topic, spread(1))
            equal_lists("read by the heir", places(heir.take(PARTITIONS)), [(p, 0) for p in range(PARTITIONS)])
    finally:
        doomed.kill()


def static_comes_back(driver):
    topic, group = driver.new_topic(PARTITIONS), driver.new_name()
    with driver.join(topic, group, instance="one") as one, driver.join(topic, group, instance="other") as other:
        settle([one, other], PARTITIONS)
        had, given, taken = one.partitions, list(other.given), list(other.taken)
        one.leave()
        with driver.join(topic, group, instance="one") as again:
            wait_until(f"it has {had} again", lambda: gather([again, other]) and again.partitions == had)
            # A rebalance would have waited for the other member, which would have been told.
            equal("rebalances of the other member", (other.given, other.taken), (given, taken))
            driver.write(topic, spread(1))
            equal_lists("read", places(again.take(len(had))), [(p, 0) for p in sorted(had)])


def fenced(driver):
    topic, group = driver.new_topic(2), driver.new_name()
    with driver.join(topic, group, instance="same") as old:
        settle([old], 2)
        old.commit({0: 0})
        with driver.join(topic, group, instance="same") as new:
            settle([new], 2)
            refused("a commit of the member that was replaced", FENCED_INSTANCE_ID, lambda: old.commit({0: 1}))
            new.commit({1: 2})
    equal("committed", driver.offsets(group, topic), {0: Committed(0), 1: Committed(2)})


def cooperative(driver):
    topic, group = driver.new_topic(PARTITIONS), driver.new_name()
    how = {"strategy": "cooperative-sticky"}
    with driver.join(topic, group, **how) as one:
        settle([one], PARTITIONS)
        with driver.join(topic, group, **how) as other:
            settle([one, other], PARTITIONS)
            gone = sorted(other.partitions)
            equal("taken from the first member", [p for taken in one.taken for p in taken], gone)
        settle([one], PARTITIONS)
        equal("taken from it when the other left", [p for taken in one.taken for p in taken], gone)


def notices_partitions(driver):
    topic, group = driver.new_topic(2), driver.new_name()
    with driver.join(topic, group) as member:
        settle([member], 2)
        driver.grow(topic, PARTITIONS)
        settle([member], PARTITIONS)
        driver.write(topic, spread(1))
        equal_lists("read", places(member.take(PARTITIONS)), [(p, 0) for p in range(PARTITIONS)])


def described(driver):
    topic, group = driver.new_topic(PARTITIONS), driver.new_name()
    with sharing(driver, topic, group, PARTITIONS) as members:
        found = driver.describe_group(group)
        equal("state and protocol", (found.state, found.protocol), ("Stable", driver.strategy))
        parts = sorted(sorted(m.partitions) for m in members)
        equal("partitions of the members", sorted(m.partitions for m in found.members), parts)
        equal("client ids", {m.client_id for m in found.members}, {group})
        equal("how many ids", len({m.id for m in found.members}), 2)
        check(group in driver.groups(), "it is not listed")
    found = emptied(driver, group)
    equal_lists("members when empty", found.members, [])
    check(group in driver.groups(), "it is not listed when empty")


def emptied(driver, group):
    """The group once its last member is gone."""
    return wait_until("it is empty", lambda: (found := driver.describe_group(group)).state == "Empty" and found)


def deleted(driver):
    topic, group = driver.new_topic(), driver.new_name()
    with driver.join(topic, group) as member:
        settle([member], 1)
        member.commit({0: 0})
        refused("deleting it with a member", NON_EMPTY_GROUP, lambda: driver.delete_group(group))
    emptied(driver, group)
    equal("committed before", driver.offsets(group, topic), {0: Committed(0)})
    driver.delete_group(group)
    check(group not in driver.groups(), "it is still listed")
    equal("committed after", driver.offsets(group, topic), {})
    refused("deleting it again", GROUP_ID_NOT_FOUND, lambda: driver.delete_group(group))


SCENARIOS = {
    "a group continues where it committed": continues,
    "two members share the partitions": share,
    "a member that leaves hands its partitions over": leaves,
    "a member that dies loses its partitions": dies,
    "a static member comes back without a rebalance": static_comes_back,
    "a replaced static member is fenced": fenced,
    "a cooperative rebalance takes only what moves": cooperative,
    "a group notices added partitions": notices_partitions,
    "group listed and described": described,
    "group deleted only when empty": deleted,
}
