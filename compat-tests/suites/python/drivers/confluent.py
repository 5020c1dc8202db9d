"""confluent-kafka, on librdkafka."""

import logging
import time
from contextlib import contextmanager

import confluent_kafka as ck
from confluent_kafka import admin as ca

import commits
import consumer_protocol
import driver
import held
import members
import transactions
from checks import PATIENCE_S, check, now_ms
from driver import Arrival, Refused
from members import Committed


@contextmanager
def refusing():
    try:
        yield
    except ck.KafkaException as error:
        raise Refused(error.args[0].code(), error.args[0].str()) from error


def poll(consumer, seconds):
    messages = consumer.consume(1, seconds)
    # What is there already, without waiting for more.
    messages += consumer.consume(500, 0) if messages else []
    for message in messages:
        if message.error():
            raise Refused(message.error().code(), message.error().str())
    return [
        Arrival(m.value(), m.key(), m.timestamp()[1], m.headers() or [], m.partition(), m.offset(), now_ms())
        for m in messages
    ]


class Reader(driver.Reader):
    def __init__(self, bootstrap, topic, partitions=1, start="earliest", committed=False, fetch_max=None, wait_ms=100):
        start, reset = start if isinstance(start, tuple) else (start, "error")
        at = {"earliest": ck.OFFSET_BEGINNING, "latest": ck.OFFSET_END}.get(start, start)
        config = {
            "bootstrap.servers": bootstrap,
            # librdkafka wants a name even where no group is used.
            "group.id": "unused",
            "enable.auto.commit": False,
            "auto.offset.reset": reset,
            "check.crcs": True,
            # A reset of an offset is a warning.
            "log_level": 3,
            "fetch.wait.max.ms": wait_ms,
            "isolation.level": "read_committed" if committed else "read_uncommitted",
        }
        if fetch_max:
            config["max.partition.fetch.bytes"] = fetch_max
        self.consumer = ck.Consumer(config)
        self.partitions = [ck.TopicPartition(topic, index, at) for index in range(partitions)]
        # Who leads the topic: an assignment of what is not known yet waits half a second for its first offset.
        self.consumer.list_topics(topic, PATIENCE_S)
        self.consumer.assign(self.partitions)

    def close(self):
        self.consumer.close()

    def position(self):
        return self.consumer.position(self.partitions)[0].offset

    def poll(self, seconds):
        return poll(self.consumer, seconds)


class Member(members.Member):
    def __init__(self, bootstrap, topic, group, reset, instance, strategy, session_ms, consumer_protocol):
        super().__init__()
        classic = {
            "partition.assignment.strategy": strategy,
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": members.HEARTBEAT_MS,
        }
        config = ({"group.protocol": "consumer"} if consumer_protocol else classic) | {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "client.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": reset,
            "topic.metadata.refresh.interval.ms": members.METADATA_MS,
            "fetch.wait.max.ms": 100,
        } | ({"group.instance.id": instance} if instance else {})
        self.topic = topic
        # Its own way to log knows no silence: to be fenced is told at every level.
        self.consumer = ck.Consumer(config, logger=logging.getLogger())
        self.subscribe([topic])

    def subscribe(self, topics):
        self.consumer.subscribe(
            topics,
            on_assign=lambda _, given: self.gave(p.partition for p in given),
            on_revoke=lambda _, taken: self.took(p.partition for p in taken),
        )

    def assigned(self):
        return sorted((p.topic, p.partition) for p in self.consumer.assignment())

    def close(self):
        self.consumer.close()

    def poll(self, seconds):
        return poll(self.consumer, seconds)

    def commit(self, offsets):
        commit(self.consumer, self.topic, {p: Committed(offset) for p, offset in offsets.items()})

    def commit_position(self):
        with refusing():
            self.consumer.commit(asynchronous=False)


def partitions_of(topic, offsets):
    return [ck.TopicPartition(topic, p, committed.offset, committed.metadata) for p, committed in offsets.items()]


def refuse_each(partitions):
    for partition in partitions:
        if partition.error:
            raise Refused(partition.error.code(), partition.error.str())


def commit(consumer, topic, offsets):
    with refusing():
        refuse_each(consumer.commit(offsets=partitions_of(topic, offsets), asynchronous=False))


class Transactional(driver.Transactional):
    def __init__(self, bootstrap, name, timeout_ms, codec):
        self.bootstrap = bootstrap
        within = min(timeout_ms, PATIENCE_S * 1000)
        config = {
            "bootstrap.servers": bootstrap,
            "transactional.id": name,
            "transaction.timeout.ms": timeout_ms,
            # It takes none that are longer than the transaction's.
            "message.timeout.ms": within,
            "socket.timeout.ms": within,
            "compression.type": codec,
            "linger.ms": 5,
        }
        # Its own way to log knows no silence: to be fenced is told at every level.
        self.client = ck.Producer(config, logger=logging.getLogger())
        with transacting():
            self.client.init_transactions(PATIENCE_S)

    def begin(self):
        with transacting():
            self.client.begin_transaction()

    def write(self, topic, records):
        errors = []

        def delivered(error, _):
            if error:
                errors.append(error)

        for r in records:
            fields = {"partition": r.partition, "timestamp": r.timestamp or 0, "headers": r.headers}
            self.client.produce(topic, r.value, r.key, on_delivery=delivered, **fields)
        left = self.client.flush(PATIENCE_S)
        check(left == 0, f"{left} records without an outcome")
        for error in errors:
            raise Refused(code_of(error), error.str())

    def offsets(self, group, topic, offset, member=None):
        consumer = member.consumer if member else ck.Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        try:
            with transacting():
                offsets = [ck.TopicPartition(topic, 0, offset)]
                self.client.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), PATIENCE_S)
        finally:
            if not member:
                consumer.close()

    def commit(self):
        with transacting():
            self.client.commit_transaction(PATIENCE_S)

    def abort(self):
        with transacting():
            self.client.abort_transaction(PATIENCE_S)

    def close(self):
        # What is dropped ends no transaction.
        self.client = None


def code_of(error):
    """The broker's code: fenced is one of librdkafka's own."""
    return driver.PRODUCER_FENCED if error.code() == ck.KafkaError._FENCED else error.code()


@contextmanager
def transacting():
    try:
        yield
    except ck.KafkaException as error:
        raise Refused(code_of(error.args[0]), error.args[0].str()) from error


class Driver(driver.Driver):
    name = "confluent"
    own = held.SCENARIOS | commits.HELD | transactions.OWN
    by_consumer_protocol = consumer_protocol.SCENARIOS
    lacks = {
        "a commit by no member is refused": "librdkafka commits as the member that it is, or as none",
        "offsets of a group deleted": "confluent-kafka for Python has no DeleteConsumerGroupOffsets",
    }

    def __init__(self, bootstrap):
        super().__init__(bootstrap)
        self.admin = ca.AdminClient({"bootstrap.servers": bootstrap})

    def _asked(self, futures):
        """The one answer of an admin call."""
        [future] = futures.values() if isinstance(futures, dict) else [futures]
        with refusing():
            return future.result(PATIENCE_S)

    def create(self, topic, partitions, configs):
        self._asked(self.admin.create_topics([ca.NewTopic(topic, partitions, 1, config=configs)]))

    def delete(self, topic):
        self._asked(self.admin.delete_topics([topic]))

    def grow(self, topic, count):
        self._asked(self.admin.create_partitions([ca.NewPartitions(topic, count)]))

    def delete_records(self, topic, before):
        self._asked(self.admin.delete_records([ck.TopicPartition(topic, 0, before)]))

    def topics(self):
        return self.admin.list_topics(timeout=PATIENCE_S).topics.keys()

    def describe(self, topic):
        description = self._asked(self.admin.describe_topics(ck.TopicCollection([topic])))
        return [(p.leader.id, [n.id for n in p.replicas], [n.id for n in p.isr]) for p in description.partitions]

    def cluster(self):
        found = self._asked(self.admin.describe_cluster())
        return found.cluster_id, found.controller.id, [(n.id, n.host, n.port) for n in found.nodes]

    def configs(self, topic):
        found = self._asked(self.admin.describe_configs([ca.ConfigResource(ca.ResourceType.TOPIC, topic)]))
        return {name: (entry.value, entry.source) for name, entry in found.items()}

    def alter(self, topic, configs, dropped):
        entries = [
            ca.ConfigEntry(name, value, incremental_operation=ca.AlterConfigOpType.SET)
            for name, value in configs.items()
        ] + [ca.ConfigEntry(name, None, incremental_operation=ca.AlterConfigOpType.DELETE) for name in dropped]
        resource = ca.ConfigResource(ca.ResourceType.TOPIC, topic, incremental_configs=entries)
        self._asked(self.admin.incremental_alter_configs([resource]))

    def offset(self, topic, at):
        named = {"earliest": ca.OffsetSpec.earliest, "latest": ca.OffsetSpec.latest, "max": ca.OffsetSpec.max_timestamp}
        spec = named[at]() if at in named else ca.OffsetSpec.for_timestamp(at)
        found = self._asked(self.admin.list_offsets({ck.TopicPartition(topic, 0): spec})).offset
        return None if found < 0 else found

    def produce(
        self, topic, records, codec="none", acks="all", idempotent=False, one_batch=False, batch_max=None, request_max=None
    ):
        config = {
            "bootstrap.servers": self.bootstrap,
            "message.timeout.ms": PATIENCE_S * 1000,
            "linger.ms": 300 if one_batch else 5,
            "compression.type": codec,
            "acks": acks,
            "enable.idempotence": idempotent,
        }
        if batch_max:
            config["batch.num.messages"] = batch_max
        if request_max:
            config["message.max.bytes"] = request_max
        producer = ck.Producer(config)
        outcomes = [None] * len(records)

        def delivered(index):
            def store(error, message):
                outcomes[index] = Refused(error.code(), error.str()) if error else message.offset()

            return store

        for index, r in enumerate(records):
            producer.produce(
                topic,
                r.value,
                r.key,
                partition=r.partition,
                timestamp=r.timestamp or 0,
                headers=r.headers,
                on_delivery=delivered(index),
            )
        if one_batch:
            # A flush would end the linger.
            deadline = time.monotonic() + PATIENCE_S
            while None in outcomes and time.monotonic() < deadline:
                producer.poll(0.05)
        left = producer.flush(PATIENCE_S)
        check(left == 0, f"{left} records without an outcome")
        return outcomes

    def reader(self, topic, **options):
        return Reader(self.bootstrap, topic, **options)

    def groups(self):
        return {g.group_id for g in self._asked(self.admin.list_consumer_groups()).valid}

    def describe_group(self, group):
        found = self._asked(self.admin.describe_consumer_groups([group]))
        described = [
            members.Described(m.member_id, m.client_id, sorted(p.partition for p in m.assignment.topic_partitions))
            for m in found.members
        ]
        return members.Group(found.state.name.capitalize(), found.partition_assignor, described)

    def delete_group(self, group):
        self._asked(self.admin.delete_consumer_groups([group]))

    def offsets(self, group, topic):
        found = self._asked(self.admin.list_consumer_group_offsets([ck.ConsumerGroupTopicPartitions(group)]))
        refuse_each(found.topic_partitions)
        return {
            p.partition: Committed(p.offset, p.metadata or "")
            for p in found.topic_partitions
            if p.topic == topic and p.offset >= 0
        }

    def commit(self, group, topic, offsets):
        consumer = ck.Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "enable.auto.commit": False})
        try:
            commit(consumer, topic, offsets)
        finally:
            consumer.close()

    def alter_offsets(self, group, topic, offsets):
        wanted = ck.ConsumerGroupTopicPartitions(group, partitions_of(topic, offsets))
        refuse_each(self._asked(self.admin.alter_consumer_group_offsets([wanted])).topic_partitions)

    def join(self, topic, group, reset="earliest", instance=None, strategy="range", session_ms=members.SESSION_MS):
        return Member(self.bootstrap, topic, group, reset, instance, strategy, session_ms, self.consumer_protocol)

    def producer(self, name, timeout_ms, codec):
        return Transactional(self.bootstrap, name, timeout_ms, codec)
