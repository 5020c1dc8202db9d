"""Committed offsets: kept, replaced, refused, deleted."""

from checks import check, equal, equal_lists, wait_until
from driver import (
    GROUP_SUBSCRIBED_TO_TOPIC,
    ILLEGAL_GENERATION,
    OFFSET_METADATA_TOO_LARGE,
    UNKNOWN_MEMBER_ID,
    Record,
    refused,
)
from groups import emptied
from held import HOUR_MS
from members import Committed, settle
from produce import values

# Kafka's offset.metadata.max.bytes is 4096, and it counts characters; confluent-kafka sends the end of its string as one more.
METADATA_MAX = 4_095
TOO_LONG = 4_097


def metadata(driver):
    topic, group = driver.new_topic(), driver.new_name()
    for committed in [Committed(5, "where I was: Zürich"), Committed(3), Committed(3, "ü" * METADATA_MAX)]:
        driver.commit(group, topic, {0: committed})
        equal("committed", driver.offsets(group, topic), {0: committed})
    too_long = {0: Committed(4, "x" * TOO_LONG)}
    refused("longer metadata", OFFSET_METADATA_TOO_LARGE, lambda: driver.commit(group, topic, too_long))
    equal("committed after it", driver.offsets(group, topic), {0: committed})


def never_committed(driver):
    topic = driver.new_topic()
    early, late = driver.new_name(), driver.new_name()
    driver.write(topic, values(5))
    with driver.join(topic, early, reset="earliest") as member:
        equal_lists("values from the earliest", [a.value for a in member.take(5)], values(5))
    with driver.join(topic, late, reset="latest") as member:
        settle([member], 1)
        found = first_new(driver, topic, member)
    check(found.offset >= 5, f"the latest gave offset {found.offset}, older than the member")
    for group in early, late:
        equal("committed", driver.offsets(group, topic), {})


def first_new(driver, topic, member):
    """A record that was written after the member took its place, whenever that is: it is told by no client."""

    def written():
        driver.write(topic, [b"new"])
        return member.poll(0.3)

    return wait_until("one of the new records is read", written)[0]


def without_subscription(driver):
    topic, group = driver.new_topic(3), driver.new_name()
    driver.write(topic, [Record(value, partition=2) for value in values(9)])
    driver.commit(group, topic, {0: Committed(0), 2: Committed(7)})
    equal("committed", driver.offsets(group, topic), {0: Committed(0), 2: Committed(7)})
    driver.commit(group, topic, {2: Committed(4)})
    equal("committed then", driver.offsets(group, topic), {0: Committed(0), 2: Committed(4)})
    found = driver.describe_group(group)
    equal("state and members", (found.state, found.members), ("Empty", []))
    with driver.join(topic, group) as member:
        equal_lists("offsets read", [a.offset for a in member.take(5)], list(range(4, 9)))


def by_no_member(driver):
    topic, group = driver.new_topic(), driver.new_name()
    with driver.join(topic, group) as member:
        settle([member], 1)
        member.commit({0: 3})
        [described] = driver.describe_group(group).members
        for what, code, member_id, generation in [
            ("an unknown member", UNKNOWN_MEMBER_ID, "nobody", 1),
            ("a generation that is over", ILLEGAL_GENERATION, described.id, 0),
            ("nobody in a group with members", UNKNOWN_MEMBER_ID, "", -1),
        ]:
            refused(what, code, lambda: driver.commit_as(group, topic, {0: Committed(7)}, member_id, generation))
    equal("committed", driver.offsets(group, topic), {0: Committed(3)})


def altered(driver):
    topic, group = driver.new_topic(), driver.new_name()
    driver.write(topic, values(10))
    with driver.join(topic, group) as member:
        member.take(10)
        member.commit({0: 10})
        if "alter a group with members" not in driver.cannot:
            to_4 = {0: Committed(4)}
            refused("altering it with a member", UNKNOWN_MEMBER_ID, lambda: driver.alter_offsets(group, topic, to_4))
    emptied(driver, group)
    equal("committed", driver.offsets(group, topic), {0: Committed(10)})
    driver.alter_offsets(group, topic, {0: Committed(6)})
    equal("altered", driver.offsets(group, topic), {0: Committed(6)})
    with driver.join(topic, group) as member:
        equal_lists("offsets read", [a.offset for a in member.take(4)], list(range(6, 10)))


def deleted(driver):
    topic, group = driver.new_topic(2), driver.new_name()
    with driver.join(topic, group) as member:
        settle([member], 2)
        member.commit({0: 1, 1: 2})
        subscribed = "deleting what a member is subscribed to"
        refused(subscribed, GROUP_SUBSCRIBED_TO_TOPIC, lambda: driver.delete_offsets(group, topic, [0]))
    emptied(driver, group)
    equal("committed", driver.offsets(group, topic), {0: Committed(1), 1: Committed(2)})
    driver.delete_offsets(group, topic, [0])
    equal("what is left", driver.offsets(group, topic), {1: Committed(2)})


def no_lag(driver):
    topic, group = driver.new_topic(), driver.new_name()
    far = [("chronos-deliver-after", b"%d" % HOUR_MS)]
    with driver.join(topic, group) as member:

        def lag_after(count):
            equal_lists("values", [a.value for a in member.take(count)], [b"plain"] * count)
            member.gather()
            member.commit_position()
            return driver.offset(topic, "latest") - driver.offsets(group, topic)[0].offset

        driver.write(topic, [Record(b"plain")] * 5 + [Record(b"held", headers=far)] * 3)
        equal("lag", lag_after(5), 0)
        equal("offset after the held records", driver.write(topic, [b"plain"]), [8])
        equal("lag after another record", lag_after(1), 0)


SCENARIOS = {
    "a commit's metadata comes back": metadata,
    "a group without commits starts where its reset says": never_committed,
    "offsets committed without a subscription": without_subscription,
    "a commit by no member is refused": by_no_member,
    "offsets of an empty group altered": altered,
    "offsets of a group deleted": deleted,
}
# Of those that have the other scenarios about held records, too.
HELD = {"a held record is no lag of a group": no_lag}
