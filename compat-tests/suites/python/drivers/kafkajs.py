"""KafkaJS, in a Node process of its own. NODE_PATH says where its modules are."""

import base64
import itertools
import json
import queue
import subprocess
import threading
from pathlib import Path

import driver
import members
from checks import PATIENCE_S, now_ms
from driver import OFFSET_OUT_OF_RANGE, Arrival, Refused
from members import Committed

BRIDGE = Path(__file__).resolve().parents[2] / "node/bridge.js"


def to_text(data):
    return None if data is None else base64.b64encode(data).decode()


def to_bytes(text):
    return None if text is None else base64.b64decode(text)


class Bridge:
    """Calls may overlap: a reader waits while another thread writes."""

    def __init__(self, bootstrap):
        self.process = subprocess.Popen(
            ["node", str(BRIDGE), bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ids = itertools.count()
        self.answers = {}
        self.lock = threading.Lock()
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            self.answers[answer["id"]].put(answer)

    def call(self, name, **args):
        number = next(self.ids)
        self.answers[number] = queue.Queue()
        with self.lock:
            self.process.stdin.write(json.dumps({"id": number, "call": name, "args": args}) + "\n")
            self.process.stdin.flush()
        answer = self.answers[number].get(timeout=2 * PATIENCE_S)
        if "code" in answer:
            raise Refused(answer["code"], answer["text"])
        return answer["ok"]


def arrivals(records):
    return [
        Arrival(
            to_bytes(r["value"]),
            to_bytes(r["key"]),
            r["timestamp"],
            [(name, to_bytes(value)) for name, value in r["headers"]],
            r["partition"],
            r["offset"],
            now_ms(),
        )
        for r in records
    ]


class Reader(driver.Reader):
    def __init__(self, owner, topic, partitions=1, start="earliest", committed=False, fetch_max=1 << 20, wait_ms=100):
        self.owner, self.topic = owner, topic
        start, self.reset = start if isinstance(start, tuple) else (start, None)
        begin = start if isinstance(start, int) else owner.offset(topic, start)
        self.positions = dict.fromkeys(range(partitions), begin)
        self.how = {"maxBytes": fetch_max, "waitMs": wait_ms, "committed": committed}

    def close(self):
        pass

    def poll(self, seconds):
        asked = list(self.positions.items())
        try:
            found = self.owner.bridge.call("fetch", topic=self.topic, positions=asked, **self.how)
        except Refused as error:
            if error.code != OFFSET_OUT_OF_RANGE or not self.reset:
                raise
            self.positions[0] = self.owner.offset(self.topic, self.reset)
            return []
        self.positions.update(found["next"])
        return arrivals(found["records"])


class Member(members.Member):
    numbers = itertools.count()

    def __init__(self, bridge, topic, group, reset, session_ms):
        super().__init__()
        self.bridge, self.number = bridge, next(self.numbers)
        how = {"fromBeginning": reset == "earliest", "sessionMs": session_ms}
        self._call("join", topic=topic, group=group, **how)

    def _call(self, name, **args):
        return self.bridge.call(name, member=self.number, **args)

    def close(self):
        self._call("leave")

    def poll(self, seconds):
        polled = self._call("poll", waitMs=int(seconds * 1000))
        for event, partitions in polled["events"]:
            {"gave": self.gave, "took": self.took}[event](partitions)
        return arrivals(polled["records"])

    def commit(self, offsets):
        self._call("commit", offsets=list(offsets.items()))


class Transactional(driver.Transactional):
    numbers = itertools.count()

    def __init__(self, bridge, name, timeout_ms, codec):
        self.bridge, self.number, self.codec = bridge, next(self.numbers), codec
        self._call("transactional", transactionalId=name, timeoutMs=timeout_ms)

    def _call(self, name, **args):
        return self.bridge.call(name, producer=self.number, **args)

    def begin(self):
        self._call("begin")

    def write(self, topic, records):
        self._call("write", topic=topic, records=sent(records), codec=self.codec)

    def offsets(self, group, topic, offset, member=None):
        # By no member: it commits by TxnOffsetCommit 1 at most, which names none.
        self._call("addOffset", group=group, topic=topic, offset=offset)

    def commit(self):
        self._call("commitTransaction")

    def abort(self):
        self._call("abortTransaction")

    def close(self):
        self._call("drop")


def sent(records):
    return [
        {
            "key": to_text(r.key),
            "value": to_text(r.value),
            "timestamp": r.timestamp,
            "partition": r.partition,
            "headers": [(name, to_text(value)) for name, value in r.headers],
        }
        for r in records
    ]


def told(offsets):
    return [(partition, *committed) for partition, committed in offsets.items()]


class Driver(driver.Driver):
    name = "kafkajs"
    # The client fails on a null header value before it sends it.
    # It looks itself whether a group has members.
    cannot = {"null header", "alter a group with members"}
    lacks = {
        "offset of the max timestamp": "KafkaJS asks by ListOffsets 3 at most, KIP-734 needs 7",
        "a static member comes back without a rebalance": "KafkaJS has no static members",
        "a replaced static member is fenced": "KafkaJS has no static members",
        "a cooperative rebalance takes only what moves": "KafkaJS has no cooperative assigner",
        "offsets of a group deleted": "KafkaJS has no OffsetDelete",
    }
    strategy = "RoundRobinAssigner"

    def __init__(self, bootstrap):
        super().__init__(bootstrap)
        self.bridge = Bridge(bootstrap)

    def close(self):
        self.bridge.process.stdin.close()
        self.bridge.process.wait(PATIENCE_S)

    def create(self, topic, partitions, configs):
        self.bridge.call("create", topic=topic, partitions=partitions, configs=configs)

    def delete(self, topic):
        self.bridge.call("delete", topic=topic)

    def grow(self, topic, count):
        self.bridge.call("grow", topic=topic, count=count)

    def delete_records(self, topic, before):
        self.bridge.call("deleteRecords", topic=topic, before=before)

    def topics(self):
        return self.bridge.call("topics")

    def describe(self, topic):
        return [tuple(partition) for partition in self.bridge.call("describe", topic=topic)]

    def cluster(self):
        cluster_id, controller, nodes = self.bridge.call("cluster")
        return cluster_id, controller, [tuple(node) for node in nodes]

    def configs(self, topic):
        return {name: tuple(entry) for name, entry in self.bridge.call("configs", topic=topic).items()}

    def alter(self, topic, configs, dropped):
        # Not incremental: what is not named loses its value.
        self.bridge.call("alter", topic=topic, configs=configs)

    def offset(self, topic, at):
        time = {"earliest": -2, "latest": -1}.get(at, at)
        found = self.bridge.call("offset", topic=topic, time=time)
        return None if found < 0 else found

    def produce(
        self, topic, records, codec="none", acks="all", idempotent=False, one_batch=False, batch_max=None, request_max=None
    ):
        how = {"codec": codec, "acks": {"all": -1}.get(acks) or int(acks), "idempotent": idempotent}
        try:
            return self.bridge.call("produce", topic=topic, records=sent(records), batchMax=batch_max or len(records), **how)
        except Refused as error:
            return [error] * len(records)

    def reader(self, topic, **options):
        return Reader(self, topic, **options)

    def groups(self):
        return self.bridge.call("groups")

    def describe_group(self, group):
        state, protocol, described = self.bridge.call("describeGroup", group=group)
        return members.Group(state, protocol, [members.Described(m, c, sorted(p)) for m, c, p in described])

    def delete_group(self, group):
        self.bridge.call("deleteGroup", group=group)

    def offsets(self, group, topic):
        found = self.bridge.call("offsets", group=group, topic=topic)
        return {partition: Committed(*committed) for partition, *committed in found}

    def commit(self, group, topic, offsets):
        self.commit_as(group, topic, offsets, "", -1)

    def commit_as(self, group, topic, offsets, member, generation):
        how = {"member": member, "generation": generation}
        self.bridge.call("commitAs", group=group, topic=topic, offsets=told(offsets), **how)

    def alter_offsets(self, group, topic, offsets):
        self.bridge.call("alterOffsets", group=group, topic=topic, offsets=told(offsets))

    def join(self, topic, group, reset="earliest", instance=None, strategy="range", session_ms=members.SESSION_MS):
        return Member(self.bridge, topic, group, reset, session_ms)

    def producer(self, name, timeout_ms, codec):
        return Transactional(self.bridge, name, timeout_ms, codec)
