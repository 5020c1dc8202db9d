#!/usr/bin/env python3
"""Kafka's own command-line tools, unchanged, against a broker.

    kafka-tools.py BOOTSTRAP [--verbose] [--only PART] [--without groups,...] [--jobs 2]

Each step is one run of a tool as its shell script would run it, with what its exit code and its output have to be; two chains of
steps run at a time, a later step of a chain may rely on an earlier one. The expectations are those of Apache Kafka 4.3.1: a run
against `compat-tests/peers/kafka-peer start DIR PORT` passes wholly, or this file is wrong. Steps that need an area (`groups`) can be
left out until a broker has it. Needs Java 17 and what `kafka-peer libs` fetches.

kafka-dump-log and kafka-storage read Kafka's files and do not apply. Kafka's VerifiableConsumer and ConsumerPerformance always join
a group (there is no option to assign partitions); the console consumer with --partition --offset stands in for them until then.
"""

import argparse
import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PEER = Path(__file__).resolve().parents[1] / "peers/kafka-peer"
# Short-lived programs: the first compiler and the smallest collector start fastest.
JVM = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx256m"]
STEP_S = 30
TOOLS = "org.apache.kafka.tools."
CLASSES = {
    "kafka-topics": TOOLS + "TopicCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-get-offsets": TOOLS + "GetOffsetShell",
    "kafka-delete-records": TOOLS + "DeleteRecordsCommand",
    "kafka-log-dirs": TOOLS + "LogDirsCommand",
    "kafka-broker-api-versions": TOOLS + "BrokerApiVersionsCommand",
    "kafka-cluster": TOOLS + "ClusterTool",
    "kafka-features": TOOLS + "FeatureCommand",
    "kafka-metadata-quorum": TOOLS + "MetadataQuorumCommand",
    "kafka-leader-election": TOOLS + "LeaderElectionCommand",
    "kafka-reassign-partitions": TOOLS + "reassign.ReassignPartitionsCommand",
    "kafka-client-metrics": TOOLS + "ClientMetricsCommand",
    "kafka-verifiable-producer": TOOLS + "VerifiableProducer",
    "kafka-verifiable-consumer": TOOLS + "VerifiableConsumer",
    "kafka-producer-perf-test": TOOLS + "ProducerPerformance",
    "kafka-consumer-perf-test": TOOLS + "ConsumerPerformance",
    "kafka-console-producer": TOOLS + "ConsoleProducer",
    "kafka-console-consumer": TOOLS + "consumer.ConsoleConsumer",
    "kafka-consumer-groups": TOOLS + "consumer.group.ConsumerGroupCommand",
    "kafka-groups": TOOLS + "GroupsCommand",
    "kafka-transactions": TOOLS + "TransactionsCommand",
    "kafka-replica-verification": TOOLS + "ReplicaVerificationTool",
}


class Step:
    def __init__(self, name, command, *has, code=0, lacks=(), stdin=None, area=None):
        self.name, self.command, self.has, self.code = name, command, has, code
        self.lacks, self.stdin, self.area = lacks, stdin, area


def chains(run):
    """The chains of steps; `run` makes names new, so that a broker may be used again."""
    a, b, c, v, p, d, g = (f"tools-{run}-{letter}" for letter in "abcvpdg")
    now = int(time.time() * 1000)
    files = tempfile.mkdtemp(prefix="kafka-tools-")
    atexit.register(shutil.rmtree, files)

    def file(name, content):
        path = Path(files) / name
        path.write_text(content)
        return str(path)

    def records(topic, offset):
        entry = {"topic": topic, "partition": 0, "offset": offset}
        return file(f"delete{offset}.json", json.dumps({"partitions": [entry], "version": 1}))

    def election(topic):
        return file("elect.json", json.dumps({"partitions": [{"topic": topic, "partition": 0}]}))

    moved = file("moved.json", json.dumps({"topics": [{"topic": b}], "version": 1}))
    topics = [
        Step("topics create", f"kafka-topics --create --topic {a} --partitions 2 --config retention.ms=3600000",
             f"Created topic {a}"),
        Step("topics create again", f"kafka-topics --create --topic {a}", "already exists", code=1),
        Step("topics create if not exists", f"kafka-topics --create --if-not-exists --topic {a}", lacks=["Error", "Created"]),
        Step("topics create bad name", "kafka-topics --create --topic bad/name", "(?i)illegal|invalid", code=1),
        Step("topics create too many replicas", f"kafka-topics --create --topic {a}-r --replication-factor 3",
             "InvalidReplicationFactorException", code=1),
        Step("topics create bad config", f"kafka-topics --create --topic {a}-c --config retention.ms=never",
             "Not a number of type LONG", code=1),
        Step("topics list", "kafka-topics --list", rf"(?m)^{a}$"),
        Step("topics describe", f"kafka-topics --describe --topic {a}", r"TopicId: [\w-]{22}\b", "PartitionCount: 2",
             "ReplicationFactor: 1", "retention.ms=3600000", r"Partition: 1\s+Leader: (\d+)\s+Replicas: \1\s+Isr: \1\b"),
        Step("topics describe unknown", f"kafka-topics --describe --topic {a}-none", "does not exist", code=1),
        Step("topics alter partitions", f"kafka-topics --alter --topic {a} --partitions 4", lacks=["Error"]),
        Step("topics alter to fewer", f"kafka-topics --alter --topic {a} --partitions 1", "InvalidPartitionsException", code=1),
        Step("topics describe grown", f"kafka-topics --describe --topic {a}", "PartitionCount: 4", r"Partition: 3\s"),
        Step("topics with overrides", "kafka-topics --describe --topics-with-overrides", rf"{a}\b.*retention.ms=3600000",
             lacks=["Partition: 0"]),
        Step("topics under-replicated", f"kafka-topics --describe --topic {a} --under-replicated-partitions", lacks=["Partition:"]),
        Step("topics unavailable", f"kafka-topics --describe --topic {a} --unavailable-partitions", lacks=["Partition:"]),
        Step("configs topic all", f"kafka-configs --describe --topic {a} --all", r"cleanup.policy=delete sensitive=false",
             r"retention.ms=3600000.*DYNAMIC_TOPIC_CONFIG:retention.ms=3600000", r"segment.bytes=1073741824",
             r"max.message.bytes=1048588", r"min.insync.replicas=1 ", r"compression.type=producer"),
        Step("configs topic alter", f"kafka-configs --alter --topic {a} --add-config max.message.bytes=2000000,min.insync.replicas=1",
             "Completed updating config for topic"),
        Step("configs topic compact", f"kafka-configs --alter --topic {a} --add-config cleanup.policy=[compact,delete]",
             "Completed updating config for topic", area="compaction"),
        Step("configs topic compact describe", f"kafka-configs --describe --topic {a}", "cleanup.policy=compact,delete", area="compaction"),
        Step("configs topic describe", f"kafka-configs --describe --topic {a}", "max.message.bytes=2000000",
             "min.insync.replicas=1", "retention.ms=3600000"),
        Step("configs topic delete", f"kafka-configs --alter --topic {a} --delete-config retention.ms,cleanup.policy",
             "Completed updating config for topic"),
        Step("configs topic describe again", f"kafka-configs --describe --topic {a}", "max.message.bytes=2000000",
             lacks=["retention.ms", "cleanup.policy"]),
        Step("configs topic bad value", f"kafka-configs --alter --topic {a} --add-config retention.ms=never",
             "InvalidConfigurationException", code=1),
        Step("configs topic unknown key", f"kafka-configs --alter --topic {a} --add-config no.such.key=1",
             "InvalidConfigurationException", code=1),
        Step("configs topic delete unset", f"kafka-configs --alter --topic {a} --delete-config segment.ms", "Completed updating"),
        Step("topics delete", f"kafka-topics --delete --topic {a}", lacks=["Error"]),
        Step("topics list after", "kafka-topics --list", lacks=[rf"(?m)^{a}$"]),
        Step("topics delete unknown", f"kafka-topics --delete --topic {a}", "does not exist", code=1),
        Step("topics delete if exists", f"kafka-topics --delete --if-exists --topic {a}", lacks=["Error"]),
    ]
    data = [
        Step("data: verifiable's topic", f"kafka-topics --create --topic {v} --partitions 1", "Created topic"),
        Step("verifiable producer", f"kafka-verifiable-producer --topic {v} --max-messages 200 --throughput -1 --message-create-time {now - 3_600_000}",
             r'"acked":200', r'"name":"startup_complete"', lacks=["producer_send_error"]),
        Step("data: topics create", f"kafka-topics --create --topic {b} --partitions 1", "Created topic"),
        Step("console producer", f"kafka-console-producer --topic {b} --reader-property parse.key=true --reader-property key.separator=:",
             stdin="".join(f"k{i}:value {i}\n" for i in range(10)), lacks=["(?i)error"]),
        Step("console producer, acks 1, gzip", f"kafka-console-producer --topic {b} --request-required-acks 1 --compression-codec gzip",
             stdin="zipped\n", lacks=["(?i)error"]),
        Step("console consumer", f"kafka-console-consumer --topic {b} --partition 0 --offset earliest --max-messages 11 --timeout-ms 10000 "
             "--formatter-property print.key=true --formatter-property print.offset=true", r"Offset:0\tk0\tvalue 0", r"Offset:9\tk9\tvalue 9",
             r"zipped", "Processed a total of 11 messages"),
        Step("console consumer, offset", f"kafka-console-consumer --topic {b} --partition 0 --offset 8 --max-messages 2 --timeout-ms 10000",
             "value 8\nvalue 9", "total of 2 messages"),
        Step("console consumer, committed", f"kafka-console-consumer --topic {b} --partition 0 --offset earliest --max-messages 3 "
             "--isolation-level read_committed --timeout-ms 10000", "value 2", "total of 3 messages"),
        Step("console consumer, verifiable's", f"kafka-console-consumer --topic {v} --partition 0 --offset 0 --max-messages 20 --timeout-ms 10000",
             "total of 20 messages"),
        Step("offsets latest", f"kafka-get-offsets --topic {b} --time -1", f"{b}:0:11"),
        Step("offsets earliest", f"kafka-get-offsets --topic {b} --time earliest", f"{b}:0:0"),
        Step("offsets max timestamp", f"kafka-get-offsets --topic {b} --time max-timestamp", f"{b}:0:10"),
        Step("offsets earliest local", f"kafka-get-offsets --topic {b} --time -4", f"{b}:0:0"),
        # Where there is no such offset, the tool prints nothing.
        Step("offsets latest tiered", f"kafka-get-offsets --topic {b} --time -5", lacks=[rf"{b}:0", "(?i)exception"]),
        Step("offsets by time", f"kafka-get-offsets --topic {b} --time {now}", f"{b}:0:0"),
        Step("offsets by later time", f"kafka-get-offsets --topic {b} --time {now + 86_400_000}", lacks=[rf"{b}:0", "(?i)exception"]),
        Step("offsets of all", f"kafka-get-offsets --topic-partitions {b}:0,{v}:0", f"{b}:0:11", f"{v}:0:"),
        Step("offsets of unknown", f"kafka-get-offsets --topic {b}-none", "Could not match any topic-partitions", code=1),
        Step("delete records", f"kafka-delete-records --offset-json-file {records(b, 4)}", f"partition: {b}-0\tlow_watermark: 4"),
        Step("offsets earliest after", f"kafka-get-offsets --topic {b} --time -2", f"{b}:0:4"),
        Step("console consumer after", f"kafka-console-consumer --topic {b} --partition 0 --offset earliest --max-messages 1 --timeout-ms 10000",
             "value 4", lacks=["value 3"]),
        Step("delete records too far", f"kafka-delete-records --offset-json-file {records(b, 999)}", "OffsetOutOfRange|not within the range"),
        Step("delete records to the end", f"kafka-delete-records --offset-json-file {records(b, -1)}", r"low_watermark: 11"),
        Step("log dirs", f"kafka-log-dirs --describe --topic-list {b},{v}", '"version":1', rf'"partition":"{b}-0"', r'"size":\d+',
             '"offsetLag":0', '"isFuture":false', '"error":null'),
        Step("log dirs of all", "kafka-log-dirs --describe", rf'"partition":"{v}-0"'),
        Step("reassign generate", f"kafka-reassign-partitions --generate --topics-to-move-json-file {moved} --broker-list BROKER",
             "Current partition replica assignment", rf'"topic":"{b}","partition":0,"replicas":\[\d+\]'),
        Step("verifiable consumer", f"kafka-verifiable-consumer --topic {v} --group-id {g}-v --max-messages 200",
             r'"name":"records_consumed"', r'"count":\d+', r'"name":"offsets_committed"', '"name":"shutdown_complete"', area="groups"),
        Step("consumer group described", f"kafka-consumer-groups --describe --group {g}-v", rf"{v} +\d +\d+ +\d+ +0 ", area="groups"),
        Step("consumer groups listed", "kafka-consumer-groups --list", rf"(?m)^{g}-v$", area="groups"),
        Step("groups listed", "kafka-groups --list", rf"{g}-v +Classic", area="groups"),
        Step("console consumer in a group", f"kafka-console-consumer --topic {v} --group {g}-c --from-beginning --max-messages 200 --timeout-ms 15000",
             "Processed a total of 200 messages", area="groups"),
        Step("consumer group deleted", f"kafka-consumer-groups --delete --group {g}-v", "was successful", area="groups"),
    ]
    cluster = [
        Step("api versions", "kafka-broker-api-versions", r"isFenced: false\) -> \(", r"Produce\(0\): .*to 13 \[usable: 13\]",
             r"Fetch\(1\): 4 to 18 \[usable: 18\]", r"ApiVersions\(18\): 0 to 4 \[usable: 4\]"),
        Step("cluster id", "kafka-cluster cluster-id", r"Cluster ID: [\w-]{22}"),
        Step("cluster endpoints", "kafka-cluster list-endpoints", r"ID +HOST +PORT +RACK +STATE +ENDPOINT_TYPE", r"(?m)^\d+ +127.0.0.1 +\d+ +null +unfenced +broker"),
        Step("features", "kafka-features describe", r"Feature: metadata.version\s+SupportedMinVersion: \S+\s+SupportedMaxVersion: \S+\s+FinalizedVersionLevel: \S+\s+Epoch: \d+"),
        Step("features upgrade dry run", "kafka-features upgrade --feature no.such.feature=1 --dry-run", r"Can not upgrade no.such.feature to 1|Could not upgrade no.such.feature", r"1 out of 1 operation\(s\) failed", code=1),
        Step("quorum status", "kafka-metadata-quorum describe --status", r"ClusterId: +[\w-]{22}", r"LeaderId: +\d+", r"LeaderEpoch: +\d+",
             r"HighWatermark: +\d+", r"MaxFollowerLag: +0", r"CurrentVoters: +\[", r"CurrentObservers: +\["),
        Step("quorum replication", "kafka-metadata-quorum describe --replication", r"NodeId\s+DirectoryId\s+LogEndOffset\s+Lag\s+LastFetchTimestamp\s+LastCaughtUpTimestamp\s+Status",
             r"(?m)^\d+\s+[\w-]{22}\s+\d+\s+0\s+\d+\s+\d+\s+Leader"),
        Step("cluster: topics create", f"kafka-topics --create --topic {c} --partitions 2", "Created topic"),
        Step("election preferred, all", "kafka-leader-election --election-type preferred --all-topic-partitions", lacks=["(?i)exception|error"]),
        Step("election preferred, one", f"kafka-leader-election --election-type preferred --topic {c} --partition 1", "(?i)valid replica already elected", f"{c}-1"),
        Step("election preferred, file", f"kafka-leader-election --election-type preferred --path-to-json-file {election(c)}", f"{c}-0"),
        Step("election of unknown", f"kafka-leader-election --election-type preferred --topic {c}-none --partition 0",
             "UnknownTopicOrPartition|does not (exist|host)", code=1),
        Step("reassign list", "kafka-reassign-partitions --list", "No partition reassignments found"),
        Step("client metrics list", "kafka-client-metrics --list", lacks=["(?i)exception|error"]),
        Step("client metrics alter", f"kafka-client-metrics --alter --name {c} --metrics org.apache.kafka.producer. --interval 10000",
             f"Altered client metrics config for {c}", area="client-metrics"),
        Step("client metrics listed", "kafka-client-metrics --list", rf"(?m)^{c}$", area="client-metrics"),
        Step("client metrics describe", f"kafka-client-metrics --describe --name {c}", "interval.ms=10000", r"metrics=\[?org.apache.kafka.producer", area="client-metrics"),
        Step("configs client-metrics describe", f"kafka-configs --describe --entity-type client-metrics --entity-name {c}", "interval.ms=10000", area="client-metrics"),
        Step("client metrics delete", f"kafka-client-metrics --delete --name {c}", f"Deleted client metrics config for {c}", area="client-metrics"),
        Step("configs broker all", "kafka-configs --describe --broker BROKER --all", r"log.segment.bytes=1073741824.*DEFAULT_CONFIG:log.segment.bytes",
             r"node.id=\d+ sensitive=false", r"message.max.bytes=1048588"),
        Step("configs broker alter", "kafka-configs --alter --broker BROKER --add-config log.retention.ms=7200000", "Completed updating config for broker"),
        Step("configs broker describe", "kafka-configs --describe --broker BROKER", r"log.retention.ms=7200000 .*DYNAMIC_BROKER_CONFIG:log.retention.ms=7200000"),
        Step("configs topic inherits", f"kafka-configs --describe --topic {c} --all", r"retention.ms=7200000 .*DYNAMIC_BROKER_CONFIG:log.retention.ms=7200000"),
        Step("configs broker delete", "kafka-configs --alter --broker BROKER --delete-config log.retention.ms", "Completed updating config for broker"),
        Step("configs broker describe again", "kafka-configs --describe --broker BROKER", lacks=["log.retention.ms"]),
        Step("configs broker default alter", "kafka-configs --alter --broker-defaults --add-config message.max.bytes=1100000",
             "Completed updating default config for brokers"),
        Step("configs broker default describe", "kafka-configs --describe --broker-defaults", "message.max.bytes=1100000.*DYNAMIC_DEFAULT_BROKER_CONFIG"),
        Step("configs broker default delete", "kafka-configs --alter --broker-defaults --delete-config message.max.bytes",
             "Completed updating default config for brokers"),
        Step("configs broker static key", "kafka-configs --alter --broker BROKER --add-config node.id=7", "(?i)cannot update these configs|invalid", code=1),
        Step("configs loggers describe", "kafka-configs --describe --broker-logger BROKER", r"(?m)^ +[\w.]+=(OFF|ERROR|WARN|INFO|DEBUG|TRACE) sensitive=false"),
        Step("configs groups list", "kafka-configs --describe --entity-type groups", lacks=["(?i)exception"], area="groups"),
        Step("transactions list", "kafka-transactions list", r"TransactionalId\s+Coordinator\s+ProducerId\s+TransactionState", area="transactions"),
        Step("transactions producers", f"kafka-transactions describe-producers --topic {c} --partition 0", r"ProducerId\s+ProducerEpoch\s+LatestCoordinatorEpoch\s+LastSequence",
             area="transactions"),
    ]
    speed = [
        Step("speed: topics create", f"kafka-topics --create --topic {p} --partitions 1", "Created topic"),
        Step("producer perf", f"kafka-producer-perf-test --topic {p} --num-records 20000 --record-size 200 --throughput -1 --command-property acks=all",
             r"20000 records sent, [\d.,]+ records/sec", r"99.9th", lacks=["(?i)exception"]),
        Step("producer perf, lz4", f"kafka-producer-perf-test --topic {p} --num-records 20000 --record-size 200 --throughput -1 --command-property acks=1 compression.type=lz4",
             "20000 records sent", lacks=["(?i)exception"]),
        Step("speed: offsets", f"kafka-get-offsets --topic {p}", f"{p}:0:40000"),
        Step("console consumer, many", f"kafka-console-consumer --topic {p} --partition 0 --offset earliest --max-messages 40000 --timeout-ms 15000",
             "Processed a total of 40000 messages"),
        Step("consumer perf", f"kafka-consumer-perf-test --topic {p} --num-records 40000 --timeout 15000", r", 4\d{4}, ", area="groups"),
        Step("speed: topics delete", f"kafka-topics --delete --topic {p}", lacks=["Error"]),
    ]
    return {"topics": topics, "data": data, "cluster": cluster, "speed": speed}


class Runner:
    def __init__(self, options):
        self.options, self.lock = options, threading.Lock()
        libs = subprocess.run([PEER, "libs"], check=True, capture_output=True, text=True).stdout.strip()
        self.archive = Path(libs) / "tools.jsa"
        self.java = ["java", *JVM, f"-XX:SharedArchiveFile={self.archive}", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", f"{libs}/*"]
        self.outcomes, self.skipped = [], []
        self.without = set(filter(None, options.without.split(",")))
        self.broker = "1"

    def make_archive(self):
        """A class-data archive halves the start of a tool; without it all goes as well, and slower."""
        if not self.archive.exists():
            made = self.archive.with_suffix(f".{os.getpid()}")
            java = [f"-XX:ArchiveClassesAtExit={made}" if "SharedArchiveFile" in part else part for part in self.java]
            command = [*java, CLASSES["kafka-configs"], "--bootstrap-server", self.options.bootstrap, "--describe", "--broker-defaults"]
            subprocess.run(command, capture_output=True, timeout=STEP_S)
            if made.exists():
                made.rename(self.archive)

    def java_run(self, command, stdin=None):
        tool, *arguments = command.replace("BROKER", self.broker).split()
        # The shell scripts' callers name the server first; some tools want it after the subcommand.
        server = ["--bootstrap-server", self.options.bootstrap]
        after = tool in ("kafka-cluster",)
        arguments = [*arguments, *server] if after else [*server, *arguments]
        return subprocess.run([*self.java, CLASSES[tool], *arguments], input=stdin or "", capture_output=True, text=True, timeout=STEP_S)

    def step(self, step):
        begun = time.monotonic()
        try:
            done = self.java_run(step.command, step.stdin)
            output, code = done.stdout + done.stderr, done.returncode
        except subprocess.TimeoutExpired as late:
            output, code = f"{(late.stdout or b'').decode()}{(late.stderr or b'').decode()}\nno end within {STEP_S} s", None
        wrong = [] if code == step.code else [f"exit code {code}, not {step.code}"]
        wrong += [f"no /{regex}/" for regex in step.has if not re.search(regex, output)]
        wrong += [f"there is /{regex}/" for regex in step.lacks if re.search(regex, output)]
        with self.lock:
            self.outcomes.append(not wrong)
            said = "ok" if not wrong else "FAIL"
            print(f"{said} {step.name} ({time.monotonic() - begun:.1f} s)" + (f": {'; '.join(wrong)}" if wrong else ""))
            if self.options.verbose or wrong:
                print(f"    $ {step.command}")
                lines = output.strip().splitlines()
                limit = 400 if self.options.verbose else 5
                print("".join(f"    | {line[:240]}\n" for line in lines[:limit]), end="", flush=True)

    def chain(self, steps):
        for step in steps:
            if step.area in self.without:
                self.skipped.append(step.name)
            else:
                self.step(step)

    def run(self):
        begun = time.monotonic()
        self.make_archive()
        every = chains(f"{os.getpid()}-{int(time.time()) % 100_000}")
        only = self.options.only
        # A part of a chain's name runs the chain: its steps rely on each other.
        picked = [steps for name, steps in every.items() if not only or only in name]
        listed = self.java_run("kafka-broker-api-versions").stdout
        if found := re.search(r"\(id: (\d+)", listed):
            self.broker = found[1]
        with ThreadPoolExecutor(self.options.jobs) as pool:
            for future in [pool.submit(self.chain, steps) for steps in sorted(picked, key=len, reverse=True)]:
                future.result()
        if self.skipped:
            print(f"left out: {', '.join(self.skipped)}")
        print(f"{time.monotonic() - begun:.0f} s")
        print(f"{self.outcomes.count(True)} passed, {self.outcomes.count(False)} failed")
        return 0 if self.outcomes and all(self.outcomes) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bootstrap")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--only", default="", help="chains whose name has this: topics, data, cluster, speed")
    parser.add_argument("--without", default="", help="areas left out: groups, transactions, compaction, client-metrics")
    parser.add_argument("--jobs", type=int, default=2)
    sys.exit(Runner(parser.parse_args()).run())
