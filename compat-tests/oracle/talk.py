"""What a case is given: a conversation with one broker, of which every asked step is kept for comparison.

A case is a function that runs once for each broker and version. Everything it does through `ask` is compared; what it does through
`setup` only prepares. Names are made from case and version, so both brokers see the very same bytes, except for ids that they gave.
"""

from __future__ import annotations

import contextlib
import copy
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import codec
from broker import Broker, Closed, Connection, Silent

ZERO_ID = "0" * 32
UNKNOWN_ID = "0123456789abcdef0123456789abcdef"
# What a broker puts behind the name of a client or an instance, to make a member's id of it.
# Or a whole id, of the form that Kafka gives UUIDs: to members of consumer groups.
GIVEN = re.compile(r"(?<=-)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$|^[A-Za-z0-9_-]{22}$")


class Stop(Exception):
    """The case cannot go on with this broker; what was asked so far is compared."""


@dataclass(frozen=True)
class Topic:
    """A topic with both of its names."""

    name: str
    id: str


@dataclass
class Step:
    """One compared question: its label, the API, the version and what came back."""

    label: str
    api: str
    version: int
    outcome: Any  # a decoded body, or a word


class Talk:
    """See above."""

    def __init__(self, broker: Broker, api: str, version: int, prefix: str, now: int, common: dict[str, int]) -> None:
        self.broker, self.api, self.version, self.prefix, self.now = broker, api, version, prefix, now
        self.common = common
        self.steps: list[Step] = []
        self.ids: dict[str, str] = {}
        self.producers: dict[int, str] = {}
        self.members: dict[str, str] = {}
        self.patience = 10.0
        self._connection: Connection | None = None
        self._correlation = 0

    # Naming and preparing

    def name(self, suffix: str = "t") -> str:
        """A topic name of this case and version."""
        return f"{self.prefix}.{suffix}"

    def missing(self, suffix: str = "missing") -> Topic:
        """A topic that nobody creates."""
        return Topic(self.name(suffix), UNKNOWN_ID)

    def setup(self, api: str, body: dict[str, Any], version: int | None = None) -> dict[str, Any]:
        """A step that is not compared, in the highest version that both brokers answer."""
        if version is None:
            if api not in self.common:
                raise Stop(f"{api} is missing")
            version = self.common[api]
        outcome = self._exchange(api, version, codec.request(api, version, body, self._next()))
        if not isinstance(outcome, dict):
            raise Stop(f"setup {api}: {outcome}")
        return outcome

    def topic(self, suffix: str = "t", partitions: int = 1, whole_name: str = "", **configs: str) -> Topic:
        """Creates a topic and waits until it has leaders. Configs are given with `_` for `.`."""
        name = whole_name or self.name(suffix)
        wanted = [{"Name": k.replace("_", "."), "Value": v} for k, v in configs.items()]
        made = self.setup("CreateTopics", {"Topics": [
            {"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1, "Configs": wanted}]})
        if made["Topics"][0]["ErrorCode"]:
            raise Stop(f"setup: topic {name} {configs}: {made['Topics'][0]['ErrorCode']} {made['Topics'][0].get('ErrorMessage')}")
        return self.await_topic(name, partitions)

    def shared(self, key: str, make: Callable[[Talk, str], Any]) -> Any:
        """Something that is made once per broker, for cases that only read: `make` gets this talk and a topic name."""
        with self.broker.lock:
            if key not in self.broker.shared:
                self.broker.shared[key] = make(self, f"{self.prefix.split(self.api)[0]}shared.{key}")
            made = self.broker.shared[key]
        for topic in made if isinstance(made, tuple) else (made,):
            self.ids[topic.id] = f"<id of {topic.name}>"
        return made

    def await_topic(self, name: str, partitions: int) -> Topic:
        """Waits until a topic has this many partitions, each with a leader."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            seen = self.setup("Metadata", {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False})["Topics"][0]
            leaders = [p["LeaderId"] for p in seen["Partitions"]]
            if seen["ErrorCode"] == 0 and len(leaders) == partitions and all(x >= 0 for x in leaders) and self._led(name, partitions):
                self.ids[seen["TopicId"]] = f"<id of {name.replace(self.prefix, '~')}>"
                return Topic(name, seen["TopicId"])
            time.sleep(0.01)
        raise Stop(f"setup: topic {name} has no leader")

    def _led(self, name: str, partitions: int) -> bool:
        """Whether the leaders themselves know: Kafka's metadata shows them a moment earlier."""
        asked = [{"PartitionIndex": i, "Timestamp": -1} for i in range(partitions)]
        answer = self.setup("ListOffsets", {"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": asked}]})
        return all(p["ErrorCode"] == 0 for p in answer["Topics"][0]["Partitions"])

    def produce(self, topic: Topic, records: bytes, partition: int = 0) -> dict[str, Any]:
        """Records that must be taken, as a preparation; the answer for the partition."""
        body = {"Acks": -1, "TimeoutMs": 5000, "TopicData": [
            {"Name": topic.name, "TopicId": topic.id, "PartitionData": [{"Index": partition, "Records": records}]}]}
        end = time.monotonic() + 10
        while True:
            answer = self.setup("Produce", body)["Responses"][0]["PartitionResponses"][0]
            if answer["ErrorCode"] == 0:
                return answer
            if answer["ErrorCode"] not in (3, 5, 6, 100) or time.monotonic() > end:
                raise Stop(f"setup: produce: {answer['ErrorCode']} {answer.get('ErrorMessage')}")
            time.sleep(0.01)

    def producer_id(self, label: str = "1") -> tuple[int, int]:
        """An id for an idempotent producer, and its epoch."""
        end = time.monotonic() + 10
        while True:
            made = self.setup("InitProducerId", {"TransactionalId": None, "TransactionTimeoutMs": 60000})
            if made["ErrorCode"] != 14 or time.monotonic() > end:  # COORDINATOR_LOAD_IN_PROGRESS: the block of ids is on its way
                break
            time.sleep(0.01)
        if made["ErrorCode"]:
            raise Stop(f"setup: InitProducerId: {made['ErrorCode']}")
        self.producers[made["ProducerId"]] = f"<pid {label}>"
        return made["ProducerId"], made["ProducerEpoch"]

    # Asking

    def ask(self, body: dict[str, Any], api: str | None = None, version: int | None = None, label: str | None = None) -> Any:
        """A compared question; the decoded body, or None if none came."""
        api = api or self.api
        if version is None:
            version = self.version if api == self.api else self.common.get(api)
        if version is None:
            raise Stop(f"{api} is missing")
        frame = codec.request(api, version, body, self._next())
        return self._keep(label, api, version, self._exchange(api, version, frame))

    def ask_later(self, body: dict[str, Any], api: str | None = None, label: str | None = None, kept: bool = True) -> Callable[[], Any]:
        """A question on a connection of its own, for an answer that waits for what others do; what this returns takes the answer,
        which is compared then, if at all (`kept`)."""
        api = api or self.api
        version = self.version if api == self.api and kept else self.common.get(api)
        if version is None:
            raise Stop(f"{api} is missing")
        other = copy.copy(self)  # what is kept is shared
        other._connection = None
        failed = other._send(codec.request(api, version, body, other._next()))

        def answer() -> Any:
            outcome = failed or other._receive(api, version)
            other.reconnect()
            return self._keep(label, api, version, outcome) if kept else outcome
        return answer

    def ask_bytes(self, body: bytes, version: int | None = None, label: str | None = None, answered_in: int | None = None) -> Any:
        """A compared question whose body was made by hand; `answered_in` is the version to decode by, if another."""
        version = self.version if version is None else version
        message = codec.message(f"{self.api}Request")
        flexible = message.flexible[0] <= version <= message.flexible[1]
        frame = codec.header(message.key, version, self._next(), flexible) + body
        decode = version if answered_in is None else answered_in
        return self._keep(label, self.api, decode, self._exchange(self.api, decode, frame))

    def ask_frame(self, frame: bytes, answered_in: int) -> Any:
        """A compared frame made by hand, header and all (correlation id 7 if it has one)."""
        self._correlation = 7
        return self._keep(None, self.api, answered_in, self._exchange(self.api, answered_in, frame))

    def raw(self, data: bytes, frames: int = 1) -> None:
        """Bytes as they are, on a connection of their own; the correlation ids and sizes of what comes back, until it closes."""
        self.reconnect()
        came: list[str] = []
        try:
            connection = self._open()
            connection.send_raw(data)
            for _ in range(frames):
                came.append(str(int.from_bytes(connection.receive()[:4], "big", signed=True)))
        except Closed:
            came.append("closed")
        except Silent:
            came.append("silent")
        self.reconnect()
        self.note("came", came)

    def encode(self, body: dict[str, Any]) -> bytes:
        """The body of the API and version in question, to be spoiled."""
        return codec.Coder(codec.message(f"{self.api}Request"), self.version).encode(body)

    def send(self, body: dict[str, Any]) -> None:
        """A request that gets no answer (acks 0)."""
        self._open().send(codec.request(self.api, self.version, body, self._next()))

    def note(self, label: str, outcome: Any) -> None:
        """Something else to compare."""
        self.steps.append(Step(label, "", 0, outcome))

    def reconnect(self) -> None:
        """Leaves the connection; the next step opens another."""
        if self._connection:
            self._connection.close()
        self._connection = None

    # Inside

    def _next(self) -> int:
        self._correlation += 1
        return self._correlation

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = self.broker.connect(self.patience)
        return self._connection

    def _exchange(self, api: str, version: int, frame: bytes) -> Any:
        return self._send(frame) or self._receive(api, version)

    def _send(self, frame: bytes) -> str:
        """What went wrong, if anything."""
        try:
            self._open().send(frame)
        except Closed:
            self.reconnect()
            return "closed"
        return ""

    def _receive(self, api: str, version: int) -> Any:
        try:
            correlation, body = codec.response(api, version, self._open().receive())
        except Closed:
            self.reconnect()
            return "closed"
        except Silent:
            self.reconnect()
            return "silent"
        except (codec.Malformed, UnicodeDecodeError) as error:
            self.reconnect()
            return f"undecodable: {error}"
        if correlation != self._correlation:
            self.reconnect()
            return f"correlation id off by {correlation - self._correlation}"
        if api in ("JoinGroup", "ConsumerGroupHeartbeat") and (given := GIVEN.search(body["MemberId"] or "")):
            self.members.setdefault(given[0], f"<member {len(self.members) + 1}>")
        return body

    def _keep(self, label: str | None, api: str, version: int, outcome: Any) -> Any:
        self.steps.append(Step(label or f"{len(self.steps) + 1}", api, version, outcome))
        return outcome if isinstance(outcome, dict) else None


@contextlib.contextmanager
def talking(*args: Any) -> Any:
    """A talk that closes its connection."""
    talk = Talk(*args)
    try:
        yield talk
    finally:
        talk.reconnect()
