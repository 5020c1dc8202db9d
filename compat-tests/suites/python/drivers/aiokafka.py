"""aiokafka: its loop runs in a thread of its own, and each call waits for its answer."""

import asyncio
import threading
from contextlib import contextmanager

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import BrokerResponseError, CommitFailedError, ProducerFenced
from aiokafka.protocol.commit import OffsetCommitRequest

import driver
import members
from checks import PATIENCE_S, now_ms
from driver import Arrival, Refused
from members import Committed


@contextmanager
def refusing():
    try:
        yield
    except BrokerResponseError as error:
        raise Refused(error.errno, str(error)) from error
    except CommitFailedError as error:
        # It says no more than that the group does not take it.
        raise Refused(error.__cause__.errno, str(error)) from error


def refuse(code, text=""):
    if code:
        raise Refused(code, text)


async def poll(consumer, seconds):
    with refusing():
        polled = await consumer.getmany(timeout_ms=int(seconds * 1000))
    return [
        Arrival(r.value, r.key, r.timestamp, list(r.headers), r.partition, r.offset, now_ms())
        for records in polled.values()
        for r in records
    ]


async def commit(consumer, topic, offsets):
    with refusing():
        await consumer.commit({aiokafka.TopicPartition(topic, p): tuple(c) for p, c in offsets.items()})


class Reader(driver.Reader):
    def __init__(self, run, bootstrap, topic, partitions=1, start="earliest", committed=False, fetch_max=None, wait_ms=100):
        self.run = run
        self.run(self._start(bootstrap, topic, partitions, start, committed, fetch_max, wait_ms))

    async def _start(self, bootstrap, topic, partitions, start, committed, fetch_max, wait_ms):
        start, reset = start if isinstance(start, tuple) else (start, "none")
        limit = {"max_partition_fetch_bytes": fetch_max} if fetch_max else {}
        self.consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            auto_offset_reset=reset,
            fetch_max_wait_ms=wait_ms,
            isolation_level="read_committed" if committed else "read_uncommitted",
            **limit,
        )
        assigned = [aiokafka.TopicPartition(topic, index) for index in range(partitions)]
        await self.consumer.start()
        self.consumer.assign(assigned)
        if start == "earliest":
            await self.consumer.seek_to_beginning(*assigned)
        elif start == "latest":
            await self.consumer.seek_to_end(*assigned)
        else:
            self.consumer.seek(assigned[0], start)

    def close(self):
        self.run(self.consumer.stop())

    def poll(self, seconds):
        return self.run(poll(self.consumer, seconds))


class Member(members.Member, aiokafka.ConsumerRebalanceListener):
    def __init__(self, run, bootstrap, topic, group, reset, instance, session_ms):
        super().__init__()
        self.run, self.topic = run, topic
        self.run(self._start(bootstrap, group, reset, instance, session_ms))

    async def _start(self, bootstrap, group, reset, instance, session_ms):
        self.consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            group_id=group,
            client_id=group,
            group_instance_id=instance,
            enable_auto_commit=False,
            auto_offset_reset=reset,
            partition_assignment_strategy=[RangePartitionAssignor],
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=members.HEARTBEAT_MS,
            metadata_max_age_ms=members.METADATA_MS,
            fetch_max_wait_ms=100,
        )
        self.consumer.subscribe([self.topic], listener=self)
        await self.consumer.start()

    def on_partitions_assigned(self, assigned):
        self.gave(p.partition for p in assigned)

    def on_partitions_revoked(self, revoked):
        self.took(p.partition for p in revoked)

    def close(self):
        self.run(self.consumer.stop())

    def poll(self, seconds):
        return self.run(poll(self.consumer, seconds))

    def commit(self, offsets):
        self.run(commit(self.consumer, self.topic, {p: Committed(offset) for p, offset in offsets.items()}))


@contextmanager
def transacting():
    with refusing():
        try:
            yield
        except ProducerFenced as error:
            # What it makes of INVALID_PRODUCER_EPOCH.
            raise Refused(driver.INVALID_PRODUCER_EPOCH, str(error)) from error


class Transactional(driver.Transactional):
    def __init__(self, run, bootstrap, name, timeout_ms, codec):
        self.run = run
        self._do(self._start(bootstrap, name, timeout_ms, codec))

    async def _start(self, bootstrap, name, timeout_ms, codec):
        self.client = aiokafka.AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            transactional_id=name,
            transaction_timeout_ms=timeout_ms,
            compression_type=None if codec == "none" else codec,
            request_timeout_ms=PATIENCE_S * 1000,
        )
        await self.client.start()

    def _do(self, coroutine):
        with transacting():
            return self.run(coroutine)

    def begin(self):
        self._do(self.client.begin_transaction())

    def write(self, topic, records):
        self._do(self._write(topic, records))

    async def _write(self, topic, records):
        sent = [
            await self.client.send(topic, r.value, r.key, r.partition, r.timestamp, r.headers) for r in records
        ]
        for future in sent:
            await future

    def offsets(self, group, topic, offset, member=None):
        # By no member: it commits by TxnOffsetCommit 0, which names none.
        self._do(self.client.send_offsets_to_transaction({aiokafka.TopicPartition(topic, 0): offset}, group))

    def commit(self):
        self._do(self.client.commit_transaction())

    def abort(self):
        self._do(self.client.abort_transaction())

    def close(self):
        self.run(self.client.stop())


class Driver(driver.Driver):
    name = "aiokafka"
    lacks = {
        "offset of the max timestamp": "aiokafka asks ListOffsets for times, the beginning and the end only",
        "a replaced static member is fenced": "aiokafka commits by OffsetCommit 3, which does not name the instance",
        "a cooperative rebalance takes only what moves": "aiokafka has no cooperative assignor",
        "group deleted only when empty": "aiokafka's admin deletes no groups",
        "offsets of a group deleted": "aiokafka's admin deletes no offsets",
    }

    def __init__(self, bootstrap):
        super().__init__(bootstrap)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.run(self._start())

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(2 * PATIENCE_S)

    async def _start(self):
        self.admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=PATIENCE_S * 1000)
        await self.admin.start()
        self.consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        await self.consumer.start()

    def close(self):
        self.run(self.admin.close())
        self.run(self.consumer.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)

    def create(self, topic, partitions, configs):
        answer = self.run(self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)]))
        for _, code, *text in answer.topic_errors:
            refuse(code, text)

    def delete(self, topic):
        for _, code in self.run(self.admin.delete_topics([topic])).topic_error_codes:
            refuse(code)

    def grow(self, topic, count):
        with refusing():
            self.run(self.admin.create_partitions({topic: NewPartitions(count)}))

    def delete_records(self, topic, before):
        with refusing():
            self.run(self.admin.delete_records({aiokafka.TopicPartition(topic, 0): RecordsToDelete(before)}))

    def topics(self):
        return self.run(self.admin.list_topics())

    def describe(self, topic):
        # It has no way to ask for one topic without creating it.
        found = [t for t in self.run(self.admin.describe_topics()) if t["topic"] == topic]
        if not found:
            raise Refused(driver.UNKNOWN_TOPIC_OR_PARTITION)
        refuse(found[0]["error_code"])
        partitions = sorted(found[0]["partitions"], key=lambda p: p["partition"])
        return [(p["leader"], p["replicas"], p["isr"]) for p in partitions]

    def cluster(self):
        found = self.run(self.admin.describe_cluster())
        nodes = [(b["node_id"], b["host"], b["port"]) for b in found["brokers"]]
        return found["cluster_id"], found["controller_id"], nodes

    def configs(self, topic):
        [answer] = self.run(self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
        [(code, text, _, _, entries)] = answer.resources
        refuse(code, text)
        # Name, value, read-only, source, ...
        return {entry[0]: (entry[1], entry[3]) for entry in entries}

    def alter(self, topic, configs, dropped):
        # AlterConfigs, not the incremental one: what is not named is dropped.
        [answer] = self.run(self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)]))
        for code, text, *_ in answer.resources:
            refuse(code, text)

    def offset(self, topic, at):
        partition = aiokafka.TopicPartition(topic, 0)
        with refusing():
            if at == "earliest":
                return self.run(self.consumer.beginning_offsets([partition]))[partition]
            if at == "latest":
                return self.run(self.consumer.end_offsets([partition]))[partition]
            found = self.run(self.consumer.offsets_for_times({partition: at}))[partition]
        return found and found.offset

    def produce(self, topic, records, **options):
        return self.run(self._produce(topic, records, **options))

    async def _produce(
        self, topic, records, codec="none", acks="all", idempotent=False, one_batch=False, batch_max=None, request_max=None
    ):
        config = {"max_request_size": request_max} if request_max else {}
        if batch_max:
            # The client counts bytes; these records take about 20 each.
            config["max_batch_size"] = batch_max * 20
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            compression_type=None if codec == "none" else codec,
            acks=acks if acks == "all" else int(acks),
            enable_idempotence=idempotent,
            linger_ms=300 if one_batch else 5,
            request_timeout_ms=PATIENCE_S * 1000,
            **config,
        ) as producer:
            sent = [await producer.send(topic, r.value, r.key, r.partition, r.timestamp, r.headers) for r in records]
            return [await self._outcome(future) for future in sent]

    async def _outcome(self, future):
        try:
            with refusing():
                answer = await future
                # acks 0 has none.
                return answer and answer.offset
        except Refused as error:
            return error

    def reader(self, topic, **options):
        return Reader(self.run, self.bootstrap, topic, **options)

    def groups(self):
        return {name for name, _ in self.run(self.admin.list_consumer_groups())}

    def describe_group(self, group):
        [answer] = self.run(self.admin.describe_consumer_groups([group]))
        [(code, _, state, _, protocol, described)] = answer.groups
        refuse(code)
        return members.Group(state, protocol, [self._described(*member) for member in described])

    def _described(self, member_id, client_id, host, metadata, assignment):
        assigned = ConsumerProtocol.ASSIGNMENT.decode(assignment).partitions() if assignment else []
        return members.Described(member_id, client_id, sorted(p.partition for p in assigned))

    def offsets(self, group, topic):
        found = self.run(self.admin.list_consumer_group_offsets(group))
        return {p.partition: Committed(*committed) for p, committed in found.items() if p.topic == topic}

    def commit(self, group, topic, offsets):
        self.run(self._commit(group, topic, offsets))

    async def _commit(self, group, topic, offsets):
        async with aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=group, enable_auto_commit=False
        ) as consumer:
            consumer.assign([aiokafka.TopicPartition(topic, p) for p in offsets])
            await commit(consumer, topic, offsets)

    def commit_as(self, group, topic, offsets, member, generation):
        committed = [(topic, [(p, *c) for p, c in offsets.items()])]
        request = OffsetCommitRequest(group, generation, member, -1, committed)
        coordinator = self.run(self.admin.find_coordinator(group))
        for _, partitions in self.run(self.admin._send_request(request, coordinator)).topics:
            for _, code in partitions:
                refuse(code)

    def join(self, topic, group, reset="earliest", instance=None, strategy="range", session_ms=members.SESSION_MS):
        return Member(self.run, self.bootstrap, topic, group, reset, instance, session_ms)

    def producer(self, name, timeout_ms, codec):
        return Transactional(self.run, self.bootstrap, name, timeout_ms, codec)
