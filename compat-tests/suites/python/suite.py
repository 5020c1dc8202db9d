"""Drives a broker with confluent-kafka: suite.py BOOTSTRAP [ONLY], where ONLY is a part of the scenarios' names."""

import sys
import time

import held
import records
import topics
from cluster import Cluster, check

SCENARIOS = topics.SCENARIOS | records.SCENARIOS | held.SCENARIOS
# No scenario begins after this: a broker that answers nothing must not cost each its patience.
LIMIT_S = 60


def passes(name, scenario, cluster, deadline):
    try:
        check(time.monotonic() < deadline, f"not run, the suite's {LIMIT_S} s are over")
        scenario(cluster)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"FAIL {name}: {reason[:500]}", flush=True)
        return False
    print(f"ok {name}", flush=True)
    return True


def main(bootstrap, only=""):
    cluster = Cluster(bootstrap)
    deadline = time.monotonic() + LIMIT_S
    outcomes = [passes(name, run, cluster, deadline) for name, run in SCENARIOS.items() if only in name]
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed")
    return 0 if outcomes and all(outcomes) else 1


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
