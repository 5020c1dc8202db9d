"""Checks that say what was wrong."""

import time

PATIENCE_S = 10


def now_ms():
    return time.time_ns() // 1_000_000


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def short(value):
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "..."


def equal(what, actual, expected):
    check(actual == expected, f"{what}: {short(actual)}, not {short(expected)}")


def equal_lists(what, actual, expected):
    """Names the first difference: whole lists would bury it."""
    for index, (one, other) in enumerate(zip(actual, expected)):
        equal(f"{what}, at {index}", one, other)
    equal(f"{what}, how many", len(actual), len(expected))


def wait_until(what, condition, seconds=PATIENCE_S):
    """Returns the first true answer of `condition`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        check(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return answer
