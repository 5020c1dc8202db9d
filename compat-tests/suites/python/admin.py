"""Topics, their configs and the cluster, and errors."""

import time

from checks import check, equal, equal_lists, wait_until
from driver import (
    DEFAULT_CONFIG,
    DYNAMIC_TOPIC_CONFIG,
    INVALID_CONFIG,
    INVALID_PARTITIONS,
    INVALID_TOPIC_EXCEPTION,
    TOPIC_ALREADY_EXISTS,
    UNKNOWN_TOPIC_OR_PARTITION,
    Record,
    refused,
)


def created(driver):
    topic = driver.new_topic(3, {"retention.ms": "7200000", "message.timestamp.type": "LogAppendTime"})
    configs = driver.configs(topic)
    equal("retention.ms", configs["retention.ms"], ("7200000", DYNAMIC_TOPIC_CONFIG))
    equal("message.timestamp.type", configs["message.timestamp.type"], ("LogAppendTime", DYNAMIC_TOPIC_CONFIG))


def creation_refused(driver):
    topic = driver.new_topic()
    other = driver.new_name()
    refused("creating it again", TOPIC_ALREADY_EXISTS, lambda: driver.create(topic, 1, {}))
    refused("a bad name", INVALID_TOPIC_EXCEPTION, lambda: driver.create("no spaces!", 1, {}))
    refused("an unknown config", INVALID_CONFIG, lambda: driver.create(other, 1, {"no.such.config": "1"}))
    refused("a bad value", INVALID_CONFIG, lambda: driver.create(other, 1, {"retention.ms": "soon"}))
    check(other not in driver.topics(), "a refused topic was created")


def grown(driver):
    topic = driver.new_topic(3)
    driver.write(topic, [b"before"])
    driver.grow(topic, 5)
    wait_until("5 partitions", lambda: driver.partitions(topic) == 5)
    equal("offset", driver.write(topic, [Record(b"after", partition=4)]), [0])
    with driver.reader(topic, partitions=5) as reader:
        found = {(a.partition, a.value) for a in reader.take(2)}
    equal("records", found, {(0, b"before"), (4, b"after")})
    refused("2 partitions", INVALID_PARTITIONS, lambda: driver.grow(topic, 2))
    refused("as many partitions", INVALID_PARTITIONS, lambda: driver.grow(topic, 5))


def created_again(driver):
    topic = driver.new_topic()
    driver.write(topic, [b"old"])
    driver.delete(topic)
    wait_until("the topic is gone", lambda: topic not in driver.topics())
    driver.create_and_wait(topic)
    equal("end", driver.offset(topic, "latest"), 0)
    equal("offset", driver.write(topic, [b"new"]), [0])
    equal_lists("values", [a.value for a in driver.read_all(topic)], [b"new"])


def described(driver):
    topic = driver.new_topic(3)
    cluster_id, controller, nodes = driver.cluster()
    check(cluster_id or "cluster id" in driver.cannot, "no cluster id")
    [(node, host, port)] = nodes
    equal("address", f"{host}:{port}", driver.bootstrap)
    equal("controller", controller, node)
    check(topic in driver.topics(), "it is not listed")
    equal_lists("partitions", driver.describe(topic), [(node, [node], [node])] * 3)


def configs_described(driver):
    topic = driver.new_topic(1, {"retention.ms": "7200000"})
    expected = {
        "retention.ms": ("7200000", DYNAMIC_TOPIC_CONFIG),
        "max.message.bytes": ("1048588", DEFAULT_CONFIG),
        "cleanup.policy": ("delete", DEFAULT_CONFIG),
        "compression.type": ("producer", DEFAULT_CONFIG),
        "message.timestamp.type": ("CreateTime", DEFAULT_CONFIG),
        "segment.bytes": ("1073741824", DEFAULT_CONFIG),
    }
    configs = driver.configs(topic)
    for name, value in expected.items():
        equal(name, configs.get(name), value)


def config_altered(driver):
    topic = driver.new_topic(1, {"message.timestamp.type": "LogAppendTime"})
    kept = ("LogAppendTime", DYNAMIC_TOPIC_CONFIG)
    for change, dropped, value in [
        ({"retention.ms": "3600000"}, [], ("3600000", DYNAMIC_TOPIC_CONFIG)),
        ({}, ["retention.ms"], ("604800000", DEFAULT_CONFIG)),
    ]:
        driver.alter(topic, {"message.timestamp.type": "LogAppendTime"} | change, dropped)
        wait_until(f"retention.ms is {value}", lambda: driver.configs(topic)["retention.ms"] == value)
        equal("the other config", driver.configs(topic)["message.timestamp.type"], kept)


def unknown_topic(driver):
    topic = driver.new_name()
    refused("describing it", UNKNOWN_TOPIC_OR_PARTITION, lambda: driver.describe(topic))
    time.sleep(0.1)
    check(topic not in driver.topics(), "asking created it")


SCENARIOS = {
    "topic created with partitions and configs": created,
    "topic creation refused": creation_refused,
    "partitions grow and never shrink": grown,
    "topic deleted and created again": created_again,
    "cluster and topic described": described,
    "configs described": configs_described,
    "config altered": config_altered,
    "unknown topic is told": unknown_topic,
}
