import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.protocol.Errors;

/** Produce: what is written comes back. */
final class Produce {
    private Produce() {}

    static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("records come back in order", Produce::inOrder);
        for (String codec : Cluster.CODECS) {
            all.put("codec " + codec, cluster -> codecRoundTrips(cluster, codec));
        }
        all.put("every field round trips", Produce::everyFieldRoundTrips);
        all.put("acks 0, 1 and all", Produce::acks);
        all.put("idempotent producer keeps order", Produce::idempotent);
        all.put("record too large is refused", Produce::tooLarge);
        all.put("producing creates a topic", Produce::createsTopic);
        all.put("log append time", Produce::logAppendTime);
        return all;
    }

    static List<String> values(int count) {
        return IntStream.range(0, count).mapToObj(i -> "value " + i).toList();
    }

    static List<Long> offsets(long from, long to) {
        return LongStream.range(from, to).boxed().toList();
    }

    private static void inOrder(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        List<String> values = values(1_000);
        try (Writer writer = cluster.writer(topic)) {
            values.forEach(writer::send);
            Check.equalLists("offsets", writer.offsets(), offsets(0, 1_000));
        }
        List<Arrival> found = cluster.readAll(topic);
        Check.equalLists("values", Arrival.values(found), values);
        Check.equalLists("offsets read", Arrival.offsets(found), offsets(0, 1_000));
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

    private static void acks(Cluster cluster) throws Exception {
        List<String> values = values(50);
        for (String acks : List.of("0", "1", "all")) {
            String topic = cluster.newTopic(1);
            try (Writer writer = cluster.writer(topic, Map.of("acks", acks)); Reader reader = cluster.reader(topic)) {
                values.forEach(writer::send);
                writer.offsets();
                Check.equalLists("values of acks " + acks, Arrival.values(reader.take(50)), values);
            }
        }
    }

    private static void idempotent(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        List<String> values = values(2_000);
        // The client's default. Small batches: many sequence numbers, several requests in flight.
        try (Writer writer = cluster.writer(topic, Map.of("batch.size", 400))) {
            values.forEach(writer::send);
            Check.equalLists("offsets", writer.offsets(), offsets(0, 2_000));
        }
        Check.equalLists("values", Arrival.values(cluster.readAll(topic)), values);
    }

    private static void tooLarge(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        String large = new Random(1).ints(2_000_000, 'a', 'z').collect(
                StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append).toString();
        try (Writer writer = cluster.writer(topic, Map.of("max.request.size", 4_000_000))) {
            writer.send(large);
            cluster.refused("2 MB", Errors.MESSAGE_TOO_LARGE, writer::offsets);
            // The idempotent producer has to get over it, too.
            writer.send("accepted");
            Check.equalLists("offset of the next record", writer.offsets(), List.of(0L));
        }
        Check.equalLists("values", Arrival.values(cluster.readAll(topic)), List.of("accepted"));
    }

    private static void createsTopic(Cluster cluster) throws Exception {
        String topic = cluster.newName();
        try (Writer writer = cluster.writer(topic)) {
            writer.send("first");
            Check.equalLists("offsets", writer.offsets(), List.of(0L));
        }
        Check.waitUntil("the topic is listed", () -> cluster.partitions(topic) > 0);
        Check.equalLists("values", Arrival.values(cluster.readAll(topic)), List.of("first"));
    }

    private static void logAppendTime(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1, Map.of("message.timestamp.type", "LogAppendTime"));
        long before = System.currentTimeMillis();
        try (Writer writer = cluster.writer(topic, Map.of("compression.type", "gzip"))) {
            writer.send(new ProducerRecord<>(topic, 0, before - 3_600_000, null, "value"));
            writer.offsets();
        }
        long found = cluster.readAll(topic).get(0).record().timestamp();
        Check.that(before <= found && found <= System.currentTimeMillis(),
                "timestamp " + (found - before) + " ms after sending");
    }
}
