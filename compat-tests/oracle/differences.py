"""The accepted differences, each with its reason, in one place. One that no longer occurs is an error: the list must stay true.

Conservative: only what ChronosDB does not do by design, or not yet by plan (ROADMAP.md), and where Kafka itself fails. Everything
else is to be fixed, so it is not here.
"""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from dataclasses import dataclass


@dataclass
class Difference:
    """`api`, `case` and `path` are patterns (`[` is itself); `kafka` and `chronos` are patterns of the values."""

    api: str
    case: str
    path: str
    reason: str
    kafka: str = "*"
    chronos: str = "*"
    seen: int = 0

    def fits(self, api: str, case: str, path: str, kafka: str, chronos: str) -> bool:
        """Whether a difference is this one."""
        pairs = [(api, self.api), (case, self.case), (path, self.path), (kafka, self.kafka), (chronos, self.chronos)]
        return all(fnmatch.fnmatchcase(value, pattern.replace("[", "[[]")) for value, pattern in pairs)


STALE_JOIN = "a member that joins again while it waits: the join it gave up is answered NOT_COORDINATOR, where Kafka never answers it"
SHARES = "share groups and streams groups are a later step"
UNKNOWN_TO_BROKER = "a setting of the broker that does not exist is refused; Kafka keeps it for plugins to read"
TWICE = "a transaction that a request names twice gets the partitions of both; Kafka takes those of the last for both"
KAFKA_FAILS = "Kafka's handler fails with an exception and never answers"
ELR = "Kafka writes the cluster's default when it switches eligible leader replicas on; here it is the built-in one"
NO_SUCH = "client metrics have no settings here"
UNHANDLED = "Kafka's handler fails with an exception, which the client is told as UNKNOWN_SERVER_ERROR"
LATER = "nothing acts on this setting yet: it is refused rather than kept without effect"
WORDS = "why a batch is refused is told in words, where Kafka tells the code alone"
OUR_BITS = "attribute bits 13 and 14 mark our own frames: a client must not set them"
CHECKED = "every record of every batch is checked, also of an uncompressed one: a consumer must be able to read it"

LISTED = [
    *(Difference("ApiVersions", "*", f"*.ApiKeys.{key}", reason, "{*", "<absent>") for reason, keys in {
        "authentication, ACLs and delegation tokens are a later step": (17, 36, 29, 30, 31, 38, 39, 40, 41, 50, 51),
        "quotas are a later step": (48, 49),
        SHARES: (76, 77, 78, 79, 88, 89, 90, 91, 92),
        "Kafka's brokers keep the state of share groups with each other": (83, 84, 85, 86, 87),
        "one node: there is no other to remove, and no voter to add": (64, 80, 81),
    }.items() for key in keys),
    *(Difference("ApiVersions", "*", f"*.{where}.{feature}", reason, "{*", "<absent>") for feature, reason in (
        ("share.version", SHARES), ("streams.version", SHARES),
        ("eligible.leader.replicas.version", "one node: there are no other replicas to be eligible")) for where in ("SupportedFeatures", "FinalizedFeatures")),
    *(Difference("JoinGroup", f"new-member-with-{what}", "2", KAFKA_FAILS, "'silent'") for what in ("one-protocol-twice", "endless-subscription")),
    Difference("JoinGroup", "member-joins-again-while-it-waits", "2", STALE_JOIN, "'silent'"),
    Difference("Produce", "records-null", "1", KAFKA_FAILS, "'silent'"),
    Difference("AddPartitionsToTxn", "no-transactions", "1", KAFKA_FAILS, "'silent'"),
    Difference("DeleteRecords", "records-of-an-open-transaction", "6.*.Offset", "the last stable offset is never before the log's start", "1", "2"),
    Difference("WriteTxnMarkers", "same-partition-twice", "1", KAFKA_FAILS, "'silent'"),
    Difference("AddPartitionsToTxn", "same-transaction-twice", "*", TWICE),
    Difference("AlterConfigs", "same-resource-twice", "1", KAFKA_FAILS, "'silent'"),
    *(Difference("*", "*", f"*.Configs.{name}", "a setting of our own", "<absent>") for name in ("chronos.*", "flush.policy")),
    *(Difference("*", "*", f"*.Configs.min.insync.replicas.{field}", ELR, kafka, chronos) for field, kafka, chronos in (
        ("ConfigSource", "3", "5"), ("Synonyms[0].Source", "3", "5"), ("Synonyms[1]", "{*", "<absent>"))),
    *(Difference(f"{api}AlterConfigs", "broker-unknown-key", "*.Responses.4/*", UNKNOWN_TO_BROKER, kafka, chronos)
      for api in ("", "Incremental") for kafka, chronos in (("0", "42"), ("None", "'Cannot update*"))),
    *(Difference("DescribeConfigs", case, f"*.Results.{kind}/*", NO_SUCH) for case, kind in (("metrics-unknown", 16),)),
    *(Difference("DescribeConfigs", "group", f"*.Results.32/*.Configs.{kind}.*", SHARES, "*", "<absent>") for kind in ("share", "streams")),
    *(Difference(api, "*", "*.ErrorMessage", WORDS, "None", f"{quote}*") for api, quote in (
        ("Produce", "'"), ("Produce", '"'), ("IncrementalAlterConfigs", "'"))),
    Difference("Produce", "unused-attribute-bits", "*.ErrorCode", OUR_BITS, "0", "87"),
    Difference("Produce", "offset-deltas-*", "*.ErrorCode", CHECKED, "0", "87"),
    *(Difference("Produce", f"codec-{codec}", "*.ErrorCode", UNHANDLED, "-1", "76") for codec in (5, 6, 7)),
    Difference("Produce", "*-broken", "*.ErrorCode", UNHANDLED, "-1", "87"),
    *(Difference("Fetch", case, path, UNHANDLED, "-1", "0") for case, path in (
        ("isolation-level-unknown", "*.ErrorCode"), ("max-bytes-negative", "*.ErrorCode"), ("partition-max-negative", "*.ErrorCode"))),
    *(Difference("ListOffsets", f"*-isolation-{kind}", "*.ErrorCode", UNHANDLED, "-1", "0") for kind in ("unknown", "negative")),
    Difference("DescribeTopicPartitions", "name-empty", "*.ErrorCode", UNHANDLED, "-1", "17"),
    Difference("Metadata", "zero-id-null-name", "*", UNHANDLED),
    Difference("Metadata", "*", "*.ErrorCode", "a topic that is made on demand is ready at once: no second question", "3", "0"),
    *(Difference("IncrementalAlterConfigs", f"operation-{kind}", "*.ErrorCode", UNHANDLED, "-1", "42") for kind in ("unknown", "negative")),
    Difference("IncrementalAlterConfigs", "throttle-list", "*.ErrorCode", LATER, "0", "40"),
    *(Difference("CreateTopics", f"config-{what}", "*", LATER) for what in ("bool", "throttled", "unclean", "local-above-total")),
    *(Difference("CreateTopics", f"timeout-{kind}", "*.ErrorCode", "the topic is made, and is told so", "7", "0") for kind in ("zero", "negative")),
    Difference("CreateTopics", "names-collide-in-one-request", "*", "names that collide are refused in one request as in two"),
    Difference("DescribeConfigs", "broker-node-id", "*.Synonyms[1]", "node.id has a default here", "<absent>"),
    Difference("DescribeConfigs", "broker-broker-id", "*.broker.id", "Kafka's older name of node.id is not a setting here", "{*", "<absent>"),
    *(Difference("ConsumerGroupHeartbeat", f"offset-fetch-v{v}", "12.*.ErrorCode", UNHANDLED, "-1", "25") for v in (9, 10)),
]


def find(api: str, case: str, path: str, kafka: str, chronos: str) -> Difference | None:
    """The listed difference that this is, if any; counted."""
    for one in LISTED:
        if one.fits(api, case, path, kafka, chronos):
            one.seen += 1
            return one
    return None


def stale() -> list[Difference]:
    """Listed differences that did not occur in a whole run."""
    return [d for d in LISTED if not d.seen]


def page() -> str:
    """A section of COMPAT.md: a row for each API and reason."""
    rows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in LISTED:
        word = f"key {one.path.split('ApiKeys.')[1]}" if "ApiKeys." in one.path else f"{one.case}: `{one.path}`"
        if word not in rows[one.api, one.reason]:
            rows[one.api, one.reason].append(word)
    lines = ["## Accepted differences", "",
             "`compat-tests/oracle` sends the same requests to Apache Kafka 4.3.1 and compares the answers, byte by byte decoded. "
             "A row names the cases and the fields (`*`: any) that may differ.", "", "| API | where | why |", "|---|---|---|"]
    for (api, reason), words in sorted(rows.items()):
        joined = ", ".join(words).replace("|", "\\|")
        lines.append(f"| {'any' if api == '*' else api} | {joined} | {reason} |")
    return "\n".join(lines)
