"""Groups whose partitions the broker assigns (KIP-848): what is asked of every group, and subscriptions that change."""

import groups
from checks import PATIENCE_S, equal, wait_until
from driver import UNKNOWN_TOPIC_OR_PARTITION, Refused
from members import gather

AREA = "consumer-protocol "
OF_EVERY_GROUP = [
    "a group continues where it committed",
    "two members share the partitions",
    "a member that leaves hands its partitions over",
    "a static member comes back without a rebalance",
    "a group notices added partitions",
]


def by_consumer_protocol(scenario):
    def run(driver):
        driver.consumer_protocol = True
        try:
            scenario(driver)
        finally:
            driver.consumer_protocol = False

    return run


def has(member, *topics):
    wanted = sorted((topic, 0) for topic in topics)
    try:
        wait_until(f"the member has {wanted}", lambda: gather([member]) and member.assigned() == wanted, 2 * PATIENCE_S)
    except AssertionError as error:
        raise AssertionError(f"{error}, it has {member.assigned()}") from None


def gathers_unless_gone(member):
    """librdkafka tells of a topic that is gone before the group takes it away."""
    try:
        return gather([member])
    except Refused as error:
        equal("error of a topic that is gone", error.code, UNKNOWN_TOPIC_OR_PARTITION)
        return True


def pattern(driver):
    prefix = driver.new_name()
    one, two = f"{prefix}-one", f"{prefix}-two"
    driver.create_and_wait(one)
    driver.create_and_wait(f"not-{prefix}")
    with driver.join(f"^{prefix}-.*", driver.new_name()) as member:
        has(member, one)
        driver.create_and_wait(two)
        has(member, one, two)


def changes(driver):
    topic, following = driver.new_topic(), driver.new_topic()
    with driver.join(topic, driver.new_name()) as member:
        has(member, topic)
        member.subscribe([topic, following])
        has(member, topic, following)
        member.subscribe([following])
        has(member, following)
        member.consumer.unsubscribe()
        has(member)
        member.subscribe([topic])
        has(member, topic)


def deleted(driver):
    topic, doomed = driver.new_topic(), driver.new_topic()
    with driver.join(topic, driver.new_name()) as member:
        member.subscribe([topic, doomed])
        has(member, topic, doomed)
        driver.delete(doomed)
        wait_until("the other topic alone is assigned", lambda: gathers_unless_gone(member) and member.assigned() == [(topic, 0)])


SCENARIOS = {
    AREA + name: by_consumer_protocol(scenario)
    for name, scenario in [
        *((name, groups.SCENARIOS[name]) for name in OF_EVERY_GROUP),
        ("a regular expression finds topics", pattern),
        ("a subscription changes", changes),
        ("a deleted topic is given up", deleted),
    ]
}
