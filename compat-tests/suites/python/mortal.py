"""A member of a group in a process of its own: killed, it has no time to leave the group."""

import importlib
import logging
import multiprocessing
import os

# The least that a broker allows by its defaults.
SESSION_MS = 6_000


def live(client, bootstrap, topic, group, parent):
    logging.disable(logging.CRITICAL)
    driver = importlib.import_module(f"drivers.{client}").Driver(bootstrap)
    member = driver.join(topic, group, session_ms=SESSION_MS)
    while os.getppid() == parent:
        member.poll(0.1)


def start(driver, topic, group):
    """A process with `kill()`."""
    # Not forked: the clients have threads.
    process = multiprocessing.get_context("spawn").Process(
        target=live, args=(driver.name, driver.bootstrap, topic, group, os.getpid()), daemon=True
    )
    process.start()
    return process
