import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.header.Headers;

/** Records written and read back, nothing held. */
final class Records {
    private Records() {}

    static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("1000 records come back in order", Records::inOrder);
        for (String codec : Cluster.CODECS) {
            all.put("codec " + codec + " round trips", cluster -> codecRoundTrips(cluster, codec));
        }
        all.put("key, headers, null and empty value, timestamp round trip", Records::everyFieldRoundTrips);
        all.put("a time finds the first record at or after it", Records::timeFindsOffset);
        all.put("watermarks tell beginning and end", Records::watermarks);
        for (String acks : List.of("0", "1", "all")) {
            all.put("acks " + acks + " is served", cluster -> acksServed(cluster, acks));
        }
        all.put("an idempotent producer keeps order", Records::idempotent);
        all.put("an offset out of range is reset to the earliest", Records::outOfRange);
        all.put("a transactional producer works or fails in time", Records::transactional);
        return all;
    }

    private static List<String> values(int count) {
        return IntStream.range(0, count).mapToObj(i -> "value " + i).toList();
    }

    private static void inOrder(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        List<String> values = values(1_000);
        List<Long> offsets = LongStream.range(0, 1_000).boxed().toList();
        try (Writer writer = cluster.writer(topic)) {
            values.forEach(writer::send);
            Check.equalLists("offsets", writer.offsets(), offsets);
        }
        List<Arrival> found = cluster.readAll(topic);
        Check.equalLists("values", Arrival.values(found), values);
        Check.equalLists("offsets read", Arrival.offsets(found), offsets);
    }

    private static void codecRoundTrips(Cluster cluster, String codec) throws Exception {
        String topic = cluster.newTopic(1);
        List<String> values = values(200).stream().map(v -> v.repeat(20)).toList();
        try (Writer writer = cluster.writer(topic, Map.of("compression.type", codec))) {
            values.forEach(writer::send);
            writer.offsets();
        }
        Check.equalLists("values", Arrival.values(cluster.readAll(topic)), values);
    }

    private static void everyFieldRoundTrips(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        long base = System.currentTimeMillis() - 60_000;
        List<ProducerRecord<String, String>> records = List.of(
                new ProducerRecord<>(topic, 0, base, "key", "value"),
                new ProducerRecord<>(topic, 0, base + 1, "tombstone", (String) null),
                new ProducerRecord<>(topic, 0, base + 2, "", ""),
                new ProducerRecord<>(topic, 0, base + 3, null, "no key"));
        byte[] allBytes = new byte[256];
        IntStream.range(0, 256).forEach(i -> allBytes[i] = (byte) i);
        // A header may be repeated, empty or null, and its value need not be text.
        records.get(0).headers().add("h", new byte[] {1}).add("h", new byte[] {2});
        records.get(0).headers().add("empty", new byte[0]).add("null", null).add("bytes", allBytes);
        try (Writer writer = cluster.writer(topic)) {
            records.forEach(writer::send);
            writer.offsets();
        }
        List<String> sent = records.stream().map(r -> fields(r.timestamp(), r.key(), r.value(), r.headers())).toList();
        List<String> found = cluster.readAll(topic).stream().map(Arrival::record)
                .map(r -> fields(r.timestamp(), r.key(), r.value(), r.headers())).toList();
        Check.equalLists("records", found, sent);
    }

    /** All of a record as text, null told apart from empty. */
    private static String fields(long timestamp, String key, String value, Headers headers) {
        List<String> pairs = StreamSupport.stream(headers.spliterator(), false)
                .map(h -> h.key() + "=" + Arrays.toString(h.value())).toList();
        return timestamp + " " + quoted(key) + " " + quoted(value) + " " + pairs;
    }

    private static String quoted(String text) {
        return text == null ? "null" : "'" + text + "'";
    }

    private static void timeFindsOffset(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        long base = System.currentTimeMillis() - 60_000;
        // One compressed batch whose times are not sorted: the broker has to look inside.
        try (Writer writer = cluster.writer(topic, Map.of("compression.type", "lz4", "linger.ms", 1_000))) {
            for (long later : List.of(100L, 300L, 200L, 400L)) {
                writer.send(new ProducerRecord<>(topic, 0, base + later, null, "value"));
            }
            writer.offsets();
        }
        record Found(long offset, long later) {}
        Map<Long, Found> expected = new LinkedHashMap<>();
        expected.put(0L, new Found(0, 100));
        expected.put(100L, new Found(0, 100));
        expected.put(150L, new Found(1, 300));
        expected.put(250L, new Found(1, 300));
        expected.put(300L, new Found(1, 300));
        expected.put(301L, new Found(3, 400));
        expected.put(400L, new Found(3, 400));
        expected.put(401L, null);
        try (Reader reader = cluster.reader(topic)) {
            expected.forEach((later, wanted) -> {
                OffsetAndTimestamp at = reader.consumer.offsetsForTimes(Map.of(partition, base + later)).get(partition);
                Found found = at == null ? null : new Found(at.offset(), at.timestamp() - base);
                Check.equal("found for time +" + later, found, wanted);
            });
        }
    }

    private static void watermarks(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Reader reader = cluster.reader(topic); Writer writer = cluster.writer(topic)) {
            Check.equal("end of an empty topic", reader.end(), 0L);
            values(7).forEach(writer::send);
            writer.offsets();
            Check.equal("beginning", reader.beginning(), 0L);
            Check.equal("end after 7 records", reader.end(), 7L);
        }
    }

    private static void acksServed(Cluster cluster, String acks) throws Exception {
        String topic = cluster.newTopic(1);
        List<String> values = values(50);
        try (Writer writer = cluster.writer(topic, Map.of("acks", acks)); Reader reader = cluster.reader(topic)) {
            values.forEach(writer::send);
            writer.offsets();
            Check.equalLists("values", Arrival.values(reader.take(50)), values);
        }
    }

    private static void idempotent(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        List<String> values = values(2_000);
        // The client's default. Small batches: many sequence numbers, several requests in flight.
        try (Writer writer = cluster.writer(topic, Map.of("batch.size", 400))) {
            values.forEach(writer::send);
            Check.equalLists("offsets", writer.offsets(), LongStream.range(0, 2_000).boxed().toList());
        }
        Check.equalLists("values", Arrival.values(cluster.readAll(topic)), values);
    }

    private static void outOfRange(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Writer writer = cluster.writer(topic)) {
            values(10).forEach(writer::send);
            writer.offsets();
        }
        try (Reader reader = cluster.reader(topic, 1, Map.of("auto.offset.reset", "earliest"))) {
            reader.consumer.seek(new TopicPartition(topic, 0), 1_000_000);
            Check.equalLists("offsets", Arrival.offsets(reader.take(10)), LongStream.range(0, 10).boxed().toList());
        }
    }

    private static void transactional(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        long started = System.nanoTime();
        try (Writer writer = cluster.writer(topic, Map.of("transactional.id", topic, "max.block.ms", 3_000))) {
            try {
                writer.producer.initTransactions();
            } catch (RetriableException e) {
                long took = (System.nanoTime() - started) / 1_000_000;
                Check.that(took < 6_000, "init took " + took + " ms to fail within 3 s");
                return;
            }
            // A broker that grants the init must keep its word.
            writer.producer.beginTransaction();
            writer.send("committed");
            writer.producer.commitTransaction();
        }
        try (Reader reader = cluster.reader(topic, 1, Map.of("isolation.level", "read_committed"))) {
            Check.equalLists("values", Arrival.values(reader.take(1)), List.of("committed"));
        }
    }
}
