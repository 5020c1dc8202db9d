"""Drives a broker with confluent-kafka: suite.py BOOTSTRAP [ONLY], where ONLY is a part of the scenarios' names."""

import sys

import held
import records
import topics
from cluster import Cluster

SCENARIOS = topics.SCENARIOS | records.SCENARIOS | held.SCENARIOS


def passes(name, scenario, cluster):
    try:
        scenario(cluster)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"FAIL {name}: {reason[:500]}", flush=True)
        return False
    print(f"ok {name}", flush=True)
    return True


def main(bootstrap, only=""):
    cluster = Cluster(bootstrap)
    outcomes = [passes(name, run, cluster) for name, run in SCENARIOS.items() if only in name]
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed")
    return 0 if outcomes and all(outcomes) else 1


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
