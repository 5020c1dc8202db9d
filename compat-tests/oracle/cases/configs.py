"""DescribeConfigs 1-4, AlterConfigs 0-2, IncrementalAlterConfigs 0-1, ListConfigResources 0-1."""

from __future__ import annotations

from typing import Any

from cases import add, case, simple, spoiled
from talk import Talk, Topic

SHOW, SET, CHANGE, LIST = "DescribeConfigs", "AlterConfigs", "IncrementalAlterConfigs", "ListConfigResources"
TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32


def show(kind: int, name: str, keys: list[str] | None = None, synonyms: bool = False, docs: bool = False) -> dict[str, Any]:
    """One resource."""
    return {"IncludeSynonyms": synonyms, "IncludeDocumentation": docs,
            "Resources": [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys}]}


def plain(t: Talk) -> Topic:
    """A topic without settings."""
    return t.shared("plain", lambda t, name: t.topic(whole_name=name))


def tuned(t: Talk) -> Topic:
    """A topic with settings."""
    return t.shared("tuned", lambda t, name: t.topic(whole_name=name, message_timestamp_before_max_ms="1000", max_message_bytes="5000"))


simple(SHOW, "topic-all", lambda t: show(TOPIC, plain(t).name))
simple(SHOW, "topic-all-with-synonyms", lambda t: show(TOPIC, plain(t).name, synonyms=True))
simple(SHOW, "topic-all-with-documentation", lambda t: show(TOPIC, plain(t).name, docs=True))
simple(SHOW, "topic-tuned", lambda t: show(TOPIC, tuned(t).name))
simple(SHOW, "topic-tuned-with-synonyms", lambda t: show(TOPIC, tuned(t).name, ["message.timestamp.before.max.ms", "max.message.bytes"], synonyms=True))
simple(SHOW, "topic-some-keys", lambda t: show(TOPIC, plain(t).name, ["retention.ms", "cleanup.policy"]))
simple(SHOW, "topic-unknown-key", lambda t: show(TOPIC, plain(t).name, ["no.such.key"]))
simple(SHOW, "topic-no-keys", lambda t: show(TOPIC, plain(t).name, []))
simple(SHOW, "topic-key-twice", lambda t: show(TOPIC, plain(t).name, ["retention.ms", "retention.ms"]))
simple(SHOW, "topic-unknown", lambda t: show(TOPIC, "missing-topic"))
simple(SHOW, "topic-invalid-name", lambda t: show(TOPIC, "a b"))
simple(SHOW, "topic-empty-name", lambda t: show(TOPIC, ""))
simple(SHOW, "topic-known-and-unknown", lambda t: {"Resources": [
    show(TOPIC, n, ["retention.ms"])["Resources"][0] for n in (plain(t).name, "missing-topic")]})
simple(SHOW, "topic-twice", lambda t: {"Resources": [show(TOPIC, plain(t).name, ["retention.ms"])["Resources"][0]] * 2})
for key in ("num.partitions", "message.max.bytes", "auto.create.topics.enable", "default.replication.factor", "log.retention.ms",
            "log.retention.hours", "node.id", "broker.id", "compression.type", "min.insync.replicas", "delete.topic.enable",
            "log.message.timestamp.type", "log.segment.bytes", "socket.request.max.bytes", "max.connections"):
    simple(SHOW, f"broker-{key.replace('.', '-')}", lambda t, k=key: show(BROKER, "1", [k], synonyms=True))
simple(SHOW, "broker-default", lambda t: show(BROKER, "", ["num.partitions"]))
simple(SHOW, "broker-unknown", lambda t: show(BROKER, "9", ["num.partitions"]))
simple(SHOW, "broker-not-a-number", lambda t: show(BROKER, "x", ["num.partitions"]))
simple(SHOW, "logger-unknown-key", lambda t: show(LOGGER, "1", ["no.such.logger"]))
simple(SHOW, "logger-not-a-number", lambda t: show(LOGGER, "x"))
simple(SHOW, "logger-unknown-broker", lambda t: show(LOGGER, "9"))
simple(SHOW, "logger-empty-name", lambda t: show(LOGGER, ""))
simple(SHOW, "metrics-unknown", lambda t: show(METRICS, "no-such-subscription"))
simple(SHOW, "metrics-empty-name", lambda t: show(METRICS, ""))
simple(SHOW, "group", lambda t: show(GROUP, "some-group", synonyms=True))
simple(SHOW, "group-empty-name", lambda t: show(GROUP, ""))
for number in (0, 1, 3, 64, -1):
    simple(SHOW, f"type-{number}", lambda t, n=number: show(n, "x"))
simple(SHOW, "nothing", lambda t: {"Resources": []})
spoiled(SHOW, lambda t: show(TOPIC, "missing-topic"))


def setting(kind: int, name: str, *pairs: tuple[str, str | None], validate: bool = False) -> dict[str, Any]:
    """AlterConfigs: the whole set."""
    return {"ValidateOnly": validate, "Resources": [{
        "ResourceType": kind, "ResourceName": name, "Configs": [{"Name": k, "Value": v} for k, v in pairs]}]}


def change(kind: int, name: str, *steps: tuple[str, int, str | None], validate: bool = False) -> dict[str, Any]:
    """IncrementalAlterConfigs: 0 set, 1 delete, 2 append, 3 subtract."""
    return {"ValidateOnly": validate, "Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": [
        {"Name": k, "ConfigOperation": o, "Value": v} for k, o, v in steps]}]}


NUMBER = "message.timestamp.before.max.ms"  # any setting that is a number and that both brokers have
WATCHED = [NUMBER, "cleanup.policy", "segment.bytes"]


def settle(t: Talk, name: str) -> None:
    """What is set afterwards, once a last change of something else shows that all before is known."""
    t.setup(CHANGE, change(TOPIC, name, ("max.message.bytes", 0, "777777")))
    for _ in range(500):
        seen = t.setup(SHOW, show(TOPIC, name, ["max.message.bytes"]))["Results"][0]
        if any(c["Value"] == "777777" for c in seen.get("Configs", [])):
            break
    t.ask(show(TOPIC, name, WATCHED), SHOW, label="then")


def altered(api: str, label: str, make: Any, alone: bool = False) -> None:
    """A case: a change of a topic that has NUMBER=1000 and max.message.bytes=5000, and what is set then."""
    def run(t: Talk) -> None:
        topic = t.topic(message_timestamp_before_max_ms="1000", max_message_bytes="5000")
        t.ask(make(topic.name))
        settle(t, topic.name)
    add(api, label, run, alone=alone)


def topic_set(label: str, *pairs: tuple[str, str | None], validate: bool = False) -> None:
    """AlterConfigs of a topic."""
    altered(SET, label, lambda n: setting(TOPIC, n, *pairs, validate=validate))


topic_set("replaces-all", (NUMBER, "2000"))
topic_set("empties", validate=False)
topic_set("validate-only", (NUMBER, "2000"), validate=True)
topic_set("unknown-key", ("no.such.key", "1"))
topic_set("bad-value", (NUMBER, "soon"))
topic_set("null-value", (NUMBER, None))
topic_set("key-twice", (NUMBER, "1"), (NUMBER, "2"))
topic_set("empty-key", ("", "2"))
topic_set("good-and-bad", (NUMBER, "2000"), ("cleanup.policy", "burn"))


def topic_change(label: str, *steps: tuple[str, int, str | None], validate: bool = False, alone: bool = False) -> None:
    """IncrementalAlterConfigs of a topic."""
    altered(CHANGE, label, lambda n: change(TOPIC, n, *steps, validate=validate), alone)


topic_change("set", (NUMBER, 0, "2000"))
topic_change("set-validate-only", (NUMBER, 0, "2000"), validate=True)
topic_change("delete", (NUMBER, 1, None))
topic_change("delete-with-value", (NUMBER, 1, "5"))
topic_change("delete-unset", ("segment.bytes", 1, None))
topic_change("append-to-list", ("cleanup.policy", 2, "compact"))
topic_change("append-same", ("cleanup.policy", 2, "delete"))
topic_change("subtract-from-list", ("cleanup.policy", 3, "delete"))
topic_change("subtract-absent", ("cleanup.policy", 3, "compact"))
topic_change("append-to-number", (NUMBER, 2, "1"))
topic_change("subtract-from-number", (NUMBER, 3, "1"))
# Kafka's controller resigns over these, and is elected again after more than a second.
topic_change("operation-unknown", (NUMBER, 9, "1"), alone=True)
topic_change("operation-negative", (NUMBER, -1, "1"), alone=True)
topic_change("set-null", (NUMBER, 0, None))
topic_change("append-null", ("cleanup.policy", 2, None))
topic_change("set-unknown-key", ("no.such.key", 0, "1"))
topic_change("delete-unknown-key", ("no.such.key", 1, None))
topic_change("set-bad-value", (NUMBER, 0, "soon"))
topic_change("set-out-of-range", (NUMBER, 0, "-2"))
topic_change("same-key-twice", (NUMBER, 0, "1"), (NUMBER, 0, "2"))
topic_change("same-key-set-and-delete", (NUMBER, 0, "1"), (NUMBER, 1, None))
topic_change("good-and-bad", (NUMBER, 0, "2000"), ("cleanup.policy", 0, "burn"))
topic_change("no-steps")
topic_change("throttle-list", ("leader.replication.throttled.replicas", 2, "0:1"))

for api, make in ((SET, lambda k, n: setting(k, n, (NUMBER, "1"))), (CHANGE, lambda k, n: change(k, n, (NUMBER, 0, "1")))):
    simple(api, "topic-unknown", lambda t, m=make: m(TOPIC, "missing-topic"))
    simple(api, "topic-invalid-name", lambda t, m=make: m(TOPIC, "a b"))
    simple(api, "topic-empty-name", lambda t, m=make: m(TOPIC, ""))
    simple(api, "broker-unknown-key", lambda t, m=make: m(BROKER, "1"))
    simple(api, "broker-unknown", lambda t, m=make: m(BROKER, "9"))
    simple(api, "broker-not-a-number", lambda t, m=make: m(BROKER, "x"))
    simple(api, "metrics-bad-key", lambda t, m=make: m(METRICS, "sub"))
    simple(api, "group-bad-key", lambda t, m=make: m(GROUP, "some-group"))
    simple(api, "logger-unknown-key", lambda t, m=make: m(LOGGER, "1"))
    for number in (0, 1, 3, 64, -1):
        simple(api, f"type-{number}", lambda t, n=number, m=make: m(n, "x"))
    simple(api, "nothing", lambda t: {"Resources": []})
    spoiled(api, lambda t, m=make: m(TOPIC, "missing-topic"))


def twice(api: str, make: Any) -> None:
    """The same resource twice, and a good one beside a bad one."""
    def run(t: Talk) -> None:
        name = t.topic().name
        t.patience = 2.0  # Kafka's handler of AlterConfigs fails, and nobody answers
        t.reconnect()
        t.ask({"Resources": make(name)["Resources"] * 2})

    def mixed(t: Talk) -> None:
        t.ask({"Resources": make(t.topic().name)["Resources"] + make("missing-topic")["Resources"]})
    add(api, "same-resource-twice", run)
    add(api, "known-and-unknown-topic", mixed)


twice(SET, lambda n: setting(TOPIC, n, (NUMBER, "5")))
twice(CHANGE, lambda n: change(TOPIC, n, (NUMBER, 0, "5")))

simple(CHANGE, "broker-read-only-key", lambda t: change(BROKER, "1", ("node.id", 0, "5")))
simple(CHANGE, "broker-bad-value", lambda t: change(BROKER, "1", ("message.max.bytes", 0, "x")))
simple(CHANGE, "broker-validate-only", lambda t: change(BROKER, "1", ("message.max.bytes", 0, "2000000"), validate=True))
simple(CHANGE, "broker-default-validate-only", lambda t: change(BROKER, "", ("message.max.bytes", 0, "2000000"), validate=True))
simple(CHANGE, "logger-bad-level", lambda t: change(LOGGER, "1", ("root", 0, "LOUD")))
simple(CHANGE, "logger-append", lambda t: change(LOGGER, "1", ("root", 2, "INFO")))


@case(CHANGE, alone=True)
def group_settings(t: Talk) -> None:
    """Of one group, over the broker's; afterwards there are none, since others list them."""
    name, keys = t.name("g"), [f"consumer.{what}.ms" for what in ("session.timeout", "heartbeat.interval", "assignment.interval")]
    for key, value in (("consumer.session.timeout.ms", "50000"), ("consumer.session.timeout.ms", "5"), ("consumer.heartbeat.interval.ms", "16000"),
                       ("consumer.heartbeat.interval.ms", "soon"), ("consumer.assignment.interval.ms", "0"), ("no.such.key", "1")):
        t.ask(change(GROUP, name, (key, 0, value)))
    t.ask(show(GROUP, name, keys, synonyms=True), SHOW)
    t.ask({"ResourceTypes": [GROUP]}, LIST)
    t.ask(change(GROUP, "", (keys[0], 0, "50000")))
    for key in (keys[0], keys[2]):
        t.ask(change(GROUP, name, (key, 1, None)))
    t.ask({"ResourceTypes": [GROUP]}, LIST)


@case(LIST)
def topics_and_brokers(t: Talk) -> None:
    """The resources that have or could have settings; only those of this case, and no topics of others."""
    topic = t.topic()
    body = {"ResourceTypes": [TOPIC, BROKER, METRICS, GROUP]}
    answer = t.setup(LIST, body, t.version)
    t.note("error", answer["ErrorCode"])
    t.note("own", sorted((r["ResourceType"], r["ResourceName"]) for r in answer["ConfigResources"]
                         if r.get("ResourceType", METRICS) != TOPIC or r["ResourceName"] == topic.name))


simple(LIST, "brokers", lambda t: {"ResourceTypes": [BROKER]})
simple(LIST, "loggers", lambda t: {"ResourceTypes": [LOGGER]})
simple(LIST, "metrics", lambda t: {"ResourceTypes": [METRICS]})
simple(LIST, "groups", lambda t: {"ResourceTypes": [GROUP]})
for number in (0, 1, 3, 64, -1):
    simple(LIST, f"type-{number}", lambda t, n=number: {"ResourceTypes": [n]}, (1, 1))
spoiled(LIST, lambda t: {"ResourceTypes": [METRICS]})
