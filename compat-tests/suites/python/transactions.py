"""Transactions, as far as they are there: confluent-kafka only."""

import time

import confluent_kafka as ck

from checks import PATIENCE_S, check, equal_lists


def transactional(driver):
    topic = driver.new_topic()
    producer = ck.Producer({"bootstrap.servers": driver.bootstrap, "transactional.id": topic, "log_level": 3})
    started = time.monotonic()
    try:
        producer.init_transactions(3)
    except ck.KafkaException as exception:
        took = time.monotonic() - started
        error = exception.args[0]
        check(error.retriable() and not error.fatal(), f"init failed for good: {error}")
        check(took < 6, f"init took {took:.1f} s to fail within 3 s")
        return
    # A broker that grants the init must keep its word.
    producer.begin_transaction()
    producer.produce(topic, b"committed", partition=0)
    producer.commit_transaction(PATIENCE_S)
    with driver.reader(topic, committed=True) as reader:
        equal_lists("values", [a.value for a in reader.take(1)], [b"committed"])


SCENARIOS = {"a transactional producer works or fails in time": transactional}
