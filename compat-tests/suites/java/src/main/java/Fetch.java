import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Fetch: from where, how much, how long. */
final class Fetch {
    private static final int WAIT_MS = 5_000;

    private Fetch() {}

    static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("fetch from the middle of a batch", Fetch::middleOfBatch);
        all.put("large record through a small fetch", Fetch::largeRecord);
        all.put("fetch waits for a record", Fetch::waits);
        all.put("offset out of range", Fetch::outOfRange);
        all.put("many partitions are all read", Fetch::manyPartitions);
        all.put("read committed sees plain records", Fetch::readCommitted);
        return all;
    }

    private static void write(Cluster cluster, String topic, List<String> values) throws Exception {
        try (Writer writer = cluster.writer(topic)) {
            values.forEach(writer::send);
            writer.offsets();
        }
    }

    private static void middleOfBatch(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        // Nothing is flushed before the last send, so the linger makes one batch of all.
        try (Writer writer = cluster.writer(topic, Map.of("compression.type", "lz4", "linger.ms", 1_000))) {
            Produce.values(100).forEach(writer::send);
            writer.offsets();
            Check.equal("records in the batch", writer.metric("records-per-request-avg"), 100.0);
        }
        try (Reader reader = cluster.reader(topic)) {
            reader.consumer.seek(new TopicPartition(topic, 0), 57);
            List<Arrival> found = reader.take(43);
            Check.equalLists("offsets", Arrival.offsets(found), Produce.offsets(57, 100));
            Check.equalLists("values", Arrival.values(found), Produce.values(100).subList(57, 100));
        }
    }

    private static void largeRecord(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        List<String> sent = List.of("small", "x".repeat(500_000), "after");
        for (String value : sent) {
            write(cluster, topic, List.of(value));
        }
        try (Reader reader = cluster.reader(topic, 1, Map.of("max.partition.fetch.bytes", 1_000))) {
            Check.equalLists("values", Arrival.values(reader.takeAll()), sent);
        }
    }

    private static void waits(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Reader reader = cluster.reader(topic, 1, Map.of("fetch.max.wait.ms", WAIT_MS));
                Writer writer = cluster.writer(topic)) {
            CompletableFuture<Long> produced = CompletableFuture.supplyAsync(() -> {
                long at = System.currentTimeMillis();
                writer.send("later");
                writer.producer.flush();
                return at;
            }, CompletableFuture.delayedExecutor(700, TimeUnit.MILLISECONDS));
            Arrival found = reader.take(1).get(0);
            Check.equal("value", found.value(), "later");
            long took = found.atMs() - produced.get();
            Check.that(took < WAIT_MS / 2, "it was read " + took + " ms after it was produced");
        }
    }

    private static void outOfRange(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        write(cluster, topic, Produce.values(10));
        try (Reader reader = cluster.reader(topic, 1, Map.of("auto.offset.reset", "earliest"))) {
            reader.consumer.seek(partition, 1_000_000);
            Check.equalLists("values from the earliest", Arrival.values(reader.take(10)), Produce.values(10));
        }
        try (Reader reader = cluster.reader(topic, 1, Map.of("auto.offset.reset", "latest"))) {
            reader.consumer.seek(partition, 1_000_000);
            long sent = 10;
            var found = reader.consumer.poll(Duration.ofMillis(300));
            while (found.isEmpty()) {
                Check.that(sent < 40, "nothing of " + (sent - 10) + " new records");
                write(cluster, topic, List.of("new " + sent));
                sent += 1;
                found = reader.consumer.poll(Duration.ofMillis(300));
            }
            var first = found.iterator().next();
            Check.that(first.offset() >= 10, "the latest gave offset " + first.offset() + ", older than the reader");
            Check.equal("value", first.value(), "new " + first.offset());
        }
    }

    private static void manyPartitions(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(16);
        try (Writer writer = cluster.writer(topic)) {
            for (int partition = 0; partition < 16; partition++) {
                for (int i = 0; i < 100; i++) {
                    writer.send(new ProducerRecord<>(topic, partition, null, i + " " + "x".repeat(500)));
                }
            }
            writer.offsets();
        }
        List<List<Long>> offsets = new ArrayList<>();
        List<List<Integer>> numbers = new ArrayList<>();
        for (int partition = 0; partition < 16; partition++) {
            offsets.add(new ArrayList<>());
            numbers.add(new ArrayList<>());
        }
        try (Reader reader = cluster.reader(topic, 16, Map.of("max.partition.fetch.bytes", 20_000))) {
            for (Arrival arrival : reader.take(1_600)) {
                offsets.get(arrival.record().partition()).add(arrival.offset());
                numbers.get(arrival.record().partition()).add(Integer.valueOf(arrival.value().split(" ")[0]));
            }
        }
        for (int partition = 0; partition < 16; partition++) {
            Check.equalLists("offsets of partition " + partition, offsets.get(partition), Produce.offsets(0, 100));
            Check.equalLists("values of partition " + partition, numbers.get(partition),
                    IntStream.range(0, 100).boxed().toList());
        }
    }

    private static void readCommitted(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        write(cluster, topic, Produce.values(10));
        try (Reader reader = cluster.reader(topic, 1, Map.of("isolation.level", "read_committed"))) {
            Check.equalLists("values", Arrival.values(reader.take(10)), Produce.values(10));
        }
    }
}
