"""kafka-python."""

from contextlib import contextmanager

import kafka
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import BrokerResponseError
from kafka.structs import OffsetAndMetadata

import driver
import members
from checks import PATIENCE_S, now_ms
from driver import Arrival, Refused
from members import Committed

ASSIGNORS = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}


@contextmanager
def refusing():
    try:
        yield
    except BrokerResponseError as error:
        raise Refused(error.errno, str(error)) from error


def poll(consumer, seconds):
    with refusing():
        polled = consumer.poll(int(seconds * 1000))
    return [
        Arrival(r.value, r.key, r.timestamp, r.headers, r.partition, r.offset, now_ms())
        for records in polled.values()
        for r in records
    ]


def refuse_each(errors):
    """The client's error classes, of which one is no error."""
    for error in errors:
        if error.errno:
            raise Refused(error.errno, error.__name__)


def offsets_of(topic, offsets):
    return {kafka.TopicPartition(topic, p): OffsetAndMetadata(*committed, -1) for p, committed in offsets.items()}


class Reader(driver.Reader):
    def __init__(self, bootstrap, topic, partitions=1, start="earliest", committed=False, fetch_max=None, wait_ms=100):
        start, reset = start if isinstance(start, tuple) else (start, "none")
        limit = {"max_partition_fetch_bytes": fetch_max} if fetch_max else {}
        self.consumer = kafka.KafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            auto_offset_reset=reset,
            fetch_max_wait_ms=wait_ms,
            isolation_level="read_committed" if committed else "read_uncommitted",
            **limit,
        )
        assigned = [kafka.TopicPartition(topic, index) for index in range(partitions)]
        self.consumer.assign(assigned)
        if start == "earliest":
            self.consumer.seek_to_beginning(*assigned)
        elif start == "latest":
            self.consumer.seek_to_end(*assigned)
        else:
            self.consumer.seek(assigned[0], start)

    def close(self):
        self.consumer.close()

    def poll(self, seconds):
        return poll(self.consumer, seconds)


class Member(members.Member, kafka.ConsumerRebalanceListener):
    def __init__(self, bootstrap, topic, group, reset, instance, strategy, session_ms):
        super().__init__()
        self.topic = topic
        self.consumer = kafka.KafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            client_id=group,
            group_instance_id=instance,
            enable_auto_commit=False,
            auto_offset_reset=reset,
            partition_assignment_strategy=[ASSIGNORS[strategy]],
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=members.HEARTBEAT_MS,
            metadata_max_age_ms=members.METADATA_MS,
            fetch_max_wait_ms=100,
        )
        # Without a topic's metadata it assigns none of its partitions.
        self.consumer.partitions_for_topic(topic)
        self.consumer.subscribe([topic], listener=self)

    def on_partitions_assigned(self, assigned):
        self.gave(p.partition for p in assigned)

    def on_partitions_revoked(self, revoked):
        self.took(p.partition for p in revoked)

    def close(self):
        self.consumer.close()

    def poll(self, seconds):
        # kafka-python 3.0.12 may stay without partitions where a short poll ended while it joined.
        return poll(self.consumer, max(seconds, 0.2))

    def commit(self, offsets):
        with refusing():
            self.consumer.commit(offsets_of(self.topic, {p: Committed(offset) for p, offset in offsets.items()}))


class Transactional(driver.Transactional):
    def __init__(self, bootstrap, name, timeout_ms, codec):
        self.client = kafka.KafkaProducer(
            bootstrap_servers=bootstrap,
            transactional_id=name,
            transaction_timeout_ms=timeout_ms,
            compression_type=None if codec == "none" else codec,
            linger_ms=5,
            delivery_timeout_ms=PATIENCE_S * 1000,
            request_timeout_ms=PATIENCE_S * 500,
            max_block_ms=PATIENCE_S * 1000,
        )
        with refusing():
            self.client.init_transactions()

    def begin(self):
        with refusing():
            self.client.begin_transaction()

    def write(self, topic, records):
        with refusing():
            sent = [self.client.send(topic, r.value, r.key, r.headers, r.partition, r.timestamp) for r in records]
            for future in sent:
                future.get(PATIENCE_S)

    def offsets(self, group, topic, offset, member=None):
        who = member.consumer.group_metadata() if member else group
        with refusing():
            self.client.send_offsets_to_transaction(offsets_of(topic, {0: Committed(offset)}), who)

    def commit(self):
        with refusing():
            self.client.commit_transaction()

    def abort(self):
        with refusing():
            self.client.abort_transaction()

    def close(self):
        # A close that has time ends an open transaction.
        self.client.close(0)


class Driver(driver.Driver):
    name = "kafka_python"
    cannot = {"null header"}

    def __init__(self, bootstrap):
        super().__init__(bootstrap)
        self.admin = kafka.KafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=PATIENCE_S * 1000)

    def close(self):
        self.admin.close()

    def create(self, topic, partitions, configs):
        with refusing():
            self.admin.create_topics(
                {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": configs}}
            )

    def delete(self, topic):
        with refusing():
            self.admin.delete_topics([topic])

    def grow(self, topic, count):
        with refusing():
            self.admin.create_partitions({topic: count})

    def delete_records(self, topic, before):
        with refusing():
            self.admin.delete_records({kafka.TopicPartition(topic, 0): before})

    def topics(self):
        return self.admin.list_topics()

    def describe(self, topic):
        [found] = self.admin.describe_topics([topic])
        if found["error_code"]:
            raise Refused(found["error_code"])
        partitions = sorted(found["partitions"], key=lambda p: p["partition_index"])
        return [(p["leader_id"], p["replica_nodes"], p["isr_nodes"]) for p in partitions]

    def cluster(self):
        found = self.admin.describe_cluster()
        nodes = [(b["broker_id"], b["host"], b["port"]) for b in found["brokers"]]
        return found["cluster_id"], found["controller_id"], nodes

    def configs(self, topic):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = self.admin.describe_configs([resource], config_filter="all")["topic"][topic]
        sources = {"DYNAMIC_TOPIC_CONFIG": driver.DYNAMIC_TOPIC_CONFIG, "DEFAULT_CONFIG": driver.DEFAULT_CONFIG}
        return {name: (c["value"], sources.get(c["config_source"])) for name, c in found.items()}

    def alter(self, topic, configs, dropped):
        # Told to be incremental: it would choose so itself, and fall back silently.
        if configs:
            self._altered(self.admin.alter_configs, topic, configs)
        if dropped:
            self._altered(self.admin.reset_configs, topic, dropped)

    def _altered(self, change, topic, configs):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs)
        answer = change([resource], incremental=True)["topic"][topic]
        if answer != "OK":
            raise AssertionError(answer)

    def offset(self, topic, at):
        named = {"earliest": OffsetSpec.EARLIEST, "latest": OffsetSpec.LATEST, "max": OffsetSpec.MAX_TIMESTAMP}
        partition = kafka.TopicPartition(topic, 0)
        with refusing():
            found = self.admin.list_partition_offsets({partition: named.get(at, at)})[partition].offset
        return None if found < 0 else found

    def produce(
        self, topic, records, codec="none", acks="all", idempotent=False, one_batch=False, batch_max=None, request_max=None
    ):
        config = {"max_request_size": request_max} if request_max else {}
        if batch_max:
            # The client counts bytes; these records take about 20 each.
            config["batch_size"] = batch_max * 20
        producer = kafka.KafkaProducer(
            bootstrap_servers=self.bootstrap,
            compression_type=None if codec == "none" else codec,
            acks=acks if acks == "all" else int(acks),
            enable_idempotence=idempotent,
            linger_ms=300 if one_batch else 5,
            delivery_timeout_ms=PATIENCE_S * 1000,
            request_timeout_ms=PATIENCE_S * 500,
            **config,
        )
        try:
            sent = [producer.send(topic, r.value, r.key, r.headers, r.partition, r.timestamp) for r in records]
            return [self._outcome(future) for future in sent]
        finally:
            producer.close(PATIENCE_S)

    def _outcome(self, future):
        try:
            with refusing():
                return future.get(PATIENCE_S).offset
        except Refused as error:
            return error

    def reader(self, topic, **options):
        return Reader(self.bootstrap, topic, **options)

    def groups(self):
        return {g["group_id"] for g in self.admin.list_groups()}

    def describe_group(self, group):
        found = self.admin.describe_groups([group])[group]
        described = [members.Described(m["member_id"], m["client_id"], self._assigned(m)) for m in found["members"]]
        return members.Group(found["group_state"], found["protocol_data"], described)

    def _assigned(self, member):
        assignment = member["member_assignment"]
        return sorted(p for topic in assignment["assigned_partitions"] for p in topic["partitions"]) if assignment else []

    def delete_group(self, group):
        answer = self.admin.delete_groups([group])[group]
        if answer != "OK":
            refuse_each([getattr(kafka.errors, answer)])

    def offsets(self, group, topic):
        with refusing():
            found = self.admin.list_group_offsets(group)[group]
        return {p.partition: Committed(o.offset, o.metadata) for p, o in found.items() if p.topic == topic}

    def commit(self, group, topic, offsets):
        consumer = kafka.KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False)
        try:
            wanted = offsets_of(topic, offsets)
            consumer.assign(wanted)
            with refusing():
                consumer.commit(wanted)
        finally:
            consumer.close()

    def alter_offsets(self, group, topic, offsets):
        refuse_each(self.admin.alter_group_offsets(group, offsets_of(topic, offsets)).values())

    def commit_as(self, group, topic, offsets, member, generation):
        # The admin's own request, with what it says of the member changed.
        request = self.admin._alter_group_offsets_request(group, offsets_of(topic, offsets))
        request.member_id, request.generation_id_or_member_epoch = member, generation

        async def sent():
            coordinator = await self.admin._find_coordinator_id(group)
            return await self.admin._manager.send(request, node_id=coordinator)

        answer = self.admin._manager.run(sent)
        refuse_each(self.admin._alter_group_offsets_process_response(answer).values())

    def delete_offsets(self, group, topic, partitions):
        deleted = [kafka.TopicPartition(topic, p) for p in partitions]
        with refusing():
            refuse_each(self.admin.delete_group_offsets(group, deleted).values())

    def join(self, topic, group, reset="earliest", instance=None, strategy="range", session_ms=members.SESSION_MS):
        return Member(self.bootstrap, topic, group, reset, instance, strategy, session_ms)

    def producer(self, name, timeout_ms, codec):
        return Transactional(self.bootstrap, name, timeout_ms, codec)
