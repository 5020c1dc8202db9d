"""
Drives a broker with a client: suite.py CLIENT BOOTSTRAP [ONLY], where CLIENT is a module of `drivers` and ONLY is
`common`, `groups` or `transactions` (parts of it), `own`, or a part of the scenarios' names. ../SCENARIOS.md says what each proves.
"""

import importlib
import logging
import sys
import time

import admin
import commits
import compacted
import fetch
import fired
import groups
import offsets
import produce
import transactions
from checks import check

GROUPS = groups.SCENARIOS | commits.SCENARIOS
COMMON = produce.SCENARIOS | fetch.SCENARIOS | compacted.SCENARIOS | offsets.SCENARIOS | admin.SCENARIOS | GROUPS | transactions.SCENARIOS
# No scenario begins after this: a broker that answers nothing must not cost each its patience.
LIMIT_S = 240


def passes(name, scenario, driver, deadline):
    """None for a scenario that this client lacks."""
    if name in driver.lacks:
        print(f"SKIP {name}: {driver.lacks[name]}", flush=True)
        return None
    try:
        check(time.monotonic() < deadline, f"not run, the suite's {LIMIT_S} s are over")
        scenario(driver)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"FAIL {name}: {reason[:500]}", flush=True)
        return False
    print(f"ok {name}", flush=True)
    return True


def main(client, bootstrap, only=""):
    # What a client logs would drown the scenarios' lines.
    logging.disable(logging.CRITICAL)
    driver = importlib.import_module(f"drivers.{client}").Driver(bootstrap)
    parts = {"common": COMMON, "groups": GROUPS, "transactions": transactions.SCENARIOS, "own": fired.SCENARIOS | driver.own}
    parts["consumer-protocol"] = driver.by_consumer_protocol
    chosen = parts.get(only) or {name: run for part in parts.values() for name, run in part.items() if only in name}
    deadline = time.monotonic() + LIMIT_S
    outcomes = [passes(name, run, driver, deadline) for name, run in chosen.items()]
    driver.close()
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed")
    return 0 if outcomes and False not in outcomes else 1


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
