"""The one scenario about held records that every client has: a batch of attribute bit 13, and offsets that are holes."""

from checks import check, equal, equal_lists, now_ms
from driver import Record

DELAY_MS = 500


def fired_record(driver):
    topic = driver.new_topic()
    due = now_ms() + DELAY_MS
    held = Record(b"held", b"key", headers=[("mine", b"kept"), ("chronos-deliver-at", b"%d" % due)])
    with driver.reader(topic) as reader:
        # kcat gives all records of a call the same headers, so these are three calls.
        equal_lists("offsets", [driver.write(topic, [r])[0] for r in [b"first", held, b"last"]], [0, 1, 2])
        plain = reader.take(2)
        equal_lists("plain records", [(a.offset, a.value) for a in plain], [(0, b"first"), (2, b"last")])
        [fired] = reader.take(1)
    check(fired.offset >= 3, f"it fired at offset {fired.offset}")
    equal("key and value", (fired.key, fired.value), (b"key", b"held"))
    equal("its own header", fired.header("mine"), "kept")
    equal("chronos-due-at", fired.header("chronos-due-at"), str(due))
    equal("chronos-schedule-id", fired.header("chronos-schedule-id"), "1")
    check(fired.header("chronos-created-at"), "no chronos-created-at")
    equal("chronos-deliver-at", fired.header("chronos-deliver-at"), None)
    check(fired.at_ms >= due, f"{due - fired.at_ms} ms early")


SCENARIOS = {"a fired record is read with its headers": fired_record}
