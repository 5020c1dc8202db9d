#!/usr/bin/env python3
"""Asks a real Apache Kafka and ChronosDB the same, in raw bytes, and shows where the answers differ.

    oracle.py [--api NAME,NAME] [--case PART] [--verbose] [--show] [--kafka HOST:PORT] [--chronos HOST:PORT] [--write-page]

`CHRONOSDB_BIN` names the binary. With two Kafkas (`--kafka HOST:PORT --chronos HOST:PORT`) it proves itself: what differs then is masked
wrongly, or hangs on time. Fails if there is a difference that `differences.py` does not list, a listed one that is gone, or
a case that cannot run.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field

sys.dont_write_bytecode = True

import broker as brokers  # noqa: E402 (nothing may be written beside the sources)
import cases  # noqa: E402
import compare  # noqa: E402
import differences  # noqa: E402
import mask  # noqa: E402
import schema  # noqa: E402
from talk import Stop, talking  # noqa: E402

SETTINGS = {
    "num.partitions": "4",
    "group.consumer.assignment.interval.ms": "0",  # a target at once, so that each step of a reconciliation can be compared,
}
CHRONOS_SETTINGS = {"node.id": "1", "group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "4",
                    "transaction.state.log.num.partitions": "4"}  # peers/kafka-peer sets them for Kafka
KAFKA_SETTINGS = {
    "log.cleaner.enable": "false",  # no compaction under the cases' feet, and less memory
    "delete.records.purgatory.purge.interval.requests": "1",
    "log.initial.task.delay.ms": "3600000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "100",  # cases wait for a transaction to time out
    "group.consumer.assignor.offload.enable": "false",  # and not by a thread of its own
}
WORKERS = 8
COMMON = 5  # a difference of so many cases is shown once


@dataclass
class Result:
    """What became of one case in one version."""

    case: cases.Case
    version: int
    error: str = ""
    missing: bool = False
    diffs: list[compare.Diff] = field(default_factory=list)
    listed: list[compare.Diff] = field(default_factory=list)
    texts: list[compare.Diff] = field(default_factory=list)
    shown: list[tuple[str, object]] = field(default_factory=list)
    seconds: float = 0.0


class Run:
    """One run over both brokers."""

    def __init__(self, kafka: brokers.Broker, chronos: brokers.Broker, nonce: str, options: argparse.Namespace) -> None:
        self.kafka, self.chronos, self.nonce, self.options = kafka, chronos, nonce, options
        self.now = int(time.time() * 1000)
        self.common = {}
        for api, (_, high) in kafka.versions.items():
            valid = schema.message(f"{api}Request").valid
            if api in chronos.versions:
                self.common[api] = min(high, valid[1], chronos.versions[api][1])

    def versions(self, case: cases.Case) -> list[int]:
        """The versions that Kafka answers."""
        low, high = schema.message(f"{case.api}Request").valid
        listed = self.kafka.versions.get(case.api, schema.NEVER)
        low, high = max(low, listed[0]), min(high, listed[1])
        if case.versions:
            low, high = max(low, case.versions[0]), min(high, case.versions[1])
        return list(range(low, high + 1))

    def talk(self, broker: brokers.Broker, case: cases.Case, version: int) -> tuple[list[tuple[str, object]], str]:
        """The masked conversation, and what stopped it."""
        prefix = f"{self.nonce}{case.api}.{case.name}.v{version}"
        common = self.common if not self.options.show else {a: v[1] for a, v in self.kafka.versions.items()}
        with talking(broker, case.api, version, prefix, self.now, common) as talk:
            stopped = ""
            try:
                case.run(talk)
            except Stop as stop:
                stopped = str(stop)
            except Exception as error:  # a case must not end the run; what it met is shown
                stopped = f"{type(error).__name__}: {error}"
            stopped = stopped.replace(prefix, "~")
            return [(s.label, mask.masked(s, talk)) for s in talk.steps], stopped

    def timed(self, case: cases.Case, version: int) -> Result:
        """`one`, and how long it took."""
        begin = time.monotonic()
        result = self.one(case, version)
        result.seconds = time.monotonic() - begin
        return result

    def one(self, case: cases.Case, version: int) -> Result:
        """One case in one version, on both brokers."""
        result = Result(case, version)
        low, high = self.chronos.versions.get(case.api, schema.NEVER)
        result.missing = not low <= version <= high
        if result.missing and not self.options.show:
            return result
        kafka, stopped = self.talk(self.kafka, case, version)
        result.shown = kafka
        result.missing |= stopped.endswith(" is missing")  # an API that only leads to the question
        if stopped and not result.missing:
            result.error = f"on Kafka: {stopped}"
        if result.missing or self.options.show:
            return result
        chronos, stopped = self.talk(self.chronos, case, version)
        if stopped:
            kafka = kafka[:len(chronos)]
            chronos.append(("stopped", stopped))
        for diff in compare.conversations(kafka, chronos):
            if differences.find(case.api, case.name, diff.path, diff.kafka, diff.chronos):
                result.listed.append(diff)
            elif diff.is_text:
                result.texts.append(diff)
            else:
                result.diffs.append(diff)
        return result

    def all(self, wanted: list[cases.Case]) -> list[Result]:
        """Those that look at the whole cluster first, one by one; then the others beside each other."""
        results = [self.timed(c, v) for c in wanted if c.alone for v in self.versions(c)]
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            jobs = [pool.submit(self.timed, c, v) for c in wanted if not c.alone for v in self.versions(c)]
            results += [job.result() for job in jobs]
        return results


def spans(versions: list[int]) -> str:
    """`3-5,9` for a list of versions."""
    parts: list[list[int]] = []
    for version in sorted(set(versions)):
        if parts and parts[-1][1] == version - 1:
            parts[-1][1] = version
        else:
            parts.append([version, version])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)


def print_diffs(results: list[Result], kind: str, out: list[str], most: int) -> None:
    """Differences case by case, equal ones of several versions in one line, and not too many of one case."""
    by_case: dict[str, dict[compare.Diff, list[int]]] = defaultdict(lambda: defaultdict(list))
    anywhere: dict[tuple[str, str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        for diff in getattr(result, kind):
            by_case[result.case.name][diff].append(result.version)
            anywhere[diff.anywhere][result.case.name].append(result.version)
    common = {key: found for key, found in anywhere.items() if len(found) >= COMMON}
    for (path, kafka, chronos), found in common.items():
        versions = [v for several in found.values() for v in several]
        out.append(f"  in {len(found)} cases: v{spans(versions)} {path}: {kafka} | {chronos}   (as in {next(iter(found))})")
    for name, diffs in by_case.items():
        rest = [(diff, versions) for diff, versions in diffs.items() if diff.anywhere not in common]
        if rest:
            out.append(f"  {name}")
        for diff, versions in rest[:most]:
            out.append(f"    v{spans(versions)} {diff.path}: {diff.kafka} | {diff.chronos}")
        if len(rest) > most:
            out.append(f"    … and {len(rest) - most} more (--verbose)")


def report(results: list[Result], options: argparse.Namespace, filtered: bool) -> bool:
    """Prints everything; whether all is well."""
    by_api: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_api[result.case.api].append(result)
    errors = [r for r in results if r.error]
    totals, most = [0, 0, 0, 0], 10_000 if options.verbose else 8
    for api, group in by_api.items():
        ran = [r for r in group if not r.missing]
        counts = [len(ran), sum(not r.diffs and not r.listed for r in ran), sum(bool(r.listed) and not r.diffs for r in ran),
                  sum(bool(r.diffs) for r in ran)]
        totals = [a + b for a, b in zip(totals, counts)]
        line = f"{api}: cases {counts[0]} agreed {counts[1]} listed {counts[2]} unlisted {counts[3]}"
        texts = sum(bool(r.texts) for r in ran)
        if texts:
            line += f" (other words in a message: {texts})"
        missing = [r for r in group if r.missing]
        if missing:
            line += f"; missing versions {spans([r.version for r in missing])} ({len(missing)} cases)"
        out = [line]
        print_diffs(ran, "diffs", out, most)
        if options.texts:
            print_diffs(ran, "texts", out, most)
        if options.verbose:
            print_diffs(ran, "listed", out, most)
        out += [f"  ERROR {r.case.name} v{r.version}: {r.error}" for r in group if r.error]
        print("\n".join(out))
    old = [] if filtered else differences.stale()
    for one in old:
        print(f"stale: {one.api} {one.case} {one.path}: {one.reason}")
    distinct = len({(r.case.api, r.case.name) for r in results})
    print(f"distinct cases {distinct}; missing {sum(r.missing for r in results)}; errors {len(errors)}; stale {len(old)}")
    print(f"cases {totals[0]} agreed {totals[1]} listed {totals[2]} unlisted {totals[3]}")
    return not (totals[3] or errors or old)


def show(results: list[Result]) -> None:
    """Kafka's answers, for whoever writes an API."""
    import pprint

    for result in results:
        print(f"== {result.case.api} v{result.version} {result.case.name} {result.error}")
        for label, outcome in result.shown:
            print(f"{label}: {pprint.pformat(outcome, width=150, sort_dicts=False)}")


def main() -> int:
    """See the top."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--api", help="only these APIs")
    parser.add_argument("--case", default="", help="only cases whose names hold this")
    parser.add_argument("--verbose", action="store_true", help="listed differences, too")
    parser.add_argument("--texts", action="store_true", help="show where only the words of a message differ")
    parser.add_argument("--show", action="store_true", help="only Kafka's answers, of every API")
    parser.add_argument("--kafka", help="a running Kafka")
    parser.add_argument("--chronos", help="a running ChronosDB")
    parser.add_argument("--write-page", action="store_true", help="print the listed differences for COMPAT.md")
    options = parser.parse_args()
    if options.write_page:
        print(differences.page())
        return 0
    apis = set(options.api.split(",")) if options.api else set(schema.keys().values())
    wanted = [c for c in cases.load() if c.api in apis and options.case in c.name]
    if not wanted:
        parser.error("no such case")
    started = []
    try:
        kafka = brokers.at("kafka", options.kafka) if options.kafka else brokers.start_kafka({**SETTINGS, **KAFKA_SETTINGS})
        started.append(kafka)
        chronos = brokers.at("chronos", options.chronos) if options.chronos else brokers.start_chronos({**SETTINGS, **CHRONOS_SETTINGS})
        started.append(chronos)
        for one in started:
            one.wait_ready(schema.keys())
        # Names repeat from run to run, so that orders that hang on them repeat; on a broker that lives longer they must be new.
        nonce = f"{int(time.time()) % 100_000}." if options.kafka or options.chronos else ""
        begin = time.monotonic()
        results = Run(kafka, chronos, nonce, options).all(wanted)
        if options.show:
            show(results)
            return 0
        well = report(results, options, bool(options.api or options.case))
        if options.verbose:
            for one_result in sorted(results, key=lambda r: -r.seconds)[:10]:
                print(f"slow: {one_result.seconds:.1f} s {one_result.case.api} {one_result.case.name} v{one_result.version}", file=sys.stderr)
        print(f"took {time.monotonic() - begin:.0f} s", file=sys.stderr)
        return 0 if well else 1
    finally:
        for one in started:
            one.stop()


if __name__ == "__main__":
    sys.exit(main())
