"""confluent-kafka, on librdkafka."""

import time
from contextlib import contextmanager

import confluent_kafka as ck
from confluent_kafka import admin as ca

import driver
import held
import transactions
from checks import PATIENCE_S, check, now_ms
from driver import Arrival, Refused


@contextmanager
def refusing():
    try:
        yield
    except ck.KafkaException as error:
        raise Refused(error.args[0].code(), error.args[0].str()) from error


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
        messages = self.consumer.consume(1, seconds)
        # What is there already, without waiting for more.
        messages += self.consumer.consume(500, 0) if messages else []
        for message in messages:
            if message.error():
                raise Refused(message.error().code(), message.error().str())
        return [
            Arrival(m.value(), m.key(), m.timestamp()[1], m.headers() or [], m.partition(), m.offset(), now_ms())
            for m in messages
        ]


class Driver(driver.Driver):
    name = "confluent"
    own = held.SCENARIOS | transactions.SCENARIOS

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
